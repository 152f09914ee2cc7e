"""Where the agent keeps what must survive a restart: one folder per host, never on a network's file system."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from llmpt.host.mounts import Mounts
from llmpt.link import lock, paths, state

log = logging.getLogger("llmpt.agent")

DATABASE = "agent.db"
IN_USE = "in-use.lock"
STARTING_S = 3.0
_PAUSE_S = 0.02  # a lock has no event to wait for
_LOCAL_KINDS = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs"})


def state_dir(mounts: Mounts | None = None) -> Path:
    """Return the folder of this user's state on this host, made with mode 0700: e.g. ~/.local/state/llmpt/<host>.

    A home that lies on a network's file system, is missing or is read-only gives way to /var/tmp/llmpt-<uid>, or, where that is
    another user's, to one with a number behind it. Raises `AgentUnavailable` when none can be had.
    """
    wanted = state.at_home(os.environ)
    mounts = mounts or Mounts.read()
    if wanted is not None and mounts.network_kind(wanted) is None:
        _take_over(wanted, mounts)
        if _usable(wanted):
            return wanted
    return paths.first_private(state.elsewhere())


def database_path(mounts: Mounts | None = None) -> Path:
    """Return the file of the agent's inventory. Raises as `state_dir`."""
    return state_dir(mounts) / DATABASE


def starting(folder: Path) -> AbstractContextManager[None]:
    """Hold the lock that lets agents of all sessions begin one after the other, so that each sees the one before.

    It is waited for `STARTING_S` at most: two agents are better than none.
    """

    def wait(descriptor: int) -> None:
        deadline = time.monotonic() + STARTING_S
        while not lock.take(descriptor) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)

    return _locked(folder, os.O_RDONLY | os.O_DIRECTORY, wait)


def in_use(folder: Path) -> AbstractContextManager[None]:
    """Hold the lock that says that an agent lives with the state in `folder`."""
    return _locked(folder / IN_USE, os.O_RDWR | os.O_CREAT, lambda fd: fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB))


@contextmanager
def _locked(path: Path, flags: int, lock_it: Callable[[int], object]) -> Iterator[None]:
    """Hold a lock, where there is one to be had."""
    descriptor: int | None = None
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        lock_it(descriptor)
    except OSError as error:
        log.debug("%s cannot be locked: %s", path, error)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _take_over(wanted: Path, mounts: Mounts) -> None:
    """Give `wanted` the latest state of what this host was called before, as a container is at each start, if no agent uses it.

    Only a folder in which an agent has left its lock, on a disk of this machine, so that the kernel's word on the lock holds.
    """
    mount = mounts.of(wanted)
    if os.path.lexists(wanted) or (mount is not None and mount.kind not in _LOCAL_KINDS):
        return
    try:
        found = sorted(wanted.parent.glob(f"*/{IN_USE}"), key=lambda left: left.stat().st_mtime, reverse=True)
    except OSError:
        return
    for left in found:
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDWR | os.O_CLOEXEC)
            try:
                if lock.take(descriptor):
                    left.parent.rename(wanted)
                    return
            finally:
                os.close(descriptor)


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid == os.getuid() and found.st_mode & 0o077:
            folder.chmod(0o700)
        return os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    except OSError:
        return False
