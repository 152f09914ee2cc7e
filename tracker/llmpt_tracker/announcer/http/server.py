"""The TCP front end: HTTP connections with time-outs and limits, in the event loop's one thread.

BitTorrent clients make a new connection for each announce. asyncio's transports cost three times as much as the announce
itself then (a task, a future and a 256 KiB buffer each), so that connections are served here from the loop's readers and
writers: what has arrived when a connection is accepted is answered at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence

from llmpt.core.http_head import MAX_HEAD_BYTES, BadRequest, parse_head
from llmpt.host.listening import listen_on
from llmpt.host.visitors import VisitorLimits, Visitors
from llmpt_tracker.announcer.http.answers import respond
from llmpt_tracker.announcer.peers.visibility import Asker
from llmpt_tracker.announcer.tracker import Tracker

REQUEST_S = 10.0  # from the first byte of a request to its end, and for reading our answer
IDLE_S = 60.0  # between two requests on a connection
INBOX_BYTES = 16 << 10
_ACCEPTING_S = 0.002  # in which connections are taken and answered, until others have their turn: the application asks, too
_REFUSED = bytes(4)  # all addresses that are only told that they are refused share the places of one
_ANSWERED_AT_ONCE = 8  # of the requests that one client has sent in advance: then it is another one's turn

log = logging.getLogger(__name__)


class AnnounceConnection:
    """One client: requests are answered in order, also when several arrive at once, as long as it reads the answers."""

    __slots__ = ("_asker", "_buffer", "_fd", "_front", "_has_more", "_is_ending", "_is_watched", "_outbox", "_sock", "deadline_s")

    def __init__(self, front: FrontEnd, sock: socket.socket, asker: Asker) -> None:
        self._front, self._sock, self._fd = front, sock, sock.fileno()
        self._asker = asker
        self._buffer = self._outbox = b""
        self._is_watched = self._is_ending = self._has_more = False
        self.deadline_s = front.now() + REQUEST_S

    def watch(self) -> None:
        """Wait for what comes next, unless the connection has ended."""
        if not self._is_watched and self._fd >= 0 and not self._outbox and not self._has_more:
            self._is_watched = True
            self._front.loop.add_reader(self._fd, self.read)

    def close(self) -> None:
        """End the connection; what was not sent is lost. Closing again does nothing."""
        if self._fd < 0:
            return
        self._unwatch()
        if self._outbox:
            self._front.loop.remove_writer(self._fd)
        self._fd, self._buffer, self._outbox = -1, b"", b""
        self._sock.close()
        self._front.dismiss(self)

    def read(self) -> None:
        """Take what has arrived and answer it."""
        inbox = self._front.inbox
        try:
            count = self._sock.recv_into(inbox)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        if not count:
            self.close()
        elif not self._is_ending:  # else: what follows a request that we refused is thrown away
            was_idle = not self._buffer
            self._buffer += inbox[:count]
            self._advance(was_idle=was_idle)

    def _go_on(self) -> None:
        """Answer more of what has been sent in advance, now that the others have had their turn."""
        self._has_more = False
        if self._fd >= 0 and not self._outbox and not self._is_ending:
            self._advance(was_idle=False)
        self.watch()

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._front.loop.remove_reader(self._fd)

    def _advance(self, *, was_idle: bool) -> None:
        """Answer the whole requests in the buffer, as many as are one client's turn."""
        buffer, start, ends = self._buffer, 0, False
        answers: list[bytes] = []
        refusal: BadRequest | None = None
        try:
            while not ends and len(answers) < _ANSWERED_AT_ONCE:
                end = buffer.find(b"\r\n\r\n", start)
                if (len(buffer) if end < 0 else end) - start > MAX_HEAD_BYTES:
                    raise BadRequest(431, "the head of the request is too long")
                if end < 0:
                    break
                head = parse_head(buffer[start:end])
                ends = not head.keep_alive
                answers.append(respond(200, self._front.tracker.answer(head, self._asker), keep_alive=not ends))
                start = end + 4
        except BadRequest as error:
            refusal = error
        except Exception:
            log.exception("a bug of llmpt in answering %s", self._asker.address)
            refusal = BadRequest(500, "something went wrong in the announcer")
        if refusal is not None:
            answers.append(respond(refusal.status, f"{refusal}\n".encode(), keep_alive=False))
        self._buffer = buffer[start:] if start else buffer
        if start:
            self._front.visitors.got_on(self)
        if start or was_idle:
            self.deadline_s = self._front.now() + (REQUEST_S if self._buffer else IDLE_S)
        if answers:
            self._send(b"".join(answers))
        if ends and not self._outbox:
            self.close()
        elif ends or refusal:
            self._end()
        elif len(answers) == _ANSWERED_AT_ONCE and self._buffer and self._fd >= 0:
            self._has_more = True
            self._unwatch()
            if not self._outbox:
                self._front.loop.call_soon(self._go_on)

    def _end(self) -> None:
        """Close when the client has: closing with its bytes unread would reset the connection, and lose our answer."""
        self._is_ending, self._buffer = True, b""
        self.deadline_s = self._front.now() + REQUEST_S
        self._finish()

    def _finish(self) -> None:
        if self._fd >= 0 and not self._outbox:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.close()

    def _send(self, data: bytes) -> None:
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._outbox = data[sent:]
            self.deadline_s = self._front.now() + REQUEST_S
            self._unwatch()
            self._front.loop.add_writer(self._fd, self._write)

    def _write(self) -> None:
        """Send what the client had no room for; it is read from again when all is sent."""
        try:
            sent = self._sock.send(self._outbox)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        self._outbox = self._outbox[sent:]
        if not self._outbox:
            self._front.loop.remove_writer(self._fd)
            if self._is_ending:
                self._finish()
            if self._has_more:
                self._go_on()
            self.watch()


