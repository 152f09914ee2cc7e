"""How fast the ordinary path is here, measured."""

from __future__ import annotations

MEASURED_BYTES = 1 << 20  # smaller files say more about round trips than about rates


class Rate:
    """The rate of what came the ordinary way: each file counts as much as all before it. `bytes_s` is 0 before the first."""

    def __init__(self) -> None:
        self.bytes_s = 0

    def note(self, size_bytes: int, seconds: float) -> None:
        """A file of `size_bytes` took so long."""
        if size_bytes >= MEASURED_BYTES:
            rate = size_bytes / max(seconds, 0.001)
            self.bytes_s = int((self.bytes_s + rate) / 2 if self.bytes_s else rate)
