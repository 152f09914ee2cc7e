"""How often a client may do something: a bucket for each, which holds `burst` and fills at a steady rate.

It stands in the announcer because the application is several processes, and one of this.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_BUCKETS = 20_000


class Limiter:
    """The buckets, by name; the one not seen for longest is forgotten first, and has a full one again."""

    def __init__(self, max_buckets: int = MAX_BUCKETS) -> None:
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name → what is in it, when that was so

    def take(self, name: str, *, per_s: float, burst: float, now: float) -> float:
        """Take one out of a bucket; return 0, or the seconds until there is one."""
        left, at = self._buckets.pop(name, (burst, now))
        left = min(left + (now - at) * per_s, burst)
        wait_s = 0.0 if left >= 1 else (1 - left) / per_s
        self._buckets[name] = (left if wait_s else left - 1, now)
        if len(self._buckets) > self._max_buckets:
            self._buckets.popitem(last=False)
        return wait_s
