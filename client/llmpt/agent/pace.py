"""Is the LAN worth waiting for? Its rate beside that of the ordinary path, as this machine has measured both.

What has arrived is kept in any case: a transfer that falls behind is not given up, its rest comes from where it is faster.
"""

from __future__ import annotations

WINDOW_S = 10.0
# The Internet is the dearer way, for the whole LAN: it has to be much faster.
TIMES_SLOWER = 8


class Pace:
    """Watches one transfer, window by window. `ordinary_rate_bytes_s` 0: not measured, then nothing is too slow."""

    def __init__(self, ordinary_rate_bytes_s: int, *, now: float) -> None:
        self._least_bytes = ordinary_rate_bytes_s / TIMES_SLOWER * WINDOW_S
        self._since, self._bytes = now, 0

    def falls_behind(self, bytes_done: int, *, now: float) -> bool:
        """Whether a whole window has brought less than an eighth of what the ordinary path would have."""
        if now - self._since < WINDOW_S:
            return False
        gained = bytes_done - self._bytes
        too_slow = gained < self._least_bytes * (now - self._since) / WINDOW_S
        self._since, self._bytes = now, bytes_done
        return too_slow
