"""HTTP by `http.client`, with one deadline for all of it: a peer that trickles its answer's head gains nothing by that.

    bounds = Bounds.of(2.0)
    connection = Connection("server", 8000, tls=False, bounds=bounds, connect_s=1.0)
    try:
        connection.connect()
        connection.request("GET", "/healthz")
        body = connection.getresponse().read()
    finally:
        connection.close()

Proxies of the environment do not count, and redirects are not followed.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any

from llmpt.net.authorities import SYSTEM, Trust
from llmpt.net.connecting import connect
from llmpt.net.names import NAMES, Names

BUFFER_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Extension:
    """What an answer is given that has not begun, for as long as the other end lives.

    doubt_at: when that is found out (monotonic seconds)
    deadline: the last of all, however long it lives
    lives: finds it out, within the seconds that it is given
    doubts_s: so long after it was found out comes the next doubt, twice as long each time, up to `longest_s`; an end that
        lived is waited for for twice that, whatever is found out later: where too much is to be done, `lives` may be late
    """

    doubt_at: float
    deadline: float
    lives: Callable[[float], bool]
    doubts_s: float = 1.0
    longest_s: float = 5.0

    def after(self, now: float) -> tuple[float, Extension]:
        """Return until when an end that lives now is waited for, and what there is beyond that."""
        pause_s = min(2 * self.doubts_s, self.longest_s)
        until = min(now + 2 * self.longest_s, self.deadline)
        return until, replace(self, doubt_at=min(now + pause_s, until), doubts_s=pause_s)


@dataclass(slots=True)
class Bounds:
    """How long one exchange may take. It may be changed while that goes on.

    deadline: of all of it (monotonic seconds)
    extension: what an answer may be given, until its first byte is there; None: nothing
    """

    deadline: float
    extension: Extension | None = None

    @classmethod
    def of(cls, whole_s: float) -> Bounds:
        """All of it within `whole_s` seconds from now."""
        return cls(time.monotonic() + whole_s)

    @property
    def left_s(self) -> float:
        """How long the next wait may be. Raises `TimeoutError` when nothing is left."""
        until = self.deadline if self.extension is None else min(self.deadline, self.extension.doubt_at)
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took too long")
        return left_s

    def extend(self) -> bool:
        """Time is up: find out whether the other end lives. False when that makes no difference."""
        extension, self.extension = self.extension, None
        if extension is None or time.monotonic() >= extension.deadline:
            return False
        left_s = self.deadline - time.monotonic()
        if extension.lives(max(left_s, extension.doubts_s)):  # it is we that were late, if nothing is left
            self.deadline, self.extension = extension.after(time.monotonic())
        return True


class BoundedSocket:
    """A connected socket that waits within `bounds`: as much of one as `http.client` needs."""

    def __init__(self, sock: socket.socket, bounds: Bounds) -> None:
        self._sock, self._bounds = sock, bounds

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._wait_no_longer()
            rest = rest[self._sock.send(rest[:BUFFER_BYTES]) :]

    def makefile(self, mode: str, buffering: int | None = None) -> IO[bytes]:
        """Return what the answer is read from; the socket stays open until that is closed, too."""
        return io.BufferedReader(_BoundedReader(self._sock.makefile(mode, buffering=0), self), BUFFER_BYTES)  # type: ignore[call-overload]

    def peer_address(self) -> str:
        """Return the address at the other end."""
        return str(self._sock.getpeername()[0])

    def close(self) -> None:
        self._sock.close()

    def _wait_no_longer(self) -> None:
        left_s = self._bounds.left_s
        if self._sock.fileno() >= 0:  # a response has the socket still when the connection has let go of it
            self._sock.settimeout(left_s)


class _BoundedReader(io.RawIOBase):
    def __init__(self, raw: Any, sock: BoundedSocket) -> None:
        self._raw, self._of = raw, sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        while True:
            try:
                self._of._wait_no_longer()
                count: int | None = self._raw.readinto(buffer)
            except TimeoutError:
                if not self._of._bounds.extend():
                    raise
                tired, self._raw = self._raw, self._of._sock.makefile("rb", buffering=0)  # it reads no more, once timed out
                tired.close()
            else:
                self._of._bounds.extension = None
                return count

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()


class Connection(http.client.HTTPConnection):
    """One connection to `host`, each of whose addresses has `connect_s` seconds of `bounds` to answer."""

    sock: Any

    def __init__(
        self, host: str, port: int, *, tls: bool | Trust, bounds: Bounds, connect_s: float, names: Names = NAMES
    ) -> None:
        """`tls`: False for none, else what the certificate is held to (True: to the system's authorities)."""
        if tls:
            self.default_port = http.client.HTTPS_PORT
        super().__init__(host, port)
        self._tls, self._bounds, self._connect_s, self._names = tls, bounds, connect_s, names

    def connect(self) -> None:
        """Connect, by TLS if it is to be. Raises `OSError`."""
        sock = connect(self.host, self.port, wait_s=self._bounds.left_s, connect_s=self._connect_s, names=self._names)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                sock.settimeout(self._bounds.left_s)
                sock = (self._tls if isinstance(self._tls, Trust) else SYSTEM).wrapped(sock, self.host)
        except BaseException:
            sock.close()
            raise
        self.sock = BoundedSocket(sock, self._bounds)

    @property
    def address(self) -> str:
        """The address at which the host was reached."""
        return str(self.sock.peer_address())
