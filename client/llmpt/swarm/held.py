"""The files that are given to others: each stays the one that was verified, whatever its path names by now.

libtorrent opens a file by its path, at each read. A user who may write into the folder could put a link to a secret there,
between any check and the read. So each file is opened once, held against its stamp, and libtorrent is given the path of that
descriptor, which leads to the very file. O_PATH: it reads nothing, holds no lease on a server, and is no pipe's other end.

Where there is no /proc, or no descriptor left, a file is given by its own path if no other user can put another one there,
and else not at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from llmpt.disk.opening import is_private
from llmpt.disk.stamp import FileStamp
from llmpt.host.listening import raise_descriptor_limit

DESCRIPTORS = Path("/proc/self/fd")
FOR_OTHERS = 5120  # descriptors for peers, clients over HTTP, and the rest; half of what may be open, if that is less
_O_PATH = getattr(os, "O_PATH", 0)


@dataclass(frozen=True, slots=True)
class Held:
    """A file that is given to others.

    `path`: what libtorrent opens
    `descriptor`: what it is held by; None: `path` is its own, and private
    `link`: of ours, to the descriptor; it goes with it
    """

    path: Path
    descriptor: int | None = None
    link: Path | None = None

    def release(self) -> None:
        """Let go of it: nothing opens `path` any more."""
        if self.link is not None:
            with contextlib.suppress(OSError):
                self.link.unlink()
        if self.descriptor is not None:
            os.close(self.descriptor)


class Holder:
    """Opens what is to be held, as long as there is room: `most` descriptors, by default what the system allows for files."""

    def __init__(self, *, most: int | None = None, descriptors: Path = DESCRIPTORS) -> None:
        self._most, self._descriptors = most, descriptors
        self._room = 0 if most is None else most
        self._can_hold = bool(_O_PATH) and sys.platform.startswith("linux") and descriptors.is_dir()

    def hold(self, path: Path, stamp: FileStamp, *, held: int) -> Held | None:
        """Open the file at `path`; None when it is another one than that of `stamp`. `held`: how many are.

        Raises `PermissionError` when another user could put another file there, and it cannot be held.
        """
        try:
            descriptor = os.open(path, _O_PATH | os.O_CLOEXEC) if self._has_room(held) else None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            descriptor = None  # by its path, then
        if descriptor is None:
            return Held(path) if _by_its_path(path, stamp) else None
        facts = os.fstat(descriptor)
        if stat.S_ISREG(facts.st_mode) and stamp.is_same(FileStamp.of(facts)):
            return Held(self._descriptors / str(descriptor), descriptor)
        os.close(descriptor)
        return None

    def hold_open(self, descriptor: int, link: Path, place: Path, *, held: int) -> Held:
        """Hold the file that is open as `descriptor` and lies at `place`, through `link`, which leads to it now.

        Raises `OSError` when it cannot be held, and another user could put another file there.
        """
        if not self._has_room(held):
            if not is_private(place):
                raise _not_safe(place)
            _lead(link, place)
            return Held(link, None, link)
        kept = os.open(self._descriptors / str(descriptor), _O_PATH | os.O_CLOEXEC)
        try:
            _lead(link, self._descriptors / str(kept))
        except OSError:
            os.close(kept)
            raise
        return Held(link, kept, link)

    def _has_room(self, held: int) -> bool:
        if not self._can_hold:
            return False
        if held >= self._room and self._most is None:
            self._room = _room(held + 1)
        return held < self._room


def _by_its_path(path: Path, stamp: FileStamp) -> bool:
    """Whether the file at `path` is the one. Raises `PermissionError` when another user could put another one there."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(facts.st_mode) or not stamp.is_same(FileStamp.of(facts)):
        return False
    if not is_private(path):
        raise _not_safe(path)
    return True


def _not_safe(path: Path) -> PermissionError:
    return PermissionError(errno.EPERM, "others may write where it lies, and no more files can be kept open", str(path))


def _lead(link: Path, place: Path) -> None:
    """Let a link lead to `place` from now on, in one step."""
    new = link.with_suffix(".new")
    new.symlink_to(place)
    new.replace(link)


def _room(wanted: int) -> int:
    """Return how many descriptors files may have, of those that this process may have: at least `wanted`, if that can be."""
    import resource  # not on every system

    raise_descriptor_limit(2 * wanted + FOR_OTHERS)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return limit - min(FOR_OTHERS, limit // 2)
