"""Who has the state folder: trackers and their commands share it, a restore has it alone."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmpt.core.errors import StateUnavailable
from llmpt.disk.locking import InUse, NotLocked, lock

log = logging.getLogger(__name__)

NAME = "in-use.lock"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Hold the folder with others that use what is in it. Where the file system has no locks, none is held.

    Raises `StateUnavailable` while a restore has it.
    """
    descriptor: int | None = None
    try:
        try:
            descriptor = os.open(folder / NAME, _FLAGS, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateUnavailable(f"{folder} is being restored from a backup: try again when that is over") from None
        except OSError as error:
            log.warning("%s cannot be locked (%s): a restore would not notice this process", folder, error.strerror)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder as its only user. Raises `StateUnavailable` when a tracker or a command of it has it, `OSError`."""
    descriptor = os.open(folder / NAME, _FLAGS, 0o600)
    try:
        lock(descriptor, folder / NAME)
    except InUse:
        os.close(descriptor)
        raise StateUnavailable(f"a tracker uses {folder}: stop it first, then restore, then start it again") from None
    except NotLocked as error:
        os.close(descriptor)
        raise StateUnavailable(f"{folder} cannot be kept from a tracker that may run ({error}): use a local disk") from None
    try:
        yield
    finally:
        os.close(descriptor)
