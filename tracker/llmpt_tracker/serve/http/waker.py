"""How threads have the event loop's thread do something."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable


class Waker:
    """Calls that wait for the loop, and a descriptor that is readable when there are any."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        self._calls: deque[Callable[[], object]] = deque()
        self._is_told = False

    def fileno(self) -> int:
        """Return what the loop watches."""
        return self._out

    def put(self, call: Callable[[], object]) -> None:
        """Have the loop make a call; from any thread, and from a signal handler."""
        self._calls.append(call)
        if not self._is_told:
            self._is_told = True
            try:
                os.write(self._in, b"\0")
            except OSError:
                pass  # it is full, and so it is readable; or the loop is over

    def drain(self) -> None:
        """Make the calls."""
        try:
            os.read(self._out, 4096)
        except BlockingIOError:
            pass
        self._is_told = False  # before they are made: what comes later tells anew
        for _ in range(len(self._calls)):
            self._calls.popleft()()
        if self._calls:
            self.put(lambda: None)

    def close(self) -> None:
        """Let go of the descriptors."""
        os.close(self._out)
        os.close(self._in)
