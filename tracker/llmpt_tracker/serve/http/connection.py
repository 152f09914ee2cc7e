"""One client of the application: what has come of its request, and what is on its way to it."""

from __future__ import annotations

import enum
import select
import selectors
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol, cast

from llmpt.core.http_head import BadRequest
from llmpt.host.certificate import CLIENT_HELLO
from llmpt_tracker.serve.http.framing import Chunks, Frame, frame_of, head_end
from llmpt_tracker.serve.http.outbox import Outbox
from llmpt_tracker.serve.http.places import Guest

_READ_BYTES = 64 << 10
MAX_UNREAD_BYTES = 64 << 10
_CLOSED = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Stage(enum.Enum):
    """What a connection is at."""

    HANDSHAKE = "its TLS is agreed on"
    IDLE = "no byte of a request has come"
    HEAD = "a part of the head has come"
    BODY = "the head has come"
    PLACE = "it has a large body, and waits for a place to be read in"
    READY = "the request is whole, and waits for its turn"
    BUSY = "a thread has it"
    SENDING = "the answer is on its way"
    ENDING = "all is said; the client has not closed its end"
    CLOSED = "it is over"


class Rest(Protocol):
    """What follows of an answer: `go_on` writes some of it, and says whether another request may follow."""

    def go_on(self) -> bool: ...

    def close(self) -> None: ...


class Connection:
    """One client. The event loop owns it, but while it is `BUSY`: then a thread does."""

    __slots__ = (
        *("body", "buffer", "chunks", "client", "deadline", "events", "frame", "guest", "has_place", "head", "keeps", "machine"),
        *("mark", "outbox", "queued_at", "received", "rest", "server", "sock", "stage"),
    )

    def __init__(self, sock: socket.socket, client: Any, server: Any, guest: Guest, *, stage: Stage = Stage.IDLE) -> None:
        self.sock, self.client, self.server, self.guest = sock, client, server, guest
        self.machine = guest.address
        self.outbox = Outbox(sock)
        self.stage = stage
        self.events = 0  # what the poller watches for
        self.deadline = 0.0
        self.queued_at = 0.0  # when its request was whole
        self.mark = 0  # bytes that had come, or gone, when the deadline was set
        self.buffer = bytearray()  # of what comes next
        self.head = b""
        self.body: list[bytes] = []
        self.received = 0
        self.frame: Frame | None = None
        self.chunks: Chunks | None = None
        self.has_place = False  # among those whose body is large
        self.keeps = False  # for another request
        self.rest: Rest | None = None  # of an answer that comes piece by piece

    @property
    def held_bytes(self) -> int:
        """How much memory its request and its answers take."""
        return len(self.buffer) + len(self.head) + self.received + self.outbox.held_bytes

    def shake_hands(self, wrap: Callable[[socket.socket], socket.socket]) -> int:
        """Go on with the handshake of TLS, which the appliance's own programs may do without; `wrap` begins it.

        Return what has to be waited for, 0 when it is over. Raises `OSError`, and `BadRequest` for a stranger who speaks no TLS.
        """
        try:
            if not isinstance(self.sock, ssl.SSLSocket):
                first = self.sock.recv(1, socket.MSG_PEEK)
                if first != CLIENT_HELLO:
                    if first and not self.guest.is_own:
                        raise BadRequest(400, "TLS is spoken here: write https:// instead of http://")
                    return 0
                self.sock = wrap(self.sock)
                self.outbox = Outbox(self.sock)
            cast(ssl.SSLSocket, self.sock).do_handshake()
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
            return selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            return selectors.EVENT_WRITE
        return 0

    def say_end(self) -> None:
        """Tell the client that nothing follows."""
        if isinstance(self.sock, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                self.sock.unwrap()
        self.sock.shutdown(socket.SHUT_WR)

    def has_read_on(self) -> bool:
        """Throw away what came behind the last request; say whether the client has closed its end, or sent too much."""
        while (came := self.receive()) > 0:
            self.received += came
            self.buffer.clear()
            if self.received > MAX_UNREAD_BYTES:
                return True
        return came == 0

    def is_deserted(self) -> bool:
        """Say whether the client has closed its end, whatever of its bytes is unread."""
        look = select.poll()
        look.register(self.sock, _CLOSED)
        return bool(look.poll(0))

    def receive(self) -> int:
        """Take what has come into the buffer; return how much; 0: it has closed its end; -1: nothing. Raises `OSError`."""
        try:
            data = self.sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return -1
        self.buffer += data
        return len(data)

    def take_head(self, max_body_bytes: int) -> bool:
        """Take a whole head out of the buffer, if there is one. Raises `BadRequest`."""
        while self.buffer[:2] == b"\r\n":  # what clients of old send behind a body
            del self.buffer[:2]
        end = head_end(self.buffer)
        if end < 0:
            return False
        self.head = bytes(self.buffer[:end])
        del self.buffer[:end]
        self.frame = frame_of(self.head, max_body_bytes)
        self.chunks = Chunks(max_body_bytes) if self.frame.size is None else None
        return True

    def take_body(self) -> bool:
        """Take what the buffer has of the body; return whether that is all of it. Raises `BadRequest`."""
        if self.chunks is not None:
            end = self.chunks.feed(bytes(self.buffer)) if self.buffer else -1
            self._take(len(self.buffer) if end < 0 else end)
            return end >= 0
        size = (self.frame and self.frame.size) or 0
        self._take(min(size - self.received, len(self.buffer)))
        return self.received == size

    def _take(self, count: int) -> None:
        if count:
            self.body.append(bytes(self.buffer[:count]))
            self.received += count
            del self.buffer[:count]

    def request(self) -> Iterator[bytes]:
        """Yield the request as it came."""
        head, body = self.head, self.body
        yield head
        yield from body

    def forget_request(self) -> None:
        """Make room for the next one."""
        self.head, self.body, self.received, self.frame, self.chunks = b"", [], 0, None, None

    def close(self) -> None:
        """End it; what was not sent is lost."""
        self.stage = Stage.CLOSED
        self.outbox.close()
        if self.rest is not None:
            self.rest.close()
            self.rest = None
        self.forget_request()
        self.buffer.clear()
        self.sock.close()
