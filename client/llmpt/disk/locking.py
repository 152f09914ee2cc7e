"""A lock that keeps every other process away. Whether it does is found out by trying, each time.

Some file systems refuse locks (ENOSYS, ENOLCK), others grant them to each caller (Lustre without `-o flock`, GPFS, NFS with
`nolock`): there a lock says nothing, and a file that two processes may know of must not be written to.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from llmpt.core.errors import LlmptError
from llmpt.core.files import FileId


class NotLocked(LlmptError):
    """The file cannot be had for one process alone."""


class InUse(NotLocked):
    """Another process holds the lock."""


def lock(descriptor: int, path: Path) -> None:
    """Lock the file that is open as `descriptor` and lies at `path`, until it is closed.

    Raises `InUse` when another process has it, `NotLocked` when the lock is refused, or is granted a second time.
    """
    import fcntl  # not at the top: Windows has none

    second: int | None = None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        second = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        if FileId.of(os.fstat(second)) != FileId.of(os.fstat(descriptor)):
            raise NotLocked(f"{path} is another file by now")
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    except BlockingIOError:
        raise InUse(f"another process uses {path}") from None
    except OSError as error:
        raise NotLocked(f"locks are refused ({error.strerror})") from None
    finally:
        if second is not None:
            os.close(second)
    raise NotLocked("locks are granted to several processes at once")


def unlock(descriptor: int) -> None:
    """Let go of a lock, also of one that was never granted: closing alone would not, if a child was forked meanwhile."""
    import fcntl  # not at the top: Windows has none

    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:  # this file system has none
        if error.errno is None:  # a signal handler of the program has raised it
            raise


def why_no_locks(folder: Path) -> str | None:
    """Say why locks on files in `folder` keep no process away; None when they do. Raises `OSError`."""
    descriptor, name = tempfile.mkstemp(prefix=".llmpt-", dir=folder)
    try:
        lock(descriptor, Path(name))
    except NotLocked as error:
        return str(error)
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)
    return None
