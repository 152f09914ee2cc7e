"""The unfinished files that downloads leave: kept for the next try, and removed when no program asks for a week.

Only files whose names the hook has made, that it gave to this agent itself, and that still are the same files.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

from llmpt.core.errors import StateUnavailable
from llmpt.disk.inventory import Inventory
from llmpt.disk.locking import InUse, NotLocked, lock

log = logging.getLogger("llmpt.agent")

KEEP_S = 7 * 86400.0
RETRIED_S = 60.0  # in which a program that replaces a file may try again
_OURS = re.compile(r"(.+)\.[0-9a-f]{8}\.incomplete")


class Partials:
    """Remembered in `inventory`, across restarts. `clock` returns Unix time."""

    def __init__(self, inventory: Inventory, *, clock: Callable[[], float] = time.time) -> None:
        self._inventory, self._clock = inventory, clock

    def asked(self, path: Path, inode: int) -> None:
        """A download into `path` was asked for now, and may leave it unfinished."""
        if _OURS.fullmatch(path.name):
            try:
                self._inventory.remember_partial(path, inode, self._clock())
            except StateUnavailable as error:
                log.warning("%s is not remembered, should it stay unfinished: %s", path, error)

    def done(self, path: Path) -> None:
        """`path` is finished."""
        try:
            self._inventory.forget_partial(path)
        except StateUnavailable as error:
            log.debug("%s is not forgotten yet: %s", path, error)  # it is found to be gone

    def left(self, path: Path) -> None:
        """The program that wanted `path` has hung up, and has the whole file from elsewhere: remove what is not in use."""
        if _OURS.fullmatch(path.name):
            self._remove(path, "the whole file is there")

    def sweep(self) -> None:
        """Remove what no program has asked for in a week, and what lies beside the whole file: it came another way."""
        for path in self._inventory.partials(asked_before=self._clock() - RETRIED_S):
            of = _OURS.fullmatch(path.name)
            if of is not None and path.with_name(of[1]).is_file():
                self._remove(path, "the whole file is there")
        for path in self._inventory.partials(asked_before=self._clock() - KEEP_S):
            self._remove(path, "no program has asked for it for a week")

    def _remove(self, path: Path, reason: str) -> None:
        try:
            if _remove(path, before=self._clock() - KEEP_S):
                log.info("%s is removed: %s", path, reason)
        except InUse:
            return
        self.done(path)


def _remove(path: Path, *, before: float) -> bool:
    """Remove an unfinished file of this user's; False when it is something else, or gone.

    Raises `InUse` when a process is using it: it holds a lock, or, where locks say nothing, has written to it since `before`.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
            return False
        try:
            lock(descriptor, path)  # held by a hook as long as it wants the file
        except InUse:
            raise
        except NotLocked as error:
            if found.st_mtime > before:
                raise InUse(f"{path} was written to of late, and nothing can be locked") from error
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
