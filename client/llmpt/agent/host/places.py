"""Where the agent keeps what must survive a restart: one folder per host, never on a network's file system."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from llmpt.host.mounts import Mounts
from llmpt.link import paths

log = logging.getLogger("llmpt.agent")

DATABASE = "agent.db"
IN_USE = "in-use.lock"
TRIES = 10  # a user may take some names from us, and none of those that we have
_LOCAL_KINDS = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs"})
FALLBACK = Path("/var/tmp")  # noqa: S108 - survives a reboot; our folder in it is private, and its owner is checked


def state_dir(mounts: Mounts | None = None) -> Path:
    """Return the folder of this user's state on this host, made with mode 0700: e.g. ~/.local/state/llmpt/<host>.

    A home that lies on a network's file system, is missing or is read-only gives way to /var/tmp/llmpt-<uid>, or, where that is
    another user's, to one with a number behind it. Raises `AgentUnavailable` when none can be had.
    """
    wanted = _user_state() / _host()
    mounts = mounts or Mounts.read()
    if wanted.is_absolute() and mounts.network_kind(wanted) is None:
        _take_over(wanted, mounts)
        if _usable(wanted):
            return wanted
    return paths.first_private([FALLBACK / f"llmpt-{os.getuid()}{more}" for more in ("", *(f".{n}" for n in range(1, TRIES)))])


def _user_state() -> Path:
    try:
        return platformdirs.user_state_path("llmpt")
    except RuntimeError:  # a user without a home
        return Path()


def database_path(mounts: Mounts | None = None) -> Path:
    """Return the file of the agent's inventory. Raises as `state_dir`."""
    return state_dir(mounts) / DATABASE


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Hold the lock that says that an agent lives with the state in `folder`."""
    descriptor: int | None = None
    try:
        descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        log.debug("%s cannot be locked: %s", folder, error)
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
    if wanted.exists() or (mount is not None and mount.kind not in _LOCAL_KINDS):
        return
    try:
        found = sorted(wanted.parent.glob(f"*/{IN_USE}"), key=lambda lock: lock.stat().st_mtime, reverse=True)
    except OSError:
        return
    for lock in found:
        with suppress(OSError):
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock.parent.rename(wanted)
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


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname()).strip(".")[:64] or "localhost"
