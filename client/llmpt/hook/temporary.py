"""The temporary file that a download is written into: opened, locked, and removed or left by one owner.

Its name comes from the etag and the user, so that the next try finds what this one left. The kernel lets go of the lock
however a process ends.
"""

from __future__ import annotations

import hashlib
import os
import stat
from enum import Enum
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.files import FileId


class Hold(Enum):
    """What the file is to us; the text says it."""

    NOTHING = "not there, no file, or another download's"
    FOUND = "ours, left by an earlier try"
    FRESH = "ours, made by this try"
    LENT = "ours, and a silent agent may still write to it, and give of it to others"


class Temporary:
    """A file of at most `size` bytes at `path`. `open` it, and `close` it in any case; `hold` says what it is to us."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self._size = path, size
        self.hold = Hold.NOTHING
        self.descriptor: int | None = None
        self._pid = os.getpid()

    @classmethod
    def beside(cls, incomplete: Path, etag: Etag, size: int) -> Temporary:
        """Return the one for a blob that the library would write to `incomplete`."""
        suffix = hashlib.sha256(f"{etag}:{os.getuid()}".encode()).hexdigest()[:8]
        return cls(incomplete.with_name(f"{incomplete.stem}.{suffix}.incomplete"), size)

    def open(self) -> bool:
        """Create or find the file and lock it; False when it cannot be had, or another download uses it."""
        import fcntl  # not at the top: Windows has none

        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        found = Hold.FOUND
        try:
            try:
                self.descriptor = os.open(self.path, flags | os.O_CREAT | os.O_EXCL, 0o666)
                found = Hold.FRESH
            except FileExistsError:
                self.descriptor = os.open(self.path, flags)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            facts = os.fstat(self.descriptor)
            if not stat.S_ISREG(facts.st_mode) or not self.is_at(self.path):
                return False
            self.hold = found
            if facts.st_size > self._size:
                os.ftruncate(self.descriptor, self._size)
        except BlockingIOError:  # in use
            return False
        except OSError:  # moved away in the meantime, a file system without locks, a full or read-only one
            self.hold = Hold.FRESH if found is Hold.FRESH else Hold.NOTHING
            self.remove()
            return False
        return True

    def is_at(self, path: Path) -> bool:
        """Whether `path` names the very file that is open here."""
        if self.descriptor is None:
            return False
        try:
            return FileId.of(os.lstat(path)) == FileId.of(os.fstat(self.descriptor))
        except OSError:
            return False

    def is_whole_at(self, path: Path) -> bool:
        """Whether it is, and has all its bytes."""
        return self.is_at(path) and self.descriptor is not None and os.fstat(self.descriptor).st_size == self._size

    def lend(self) -> None:
        """Leave it as it is from now on, for the next try: what an agent gives of it to others must not become zeros."""
        self.hold = Hold.LENT

    def leaves_no_room(self) -> bool:
        """Whether the disk has too little room for the whole file beside this one."""
        try:
            room = os.statvfs(self.path.parent)
        except OSError:
            return False
        return room.f_bavail * room.f_frsize < self._size

    def remove(self) -> None:
        """Remove it, if it is ours alone."""
        if self.hold in (Hold.FOUND, Hold.FRESH) and self.descriptor is not None and self.is_at(self.path):
            self.path.unlink(missing_ok=True)
            os.ftruncate(self.descriptor, 0)  # it is open until `close`, and must take no room until then

    def close(self) -> None:
        """Let go of it. What it holds stays for the next try."""
        import fcntl  # not at the top: Windows has none

        if self.descriptor is not None:
            if os.getpid() == self._pid:  # closing alone would not let go, if a child was forked meanwhile
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            os.close(self.descriptor)
            self.descriptor = None
