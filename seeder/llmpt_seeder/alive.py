"""Signs of life: each loop of the seeder notes the time in LLMPT_DATA/seeder.alive, and the health check reads it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("llmpt.seeder")

STALE_S = 60.0
WRITE_EVERY_S = 5.0


class SignsOfLife:
    """Owns the file. A loop that never beat is not expected to."""

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._beats: dict[str, float] = {}
        self._written: dict[str, float] = {}

    def beat(self, loop: str) -> None:
        """Note that `loop` is alive; written to the file at most every few seconds."""
        now = self._clock()
        with self._lock:
            self._beats[loop] = now
            if abs(now - self._written.get(loop, 0.0)) < WRITE_EVERY_S:
                return
            self._written[loop] = now
            temporary = self._path.with_suffix(".new")
            try:
                temporary.write_text(json.dumps(self._beats))
                temporary.replace(self._path)
            except OSError as error:
                log.warning("cannot write %s: %s", self._path, error.strerror)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def what_is_wrong(path: Path, *, now: float) -> str | None:
    """Read the file; return why the seeder does not count as alive, None when it does."""
    try:
        beats = {str(loop): float(at) for loop, at in json.loads(path.read_text()).items()}
    except OSError:
        return f"no seeder runs with its state in {path.parent} (no {path.name})"
    except (ValueError, AttributeError, TypeError):
        return f"{path} cannot be understood"
    stale = [f"{loop} for {now - at:.0f} s" for loop, at in sorted(beats.items()) if now - at > STALE_S]
    if stale or not beats:
        return f"no sign of life from: {', '.join(stale) or 'any loop'}"
    return None
