"""The programs that wait for one blob: they come, hear how far it is, and go; in the end each is told how it ended."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from llmpt.agent.transfer.record import Record
from llmpt.agent.transfer.result import BrokenOff, JobResult, Whole
from llmpt.core.files import FileId
from llmpt.link.answers import Progress
from llmpt.link.requests import FetchRequest


@dataclass(eq=False, slots=True)
class Subscriber:
    """One request that waits. Changed by its `Subscribers` only.

    `request`, `record`: what was asked for, and its row in `llmpt status`
    `result`: how it ended; None as long as it waits
    `is_moved`: the agent has renamed its file to its destination
    `copy_from`: a descriptor of the whole file, to be copied from and closed; None when its own file is the one
    """

    request: FetchRequest
    record: Record
    result: JobResult | None = None
    is_moved: bool = False
    copy_from: int | None = None


class Subscribers:
    """Safe to share among threads. The first that waits is asked first when one of them has to do something."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Subscriber] = []
        self._is_closed = False
        self._shown = Progress()
        self._version = 1

    def join(self, request: FetchRequest, record: Record) -> Subscriber | None:
        """Wait from now on; None when it is too late, since the end has been told."""
        with self._changed:
            if self._is_closed:
                return None
            subscriber = Subscriber(request, record)
            self._waiting.append(subscriber)
            return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Wait no longer. The others notice nothing."""
        with self._changed:
            if subscriber in self._waiting:
                self._waiting.remove(subscriber)

    @property
    def first(self) -> Subscriber | None:
        """The one that has waited longest; None when none waits."""
        with self._changed:
            return self._waiting[0] if self._waiting else None

    def of(self, file: FileId) -> Subscriber | None:
        """The latest whose own file this is, if it waits: a killed program may be back before it is known to have gone."""
        with self._changed:
            return next((one for one in reversed(self._waiting) if one.request.file == file), None)

    def close_if_none(self) -> bool:
        """Let none join any more, if none waits now; whether that is so."""
        with self._changed:
            self._is_closed = self._is_closed or not self._waiting
            return self._is_closed

    def show(self, progress: Progress) -> None:
        """Let those who wait hear how far it is."""
        with self._changed:
            if progress != self._shown:
                self._shown = progress
                self._version += 1
                for one in self._waiting:
                    one.record.waits = progress.waiting
                self._changed.notify_all()

    def hear(self, subscriber: Subscriber, seen: int | None, timeout_s: float) -> tuple[Progress, int]:
        """Return the last progress and its number, when that is no longer `seen`, at the end, or after `timeout_s`.

        `seen` None: what there is to hear can wait, for `timeout_s`.
        """
        with self._changed:
            self._changed.wait_for(lambda: subscriber.result is not None or seen not in (None, self._version), timeout_s)
            return self._shown, self._version

    def tell(self, subscriber: Subscriber, result: JobResult) -> None:
        """Tell one of them how it ended for it; the others go on waiting."""
        with self._changed:
            subscriber.result, subscriber.record.waits = result, False
            if subscriber in self._waiting:
                self._waiting.remove(subscriber)
            self._changed.notify_all()

    def tell_all(self, result: JobResult, *, whole: int | None, own: FileId | None, is_moved: bool, part: JobResult) -> None:
        """It is over: tell all, and let none join any more.

        `whole` is a descriptor of the whole file, from which each copies but the one whose `own` file it is, which is told
        whether that `is_moved`. Without it that one is told `result`, and the others `part`.
        """
        with self._changed:
            self._is_closed = True
            for one in self._waiting:
                is_own = own is not None and one.request.file == own
                one.result = result if is_own or isinstance(result, Whole) else part
                one.is_moved, one.record.waits = is_own and is_moved, False
                if whole is not None and not is_own:
                    try:
                        one.copy_from = os.dup(whole)
                    except OSError as error:  # no more descriptors
                        one.result = BrokenOff(f"it is here, and cannot be copied: {error.strerror}")
            self._waiting.clear()
            self._changed.notify_all()


def has_blocks(path: Path) -> bool:
    """Whether an earlier try has left something in the file at `path`."""
    try:
        return path.stat().st_blocks > 0
    except OSError:
        return False
