"""The life of the seeder: its loops, each with one boundary, the end of all of them, and the signs that they live.

Each loop notes the time in LLMPT_DATA/seeder.alive, also in the middle of a long step; what goes on failing is noted there
as well, and the health check reads it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from llmpt.core.documents import read_json
from llmpt.host import loops
from llmpt.host.loops import Health, Rhythm, Step
from llmpt_seeder.errors import NoLife

log = logging.getLogger("llmpt.seeder")

T = TypeVar("T")
U = TypeVar("U")

# The loops that must live.
WORK, UPSTREAM, HEARTBEAT = "work", "upstream", "heartbeat"
LISTINGS, VISIBILITY = "listings", "visibility"
STALE_S = 60.0
WRITE_EVERY_S = 5.0
MAX_FILE_BYTES = 1 << 20


class Life:
    """Owns the file. `stop` is set when the seeder ends; `health` has what does not work. A loop that never beat is not
    expected to."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.stop, self.health = threading.Event(), Health()
        self.clock, self._path = clock, path
        self._lock = threading.Lock()
        self._beats: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._said = ""

    def start(
        self, name: str, step: Step, rhythm: Rhythm = Rhythm(), *, wait: Callable[[float], object] | None = None
    ) -> threading.Thread:
        """Run a loop until the end, on a thread that is started (see `llmpt.host.loops`); each step is a sign of life."""

        def alive() -> float | None:
            self.beat(name)
            return step()

        return loops.start(name, alive, rhythm, stop=self.stop, health=self.health, wait=wait)

    def beat(self, loop: str) -> None:
        """Note that `loop` is alive; written to the file at most every few seconds."""
        now = self.clock()
        with self._lock:
            self._beats[loop] = now
            if abs(now - self._written.get(loop, 0.0)) < WRITE_EVERY_S:
                return
            self._written[loop] = now
            troubles = [trouble.as_json() for trouble in self.health.troubles()]
            try:
                self._write(json.dumps({"beats": self._beats, "troubles": troubles}))
                self._said = ""
            except OSError as error:
                words = error.strerror or str(error)
                if words != self._said:
                    log.warning("cannot write %s, by which the health check sees that the seeder lives: %s", self._path, words)
                self._said = words

    def _write(self, text: str) -> None:
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_text(text)
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)
            with self._path.open("r+b") as file:  # a full disk has room for what it holds already
                file.write(text.encode().ljust(self._path.stat().st_size))

    def while_doing(self, loop: str, do: Callable[[T], U]) -> Callable[[T], U]:
        """Return `do`, each call of which is a sign of life of a loop."""

        def done(argument: T) -> U:
            self.beat(loop)
            return do(argument)

        return done

    def remove(self) -> None:
        """Remove the file: the seeder has ended."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("cannot remove %s: %s", self._path, error.strerror)


def what_is_wrong(path: Path, *, now: float) -> str | None:
    """Read the file; return what does not work, None when all does. Raises `NoLife` when the seeder does not count as alive."""
    try:
        said = read_json(path.read_bytes(), most_bytes=MAX_FILE_BYTES)
        beats = {str(loop): float(at) for loop, at in said["beats"].items()}
        troubles = [f"{trouble['name']} does not work: {trouble['error']}" for trouble in said["troubles"]]
    except OSError:
        raise NoLife(f"no seeder runs with its state in {path.parent} (no {path.name})") from None
    except (ValueError, AttributeError, TypeError, KeyError):
        raise NoLife(f"{path} cannot be understood") from None
    ages = {loop: now - at for loop, at in sorted(beats.items())}
    stale = [f"{loop} for {age:.0f} s" for loop, age in ages.items() if age > STALE_S]
    stale += [f"{loop} (its last is from the future)" for loop, age in ages.items() if age < -STALE_S]  # the clock was set back
    if stale or not beats:
        raise NoLife(f"no sign of life from: {', '.join(stale) or 'any loop'}")
    return "; ".join(troubles) or None
