"""Which file a path names: what tells one file of this machine from another, whatever it is called."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class FileId:
    """One file of one machine.

    `dev`: the device (`st_dev`).
    `ino`: the inode on it (`st_ino`).
    """

    dev: int
    ino: int

    @classmethod
    def of(cls, stat: os.stat_result) -> FileId:
        """Return the identity of the file that `stat` was asked about."""
        return cls(stat.st_dev, stat.st_ino)


def give_name(draft: Path, name: Path) -> None:
    """Give a whole file the name under which it is looked for. Raises `FileExistsError` where another process was first.

    Where a file system has no links, the last one of those that are at it at once stays.
    """
    try:
        os.link(draft, name)
    except FileExistsError:
        raise
    except OSError:
        draft.replace(name)
    else:
        draft.unlink()


def real_path(path: Path | str) -> Path:
    """Follow the links of a path, as far as they lead: where they go round in circles, pathlib raises what is no `OSError`."""
    return Path(os.path.realpath(path))


def strictly_real_path(path: Path) -> Path:
    """Do the same; raise `OSError` where they lead nowhere."""
    return Path(os.path.realpath(path, strict=True))


def expand_home(path: Path | str) -> Path:
    """Put a user's home in place of `~`; where there is none, it stays, and pathlib raises what is no `OSError`."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - see above
