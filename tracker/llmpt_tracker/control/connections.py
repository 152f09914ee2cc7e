"""Connections to a control socket that are kept, and shared by threads: a line out, a line back, each in bounded time.

One that turns out to be dead is replaced once: every request can be repeated without harm.
"""

from __future__ import annotations

import socket
from collections import deque
from pathlib import Path

KEPT_CONNECTIONS = 16


class ControlConnections:
    """The connections to one socket; at most `KEPT_CONNECTIONS` of them wait for the next line."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        self.path, self.timeout_s = path, timeout_s
        self._idle: deque[_ControlConnection] = deque(maxlen=KEPT_CONNECTIONS)

    def exchange(self, line: bytes) -> bytes:
        """Send a line and return the one that answers it. Raises `OSError` or `EOFError`."""
        try:
            kept = self._idle.pop()
        except IndexError:
            kept = None
        if kept is not None:
            try:
                return self._use(kept, line)
            except TimeoutError:
                raise  # alive but too slow: asking again would only take as long
            except (OSError, EOFError):
                pass  # it was closed behind our back; a new connection decides
        return self._use(_ControlConnection(self.path, self.timeout_s), line)

    def close(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            self._idle.pop().close()

    def _use(self, connection: _ControlConnection, line: bytes) -> bytes:
        try:
            reply = connection.exchange(line)
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < KEPT_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()
        return reply


class _ControlConnection:
    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(str(path))
        except BaseException:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")

    def exchange(self, line: bytes) -> bytes:
        self._socket.sendall(line)
        reply = self._lines.readline()
        if not reply.endswith(b"\n"):
            raise EOFError("closed in the middle of an answer")
        return reply

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
