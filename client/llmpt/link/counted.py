"""How many questions of this user's programs the LAN has answered today on this host, and how many went to the Hub.

A program notes a line when its downloads come to rest, and at its end; `llmpt status` adds the lines of the day up. Where no note
can be made, or read, everything goes on as it was.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from llmpt.link import state

FOLDER = "counted"
MAX_BYTES = 1 << 20  # of a day; what comes then is not counted


@dataclass(frozen=True, slots=True)
class Counted:
    """Questions that were answered by the LAN, and by the Hub; and the bytes that were read from the LAN in streams."""

    by_lan: int = 0
    by_hub: int = 0
    streamed_bytes: int = 0

    def __add__(self, other: Counted) -> Counted:
        return Counted(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


def note(environ: Mapping[str, str], counted: Counted, *, clock: Callable[[], float] = time.time) -> None:
    """Add to the figures of the day; those of other days go."""
    today = _today(environ, clock)
    if today is None or counted == Counted():
        return
    with suppress(OSError):
        if not today.exists():
            today.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for old in today.parent.iterdir():
                old.unlink(missing_ok=True)
        with today.open("ab", buffering=0) as file:
            if file.tell() < MAX_BYTES:
                file.write(" ".join(map(str, astuple(counted))).encode() + b"\n")  # at once: no line is torn


def of_today(environ: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> Counted:
    """Return the figures since midnight."""
    today, total = _today(environ, clock), Counted()
    with suppress(OSError):
        for line in (b"" if today is None else today.read_bytes()[: 2 * MAX_BYTES]).splitlines():
            with suppress(ValueError, TypeError):  # what a full disk has left of a line
                total += Counted(*map(int, line.split()))
    return total


def _today(environ: Mapping[str, str], clock: Callable[[], float]) -> Path | None:
    home = state.at_home(environ)
    return None if home is None else home / FOLDER / datetime.datetime.fromtimestamp(clock()).astimezone().date().isoformat()
