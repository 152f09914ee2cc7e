"""Waiting with a reason: never sleep to synchronize, always for something, and say what was last seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.02
_BUSY = 3  # tests run beside each other, and beside whatever else a machine has to do


def eventually(check: Callable[[], T | None], *, timeout_s: float = 10, what: str = "") -> T:
    """Return the first truthy value of `check`; raise `AssertionError` with the last one when it does not come.

    timeout_s: more than a machine needs that has nothing else to do; a busy one gets three times as long.
    """
    bound_s = _BUSY * timeout_s
    deadline = time.monotonic() + bound_s
    while True:
        seen = check()
        if seen:
            return seen
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what or 'what was waited for'} did not come about in {bound_s:g} s; last seen: {seen!r}")
        time.sleep(_PAUSE_S)