class FrontEnd:
    """The listening sockets and the connections. Nothing listens before `open`. Build it inside a running event loop."""

    def __init__(self, tracker: Tracker, limits: VisitorLimits = VisitorLimits()) -> None:
        self.tracker = tracker
        self.visitors: Visitors[AnnounceConnection] = Visitors(limits)
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.inbox = memoryview(bytearray(INBOX_BYTES))  # emptied by a connection as soon as it was filled for it
        self.port: int | None = None
        self._listening: list[socket.socket] = []
        self._is_full = False
        self._connections: set[AnnounceConnection] = set()

    def open(self, addresses: Sequence[str], port: int) -> int:
        """Listen on every address; return the port, which is one free on all of them when `port` is 0.

        Does nothing when it listens already. Raises `SettingError` naming the address that cannot be had.
        """
        if self.port is None:
            self._listening = listen_on(addresses, port, setting="LLMPT_ANNOUNCE_PORT")
            self.port = int(self._listening[0].getsockname()[1])
            self._resume()
        return self.port

    def close(self) -> None:
        """Stop listening and end every connection."""
        for sock in self._listening:
            self.loop.remove_reader(sock)
            sock.close()
        self._listening = []
        for connection in list(self._connections):
            connection.close()

    def reap(self) -> None:
        """End the connections whose client is too slow. Call it every second."""
        now = self.now()
        for connection in [connection for connection in self._connections if connection.deadline_s < now]:
            connection.close()
        if self._is_full:
            self._resume()

    def dismiss(self, connection: AnnounceConnection) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(connection)
        self.visitors.leave(connection)

    def _accept(self, listening: socket.socket) -> None:
        until = self.now() + _ACCEPTING_S
        while self.now() < until:
            try:
                sock, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors left: the loop would spin on a connection that it cannot take
                self._pause(str(error))
                return
            self._begin(sock, peer[0])

    def _begin(self, sock: socket.socket, address: str) -> None:
        try:
            sock.setblocking(False)
            asker = self.tracker.asker(address)
            connection = AnnounceConnection(self, sock, asker)
            crowd = asker.packed if asker.is_allowed or asker.is_near else _REFUSED
            going = self.visitors.enter(connection, crowd, is_own=asker.is_near, is_many=asker.is_gateway)
        except Exception:
            log.exception("a bug of llmpt in accepting %s", address)
            sock.close()
            return
        for other in going:
            other.close()
        self._connections.add(connection)
        connection.read()
        connection.watch()

    def _pause(self, reason: str) -> None:
        log.warning("no new connections for a second: %s", reason)
        self._is_full = True
        for sock in self._listening:
            self.loop.remove_reader(sock)

    def _resume(self) -> None:
        self._is_full = False
        for sock in self._listening:
            self.loop.add_reader(sock, self._accept, sock)
