"""What is on its way to one client: gunicorn writes to it as to a socket, and it never waits.

What the client does not take at once is sent on by the event loop: a client that reads slowly holds no thread.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections import deque
from typing import IO, Any, cast

_AT_ONCE = 256 << 10  # sent before other clients have their turn
_JOINED = 64 << 10  # small parts leave in one segment


class _FilePart:
    """Bytes of a file, on a descriptor of our own."""

    __slots__ = ("at", "fd", "left")

    def __init__(self, file: IO[bytes], at: int, count: int) -> None:
        self.fd, self.at, self.left = os.dup(file.fileno()), at, count

    def close(self) -> None:
        os.close(self.fd)


class Outbox:
    """The answers to one client that it has not taken. Used by one thread at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parts: deque[bytes | _FilePart] = deque()
        self._current: memoryview | None = None  # TLS wants the same bytes again
        self.held_bytes = 0  # in memory
        self.sent_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Say whether the client has taken all."""
        return self._current is None and not self._parts

    def sendall(self, data: bytes) -> None:
        """Have `data` sent."""
        if data:
            self._parts.append(bytes(data))
            self.held_bytes += len(data)

    def send(self, data: bytes) -> int:
        """Have `data` sent; return how many bytes that is."""
        self.sendall(data)
        return len(data)

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Have bytes of a file sent, which may be closed meanwhile."""
        size = os.fstat(file.fileno()).st_size - offset if count is None else count
        if size > 0:
            self._parts.append(_FilePart(file, offset, size))
        return max(size, 0)

    def fileno(self) -> int:
        return self._sock.fileno()

    def gettimeout(self) -> float:
        return 0.0

    def setblocking(self, _flag: Any) -> None:
        """Do nothing: it never blocks."""

    def flush(self) -> bool:
        """Send what the client takes now; return whether that was all. Raises `OSError` when it takes nothing any more."""
        budget = _AT_ONCE
        try:
            while budget > 0 and not self.is_empty:
                budget -= self._send_some(budget)
        except (BlockingIOError, InterruptedError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return False
        return self.is_empty

    def close(self) -> None:
        """Let go of what was not sent."""
        for part in self._parts:
            if isinstance(part, _FilePart):
                part.close()
        self._parts.clear()
        self._current, self.held_bytes = None, 0

    def _send_some(self, budget: int) -> int:
        if self._current is None:
            part = self._parts[0]
            if isinstance(part, _FilePart):
                return self._send_file(part, budget)
            self._current = memoryview(self._joined())
        sent = self._sock.send(self._current[:budget])
        self.held_bytes -= sent
        self.sent_bytes += sent
        self._current = self._current[sent:] if sent < len(self._current) else None
        return sent

    def _joined(self) -> bytes:
        first = cast(bytes, self._parts.popleft())
        if len(first) > _JOINED or not self._parts:
            return first
        joined, size = [first], len(first)
        while self._parts and isinstance(part := self._parts[0], bytes) and size + len(part) <= 2 * _JOINED:
            joined.append(part)
            size += len(part)
            self._parts.popleft()
        return b"".join(joined)

    def _send_file(self, part: _FilePart, budget: int) -> int:
        count = min(part.left, budget)
        if isinstance(self._sock, ssl.SSLSocket):
            data = os.pread(part.fd, min(count, _JOINED), part.at)
            sent = len(data)
            if data:
                self._current = memoryview(data)
                self.held_bytes += sent
        else:
            sent = os.sendfile(self._sock.fileno(), part.fd, part.at, count)
            self.sent_bytes += sent
        if not sent:
            raise OSError("a file is shorter than it was")
        part.at += sent
        part.left -= sent
        if not part.left:
            self._parts.popleft()
            part.close()
        return sent
