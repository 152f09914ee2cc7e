"""The TCP front end: HTTP connections on every address we listen on, with time-outs and limits (asyncio, no other thread)."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence

from llmpt.core.errors import SettingError
from llmpt_tracker.announcer.http import MAX_HEAD_BYTES, BadRequest, parse_head, respond
from llmpt_tracker.announcer.tracker import Tracker
from llmpt_tracker.announcer.visibility import Asker

REQUEST_S = 10.0  # from the first byte of a request to its end, and for reading our answer
IDLE_S = 60.0  # between two requests on a connection
MAX_CONNECTIONS = 16_384
BACKLOG = 1024
_PORT_TRIES = 20


class Connection(asyncio.Protocol):
    """One client: requests are answered in order, also when several arrive at once."""

    __slots__ = ("_asker", "_buffer", "_front", "_is_paused", "_tracker", "_transport", "deadline_s")

    def __init__(self, front: FrontEnd, tracker: Tracker) -> None:
        self._front, self._tracker = front, tracker
        self._buffer = b""
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's promise for TCP
        self._transport = transport
        self.deadline_s = self._front.now() + REQUEST_S
        peer = transport.get_extra_info("peername")
        if peer is None or not self._front.admit(self):  # gone already, or one too many
            transport.abort()
            return
        self._asker: Asker = self._tracker.asker(peer[0])

    def connection_lost(self, _error: Exception | None) -> None:
        self._front.dismiss(self)

    def pause_writing(self) -> None:
        self._is_paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._advance(was_idle=True)

    def data_received(self, data: bytes) -> None:
        was_idle = not self._buffer
        self._buffer = data if was_idle else self._buffer + data
        self._advance(was_idle=was_idle)

    def _advance(self, *, was_idle: bool) -> None:
        """Answer every whole request in the buffer, as long as the client reads our answers."""
        buffer, start = self._buffer, 0
        while not self._is_paused:
            end = buffer.find(b"\r\n\r\n", start)
            if end < 0 and len(buffer) - start <= MAX_HEAD_BYTES:
                break
            if end < 0 or end - start > MAX_HEAD_BYTES:
                self._refuse(BadRequest(431, "the head of the request is too long"))
                return
            try:
                head = parse_head(buffer[start:end])
                body = self._tracker.answer(head, self._asker)
            except BadRequest as error:
                self._refuse(error)
                return
            start = end + 4
            if not head.keep_alive:
                self._transport.write(respond(200, body, keep_alive=False))
                self._close()
                return
            self._transport.write(respond(200, body, keep_alive=True))
        if start:
            self._buffer = buffer = buffer[start:]
        if start or was_idle:
            self.deadline_s = self._front.now() + (REQUEST_S if buffer or self._is_paused else IDLE_S)

    def _refuse(self, error: BadRequest) -> None:
        self._transport.write(respond(error.status, f"{error}\n".encode(), keep_alive=False))
        self._close()

    def _close(self) -> None:
        self._buffer = b""
        self.deadline_s = self._front.now() + REQUEST_S
        self._transport.close()

    def abort(self) -> None:
        """End the connection without another word."""
        self._transport.abort()


class FrontEnd:
    """The listening sockets and the connections. Nothing listens before `open`."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self.port: int | None = None

    async def open(self, addresses: Sequence[str], port: int) -> int:
        """Listen on every address; return the port, which is one free on all of them when `port` is 0.

        Does nothing when it listens already. Raises `SettingError` naming the address that cannot be had.
        """
        if self.port is None:
            sockets = listen_on(addresses, port)
            self._servers = [await self._loop.create_server(self._connection, sock=sock, backlog=BACKLOG) for sock in sockets]
            self.port = sockets[0].getsockname()[1]
        return self.port

    async def close(self) -> None:
        """Stop listening and end every connection."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.abort()
        for server in self._servers:
            await server.wait_closed()

    def reap(self) -> None:
        """End the connections whose client is too slow. Call it every second."""
        now = self.now()
        for connection in [connection for connection in self._connections if connection.deadline_s < now]:
            connection.abort()

    def admit(self, connection: Connection) -> bool:
        """Count a new connection in; False when there are too many."""
        if len(self._connections) >= MAX_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def dismiss(self, connection: Connection) -> None:
        """Count a connection out."""
        self._connections.discard(connection)

    def _connection(self) -> Connection:
        return Connection(self, self._tracker)


def listen_on(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """Bind every address to the same port (0: one that is free on all). A host without IPv6 does without `::`.

    Raises `SettingError`.
    """
    for tries_left in reversed(range(_PORT_TRIES)):
        bound: list[socket.socket] = []
        try:
            for address in addresses:
                if (sock := _bind(address, bound[0].getsockname()[1] if bound else port)) is not None:
                    bound.append(sock)
            if bound:
                return bound
            raise SettingError(f"LLMPT_BIND: this host has none of {', '.join(addresses)}")
        except OSError as error:
            for sock in bound:
                sock.close()
            if port == 0 and error.errno == errno.EADDRINUSE and tries_left:
                continue  # free for one family and taken for the other
            raise SettingError(
                f"cannot listen on {address} port {port}: {error.strerror} (LLMPT_BIND, LLMPT_ANNOUNCE_PORT)"
            ) from None
    raise AssertionError("unreachable")


def _bind(address: str, port: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if address == "::" and error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        if address == "::" and error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return sock
