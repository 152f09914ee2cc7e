"""What is done again and again, for as long as a process lives: one boundary that logs, backs off and goes on.

    health = Health()
    start("tracker-watch", directory.contact, Rhythm(interval_s=15), stop=stopping, health=health)
    health.troubles()  # what does not work now, since when, and why

A step that raises never ends its loop. What networks and disks do is one line in the log; anything else is our
bug, and comes with its traceback. A step that goes on failing is a trouble of `Health`, which `llmpt status`, the doctor and
health checks show, until it succeeds again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmpt.core.breaker import Pauses
from llmpt.core.errors import LlmptError

log = logging.getLogger("llmpt.loops")

EXPECTED = (LlmptError, OSError)

Step = Callable[[], "float | None"]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When a step is done again, and when its failures are a trouble.

    interval_s: after a success, unless the step returns another number of seconds
    pauses: after failures
    bad_failures: so many failures in a row are a trouble
    bad_s: failures for so long are, too, however few
    """

    interval_s: float = 1.0
    pauses: Pauses = Pauses(first_s=1.0, longest_s=30.0)
    bad_failures: int = 3
    bad_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What does not work: the loop's `name`, its last `error` (a sentence), and `since` when (Unix time)."""

    name: str
    error: str
    since: float

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "error": self.error, "since": self.since}


class Health:
    """The troubles of one process. Safe to share among threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._troubles: dict[str, Trouble] = {}

    def troubles(self) -> list[Trouble]:
        """Return what does not work now, in the order of names."""
        with self._lock:
            return sorted(self._troubles.values(), key=lambda trouble: trouble.name)

    def is_bad(self, trouble: Trouble) -> None:
        """Note a trouble, in the place of an earlier one of that name."""
        with self._lock:
            self._troubles[trouble.name] = trouble

    def is_good(self, name: str) -> None:
        """Note that what has this name works."""
        with self._lock:
            self._troubles.pop(name, None)


class Boundary:
    """Where every exception of one step ends: in the log, in `health`, and in the pause before the next try.

    For one thread, or one task of an event loop: `loop` uses it, and so may what has a loop of its own.
    """

    def __init__(
        self,
        name: str,
        rhythm: Rhythm,
        health: Health,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`clock` returns Unix time, `chance` a number from 0 to below 1."""
        self._name, self._rhythm, self._health = name, rhythm, health
        self._clock, self._chance = clock, chance
        self._failures, self._since, self._said = 0, 0.0, ""

    def succeeded(self) -> None:
        """Note that the step was done."""
        if self._failures:
            log.info("%s works again", self._name)
            self._health.is_good(self._name)
            self._failures, self._said = 0, ""

    def failed(self, error: Exception) -> float:
        """Log an exception, unless it is the one of the last time; return the seconds to pause."""
        now, words = self._clock(), str(error) or type(error).__name__
        if not self._failures:
            self._since = now
        self._failures += 1
        if words != self._said and isinstance(error, EXPECTED):
            log.warning("%s: %s; it is tried again", self._name, words)
        elif words != self._said:
            log.error("a bug of llmpt in %s", self._name, exc_info=error)
        self._said = words
        if self._failures >= self._rhythm.bad_failures or now - self._since >= self._rhythm.bad_s:
            self._health.is_bad(Trouble(self._name, words, self._since))
        return self._rhythm.pauses.after(self._failures, self._chance())


def loop(
    name: str,
    step: Step,
    rhythm: Rhythm = Rhythm(),
    *,
    stop: threading.Event,
    health: Health,
    wait: Callable[[float], object] | None = None,
) -> None:
    """Do `step` at once, and again and again until `stop` is set. Returns then; raises nothing that a step raises.

    `step` returns None, or in how many seconds it is to be done again. `wait` (default: `stop.wait`) waits for so many
    seconds, or less when there is something to do.
    """
    boundary = Boundary(name, rhythm, health)
    while not stop.is_set():
        try:
            asked_s = step()
        except Exception as error:  # noqa: BLE001  (the one boundary of all that is done again and again)
            pause_s = boundary.failed(error)
            stop.wait(pause_s)
        else:
            boundary.succeeded()
            (wait or stop.wait)(rhythm.interval_s if asked_s is None else asked_s)


def start(
    name: str,
    step: Step,
    rhythm: Rhythm = Rhythm(),
    *,
    stop: threading.Event,
    health: Health,
    wait: Callable[[float], object] | None = None,
) -> threading.Thread:
    """Run `loop` on a thread of this name; return it, started."""
    kept = {"stop": stop, "health": health, "wait": wait}
    thread = threading.Thread(target=loop, args=(name, step, rhythm), kwargs=kept, name=name, daemon=True)
    thread.start()
    return thread
