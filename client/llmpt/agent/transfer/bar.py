"""How far a download looks when it first waits for another machine's: one bar for both, which ends where the file does."""

from __future__ import annotations


class Bar:
    """The bar of one blob of `size` bytes. It never goes down for a change of phase, or of the machine that fetches."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waited = 0

    def waiting(self, fetched_bytes: int) -> int:
        """Return the bytes to show while another machine has fetched `fetched_bytes`: half of them."""
        self._waited = max(self._waited, min(fetched_bytes, self._size) // 2)
        return self._waited

    def arriving(self, done_bytes: int) -> int:
        """Return the bytes to show when `done_bytes` have come here: what is left of the bar is for these."""
        return self._waited + min(done_bytes, self._size) * (self._size - self._waited) // max(self._size, 1)
