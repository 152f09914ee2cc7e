"""Requests that wait for something: few looks at it, however many wait, and never so many that other requests have no thread.

A request that waits holds a thread and does nothing with it. One thread looks at all that is waited for, each thing once for
all who wait for it, `polls_per_s` looks a second at most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmpt_tracker.errors import TooManyWait

T = TypeVar("T")

MAX_WAITING = 256  # requests of one process; its threads are so many more
POLLS_PER_S = 80  # of one process: with many things to look at, each is looked at less often
GONE_S = 0.5  # between two looks at whether a client is still there


@dataclass(slots=True)
class _Watch:
    """Something that requests wait for, and what came of it."""

    look: Callable[[], Any]
    waiting: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    seen: Any = None
    error: BaseException | None = None


class Waiting:
    """The requests of one process that wait; `most` at once. Used by many threads.

    `on_full` is called when one may not wait; `is_gone`, by the thread that waits, says whether its client has gone. It waits
    within `aside`, and others have its turn meanwhile.
    """

    def __init__(
        self,
        *,
        most: int = MAX_WAITING,
        polls_per_s: float = POLLS_PER_S,
        on_full: Callable[[], None] = lambda: None,
        is_gone: Callable[[], bool] = lambda: False,
        aside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._most, self._polls_per_s, self._on_full, self._is_gone, self._aside = most, polls_per_s, on_full, is_gone, aside
        self._lock = threading.Lock()
        self._watches: dict[Hashable, _Watch] = {}
        self._looks = False  # whether the thread that looks runs
        self.count = 0

    def until(self, key: Hashable, look: Callable[[], T | None], *, within_s: float, poll_s: float) -> T | None:
        """Return what `look` finds, the first that is not None; None: nothing in time, or its client has gone.

        What waits for the same `key` has the same `look`. Raises what `look` raises, and `TooManyWait` instead of waiting.
        """
        watch = self._enter(key, look, poll_s)
        deadline = time.monotonic() + within_s
        try:
            with self._aside():
                while (left_s := deadline - time.monotonic()) > 0 and not self._is_gone():
                    if watch.over.wait(min(left_s, GONE_S)):
                        break
            if watch.error is not None:
                raise watch.error
            found: T | None = watch.seen
            return found
        finally:
            self._leave(key, watch)

    def _enter(self, key: Hashable, look: Callable[[], Any], poll_s: float) -> _Watch:
        with self._lock:
            if self.count < self._most:
                self.count += 1
                watch = self._watches.setdefault(key, _Watch(look))
                watch.waiting += 1
                if not self._looks:
                    self._looks = True
                    threading.Thread(target=self._run, args=(poll_s,), name="waiting", daemon=True).start()
                return watch
        self._on_full()
        raise TooManyWait(f"{self._most} requests wait already")

    def _leave(self, key: Hashable, watch: _Watch) -> None:
        with self._lock:
            self.count -= 1
            watch.waiting -= 1
            if not watch.waiting and self._watches.get(key) is watch:
                del self._watches[key]

    def _run(self, poll_s: float) -> None:
        while True:
            began = time.monotonic()
            with self._lock:
                watches = list(self._watches.items())
                if not watches:
                    self._looks = False
                    return
            for key, watch in watches:
                if watch.waiting:
                    self._look(key, watch)
            time.sleep(max(poll_s, len(watches) / self._polls_per_s - (time.monotonic() - began)))

    def _look(self, key: Hashable, watch: _Watch) -> None:
        try:
            watch.seen = watch.look()
        except Exception as error:  # noqa: BLE001  (raised where it is waited for)
            watch.error = error
        if watch.seen is not None or watch.error is not None:
            with self._lock:
                if self._watches.get(key) is watch:
                    del self._watches[key]
            watch.over.set()
