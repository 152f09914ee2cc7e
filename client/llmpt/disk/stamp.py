"""Which content a file had when it was read: what `stat` says of it, of the file at a path or behind a descriptor."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What `stat` says of a file's content. Another stamp, another content.

    `size`: in bytes.
    `mtime_ns`: when it was written, as its writers say.
    `inode`: the file itself.
    `ctime_ns`: when it was written or renamed, as the kernel says; None: an earlier version of llmpt did not note it.
    """

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int | None = None

    @classmethod
    def of(cls, stat: os.stat_result) -> FileStamp:
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns)

    @property
    def without_ctime(self) -> FileStamp:
        """What an earlier version noted of the same file, and what a rename or a chmod leaves of the stamp."""
        return replace(self, ctime_ns=None)

    def is_renumbered(self, other: FileStamp) -> bool:
        """Whether these two, of files at one path, differ in the inode's number and in nothing else.

        It is the same file then: mergerfs, SMB, exFAT and FUSE give out new numbers at a mount, or at every look.
        """
        return self.inode != other.inode and replace(self, inode=other.inode) == other

    def is_same(self, other: FileStamp | None) -> bool:
        """Whether these two, of files at one path, are of the same file with the same content."""
        return other is not None and (self == other or self.is_renumbered(other))


def stamp_of(path: Path) -> FileStamp | None:
    """Return the stamp of the file at `path`; None when it cannot be looked at."""
    try:
        return FileStamp.of(path.stat())
    except OSError:
        return None
