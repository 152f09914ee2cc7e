"""The temporary file that a download is written into: opened, removed or left by one owner.

Two processes that write into one file spoil it, so a file is only taken that no other process can know of:

* of one name for all tries of the user, where a lock on it keeps other processes away: the next try finds what this one left.
  On a network's file system the name is that of this machine's boot too, since a lock may end at the machine;
* where the file system's locks do not hold, of one name for the tries of this boot, under a lock in the agent's folder;
* else of a name that occurs once.

The kernel lets go of a lock however a process ends. Nothing is cut off or removed that another process could have made.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import secrets
import socket
import stat
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path

from llmpt.core.blob import READ_BYTES, Etag
from llmpt.core.errors import AgentUnavailable
from llmpt.core.files import FileId
from llmpt.disk.locking import InUse, NotLocked, lock, unlock
from llmpt.host.mounts import Mounts
from llmpt.link import paths

log = logging.getLogger("llmpt")

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FLAGS = os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


class Hold(Enum):
    """What the file is to us; the text says it."""

    NOTHING = "not there"
    FOUND = "ours, left by an earlier try"
    FRESH = "ours, made by this try"
    LENT = "ours, and a silent agent may still write to it, and give of it to others"


class Temporary:
    """A file of at most `size` bytes. `open` it, and `close` it in any case; `hold` says what it is to us.

    `path`: where it lies, once it is open.
    """

    def __init__(
        self,
        incomplete: Path,
        etag: Etag,
        size: int,
        *,
        environ: Mapping[str, str] = os.environ,
        mounts: Callable[[], Mounts] = Mounts.read,
        boot_id: Path = BOOT_ID,
    ) -> None:
        """The one for a blob that the library would write to `incomplete`; `boot_id`: the kernel's file with the boot's own."""
        self._beside, self._etag, self._size = incomplete, etag, size
        self._environ, self._mounts, self._boot_id = environ, mounts, boot_id
        self.path = self._named()
        self.hold = Hold.NOTHING
        self.descriptor: int | None = None
        self._lock: tuple[int, Path] | None = None  # of this boot, in the agent's folder
        self._pid = os.getpid()

    def open(self, *, anew: bool = False) -> bool:
        """Create or find the file; False when none can be written there. `anew`: another one than any earlier try's."""
        try:
            try:
                if not anew and (self._found_again() or self._of_this_boot()):
                    return True
            except InUse as error:
                log.debug("%s", error)
                self._let_go()
            return self._make(self._once())
        except OSError as error:  # a full or a read-only file system, no more descriptors
            log.debug("no temporary file beside %s: %s", self._beside, error)
            self._let_go()
            return False

    def _found_again(self) -> bool:
        """Take the file of all tries; False where a lock on it keeps nobody away."""
        folder = self._beside.parent
        is_shared = _is_on_network(folder, folder.stat().st_dev, self._mounts)
        if not self._take(self._named(self._boot()) if is_shared else self._named()):
            return False
        try:
            if self.descriptor is not None:
                lock(self.descriptor, self.path)
        except InUse:
            raise
        except NotLocked as error:
            log.debug("%s: %s", self.path, error)
            if self.hold is Hold.FRESH:
                self.remove()
            self._let_go()
            return False
        self._cut()
        return True

    def _of_this_boot(self) -> bool:
        """Take the file of this boot's tries; False where a lock in the agent's folder keeps nobody away either."""
        try:
            folder = paths.runtime_dir(self._environ)
            facts = folder.stat()
            name = self._named(self._boot(), str(facts.st_dev), str(facts.st_ino))
            path = folder / f"{name.stem}.lock"
            descriptor = os.open(path, _FLAGS | os.O_CREAT, 0o600)
        except (OSError, AgentUnavailable) as error:
            log.debug("no lock in the agent's folder: %s", error)
            return False
        self._lock = (descriptor, path)
        try:
            lock(descriptor, path)
        except InUse:
            raise
        except NotLocked as error:
            log.debug("%s: %s", path, error)
            self._let_go()
            return False
        if not self._take(name):
            self._let_go()
            return False
        self._cut()
        return True

    def _take(self, path: Path) -> bool:
        """Open the file at `path`, or make it; False when another one is there than we can have left."""
        try:
            return self._make(path)
        except FileExistsError:
            pass
        try:
            self.descriptor = os.open(path, _FLAGS | getattr(os, "O_NONBLOCK", 0))
        except OSError:  # it has just gone, or is no file of ours
            return False
        facts = os.fstat(self.descriptor)
        is_ours = facts.st_uid == os.getuid() and facts.st_nlink == 1 and not facts.st_mode & stat.S_IWOTH
        if not stat.S_ISREG(facts.st_mode) or not is_ours:  # it could be changed after it was checked
            os.close(self.descriptor)
            self.descriptor = None
            return False
        self.path, self.hold = path, Hold.FOUND
        return True

    def _make(self, path: Path) -> bool:
        self.descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
        self.path, self.hold = path, Hold.FRESH
        return True

    def _cut(self) -> None:
        """Cut off what is too much of a file that is locked."""
        if self.descriptor is not None and os.fstat(self.descriptor).st_size > self._size:
            os.ftruncate(self.descriptor, self._size)

    def _boot(self) -> str:
        """Return what tells this machine's run from every other one."""
        try:
            return self._boot_id.read_text().strip()
        except OSError:  # no Linux
            return socket.gethostname()

    def _once(self) -> Path:
        return self._named(secrets.token_hex(16))

    def _named(self, *more: str) -> Path:
        suffix = hashlib.sha256(":".join((str(self._etag), str(os.getuid()), *more)).encode()).hexdigest()[:8]
        return self._beside.with_name(f"{self._beside.stem}.{suffix}.incomplete")

    @property
    def is_new(self) -> bool:
        """Whether no other process can have written into it."""
        return self.hold is Hold.FRESH

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

    def make_anew(self) -> None:
        """Give what is open a name again, after another program has removed or taken it: a copy, since a link cannot be made.

        Raises `OSError` when it cannot be written.
        """
        source, self.descriptor = self.descriptor, None
        if source is None:
            raise FileNotFoundError("it is not open")
        try:
            self._make(self._once())
            at = 0
            while self.descriptor is not None and (data := os.pread(source, READ_BYTES, at)):
                at += os.pwrite(self.descriptor, data, at)
        finally:
            os.close(source)

    def lend(self) -> tuple[Path, FileId] | None:
        """Leave it as it is from now on: what an agent gives of it to others must not become zeros. Return what was left."""
        self.hold = Hold.LENT
        return None if self.descriptor is None else (self.path, FileId.of(os.fstat(self.descriptor)))

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
            if os.fstat(self.descriptor).st_nlink == 0:
                os.ftruncate(self.descriptor, 0)  # it is open until `close`, and must take no room until then

    def close(self) -> None:
        """Let go of it. What it holds stays for the next try."""
        self._let_go()

    def _let_go(self) -> None:
        is_owner = os.getpid() == self._pid  # else a forked child, whose parent goes on
        if self.descriptor is not None:
            descriptor, self.descriptor = self.descriptor, None
            try:
                if is_owner:
                    unlock(descriptor)
            finally:
                os.close(descriptor)
        if self._lock is not None:
            (descriptor, path), self._lock = self._lock, None
            try:
                if is_owner:
                    path.unlink(missing_ok=True)
                    unlock(descriptor)
            finally:
                os.close(descriptor)


@functools.lru_cache(maxsize=64)  # hundreds of mounts take longer to read than a small file
def _is_on_network(folder: Path, _device: int, mounts: Callable[[], Mounts]) -> bool:
    return mounts().network_kind(folder) is not None
