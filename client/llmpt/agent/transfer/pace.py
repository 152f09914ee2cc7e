"""Is the LAN worth waiting for? All that comes to this machine from it beside what the ordinary path gave a file.

What has arrived is kept in any case: a transfer that falls behind is not given up, its rest comes from where it is faster.
"""

from __future__ import annotations

WINDOW_S = 10.0
# The Internet is the dearer way, for the whole LAN: it has to be much faster.
TIMES_SLOWER = 8


class Pace:
    """Watches, window by window, while one transfer is under way.

    `ordinary_rate_bytes_s` 0: not measured, then nothing is too slow.
    """

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

    def restart(self, bytes_done: int, *, now: float) -> None:
        """What was until now does not count."""
        self._since, self._bytes = now, bytes_done
