"""Which limits of the application were reached of late: in the announcer, because the application is several processes."""

from __future__ import annotations

from dataclasses import dataclass

SHOWN_S = 600.0
MAX_REMEMBERED = 50


@dataclass(slots=True)
class _Reached:
    times: int
    at_s: float


class ReachedLimits:
    """Each limit by its sentence; forgotten ten minutes after it was reached for the last time."""

    def __init__(self) -> None:
        self._reached: dict[str, _Reached] = {}

    def note(self, sentence: str, *, times: int, now: float) -> None:
        """Note that a limit was reached so many times more."""
        before = self._reached.pop(sentence, None)
        self._reached[sentence] = _Reached(times + (before.times if before and now - before.at_s < SHOWN_S else 0), now)
        if len(self._reached) > MAX_REMEMBERED:
            del self._reached[next(iter(self._reached))]

    def sentences(self, now: float) -> tuple[str, ...]:
        """Return what was reached of late, the latest first, each with how often and when."""
        late = [(one.at_s, what, one.times) for what, one in self._reached.items() if now - one.at_s < SHOWN_S]
        return tuple(f"{what} ({times} times, last {now - at_s:.0f} s ago)" for at_s, what, times in sorted(late, reverse=True))
