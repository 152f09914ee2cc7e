"""How many bytes per second may go over the LAN, and at which hours.

RateLimit.parse("10M@08:00-18:00,0").at(time(9, 30)) == 10 << 20
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

from llmpt.core.errors import InvalidInput
from llmpt.core.settings import size

_ENTRY = re.compile(r"([^@]+)(?:@(\d\d?):(\d\d)-(\d\d?):(\d\d))?")


@dataclass(frozen=True, slots=True)
class _Entry:
    bytes_s: int
    start: time | None = None  # None: at every hour
    stop: time | None = None

    def holds(self, now: time) -> bool:
        if self.start is None or self.stop is None:
            return True
        if self.start <= self.stop:
            return self.start <= now < self.stop
        return now >= self.start or now < self.stop  # over midnight


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What may be moved, in bytes per second of the machine's local time; the first entry that holds counts."""

    entries: tuple[_Entry, ...] = ()

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """Read `50M`, `0` (no limit) or `10M@08:00-18:00,0`: entries by commas, each with its hours or for the rest of the day.

        Raises `InvalidInput` with what would be right.
        """
        return cls(tuple(_entry(entry.strip()) for entry in text.split(",")))

    def at(self, now: time) -> int:
        """Return the bytes per second that are allowed at the local time `now`; 0 is no limit, also at hours not named."""
        return next((entry.bytes_s for entry in self.entries if entry.holds(now)), 0)


NO_LIMIT = RateLimit()


def rate_limit(value: str) -> RateLimit:
    """Read a setting; raises `ValueError` with what would be right."""
    return RateLimit.parse(value)


def _entry(text: str) -> _Entry:
    match = _ENTRY.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        bytes_s = size(match[1].strip())
        if match[2] is None:
            return _Entry(bytes_s)
        return _Entry(bytes_s, time(int(match[2]), int(match[3])), _end(int(match[4]), int(match[5])))
    except ValueError:
        raise InvalidInput(f"{text!r:.40} is no rate: write bytes per second, such as 50M, or 10M@08:00-18:00,0") from None


def _end(hour: int, minute: int) -> time:
    """24:00 is the end of the day."""
    return time.max if (hour, minute) == (24, 0) else time(hour, minute)
