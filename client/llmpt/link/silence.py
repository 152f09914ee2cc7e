"""Until when a silent tracker is left alone by all programs of this user: what one has waited for, none waits for again.

It is the time of a file in the agent's folder. Where that cannot be had, each program finds out for itself.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from hashlib import sha256

from llmpt.core.errors import AgentUnavailable
from llmpt.link import paths

log = logging.getLogger("llmpt")

LONGEST_S = 60.0


class TrackerSilence:
    """That of one tracker."""

    def __init__(self, tracker: str, environ: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns the seconds since 1970."""
        self._name = f"silent-{sha256(tracker.encode()).hexdigest()[:16]}"
        self._environ, self._clock = environ, clock

    def left_s(self) -> float:
        """For how many seconds more it is left alone; 0 when it may be asked."""
        try:
            until = (paths.runtime_dir(self._environ) / self._name).stat().st_mtime
        except (OSError, AgentUnavailable):
            return 0.0
        return min(max(0.0, until - self._clock()), LONGEST_S)

    def note(self, for_s: float) -> None:
        """It did not answer, and is left alone for so long."""
        until = self._clock() + min(for_s, LONGEST_S)
        try:
            path = paths.runtime_dir(self._environ) / self._name
            path.touch(mode=0o600)
            os.utime(path, (until, until))
        except (OSError, AgentUnavailable) as error:
            log.debug("that the tracker is silent is not passed on: %s", error)
