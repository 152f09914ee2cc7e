"""How long a Hub that cannot be reached is left alone: for all questions together, and longer each time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from llmpt.hub.visibility import BACK_OFF_S


class BackOff:
    """Shared by all who ask the Hub, on any thread: an unreachable one costs one time-out, not one for each question."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing should be asked now."""
        return self._clock() < self._until

    def failed(self) -> None:
        """Note that a question got no answer."""
        with self._lock:
            if not self.is_quiet:  # two questions that were under way together are one failure
                self._until = self._clock() + BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)]
                self._failures += 1

    def succeeded(self) -> None:
        """Note that a question was answered, with whatever."""
        with self._lock:
            self._failures = 0
