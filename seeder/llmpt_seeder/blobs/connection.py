"""One client: its requests, answered in order, by one thread that does nothing else.

Bytes are sent by sendfile(2) on a blocking socket, many megabytes in one call: the kernel moves them while the interpreter
does something else, and a disk or a client that is slow holds up nothing but itself. With TLS the thread encrypts them.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from llmpt.core import browsers, request_id
from llmpt.core.blob import Etag
from llmpt.core.browsers import Caller, HostNames, Origins
from llmpt.core.errors import InvalidName
from llmpt.core.http_head import MAX_HEAD_BYTES, BadRequest, Head, parse_head
from llmpt.core.signed_address import etag_of
from llmpt.host.certificate import Certificate
from llmpt.host.logs import RequestLines
from llmpt.host.pacing import Paced
from llmpt_seeder.blobs.answers import Answer, blob_answer, busy, is_swarms_peer, refusal, shown
from llmpt_seeder.blobs.channel import Channel
from llmpt_seeder.blobs.pace import Pace
from llmpt_seeder.blobs.places import Places
from llmpt_seeder.blobs.sources import BlobSource, FileState, OpenBlob
from llmpt_seeder.errors import Cut, InDoubt

log = logging.getLogger("llmpt.seeder")
_cut_off = Paced(log.info)
_served = RequestLines(log.info)

METHODS = (b"GET", b"HEAD", b"POST")
WITHHELD_BYTES = 64 << 10  # of a blob that grows: no client has the whole before it is known to be right
LOOK_AGAIN_MS = 50
_BLOBS, _KNOCK = b"/blobs/", b"/knock"
_GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


@dataclass(frozen=True, slots=True)
class BlobLimits:
    """How long a client may take, in seconds, and how many there may be.

    head_s: for the head of a request, and for the handshake of TLS
    idle_s: between two requests
    stall_s: without taking a byte
    growth_s: it is kept waiting for so long for a blob that does not grow
    place_s: for a place, when all are taken
    connections: so many get bytes at once; an idle one more than that gives way
    guests: so many more may come, wait for a place, and be told whether a blob is here
    own: so many more of the appliance's own may come: its tracker, which asks what is here
    per_address, per_neighbourhood: so many connections of one address or IPv6 /64; its oldest gives way to one more
    """

    head_s: float = 10.0
    idle_s: float = 30.0
    stall_s: float = 60.0
    growth_s: float = 120.0
    place_s: float = 3.0
    connections: int = 1024
    guests: int = 256
    own: int = 64
    per_address: int = 256
    per_neighbourhood: int = 512


@dataclass(frozen=True, slots=True)
class Counter:
    """What all clients are served from.

    sources: what has blobs, asked in this order
    names: of this server, beside those that no stranger can own
    pace: how fast they are sent
    limits: what a client may do
    places: a client holds one while it gets bytes
    on_knock: called when a client knocks
    on_sent: called with the number of bytes that were sent, and whether to a peer of a swarm
    on_get: called with a blob that a client gets, and the client's address
    certificate: with which TLS is spoken, and nothing else; None: no TLS
    may_get: says whether the blob at a path may be had, or (True) be asked for by HEAD
    origins: pages of these may read it
    """

    sources: Sequence[BlobSource]
    names: HostNames
    pace: Pace
    limits: BlobLimits
    places: Places
    on_knock: Callable[[], None]
    on_sent: Callable[[int, bool], None]
    on_get: Callable[[Etag, str], None] = lambda _etag, _address: None
    certificate: Certificate | None = None
    may_get: Callable[[str, bool], bool] = lambda _path, _looks: True
    origins: Origins = Origins()


class Connection:
    """Answers one client, who comes from `address`. `turned_away` is said to its first request instead of an answer.

    `has_own_place`: it has one of those that are kept for the appliance's own.
    """

    def __init__(
        self,
        sock: socket.socket,
        counter: Counter,
        *,
        turned_away: Answer | None = None,
        address: str = "",
        has_own_place: bool = False,
    ) -> None:
        self._address, self.has_own_place = address, has_own_place
        self._channel = Channel(sock, stall_s=counter.limits.stall_s)
        self._counter, self._limits, self._turned_away = counter, counter.limits, turned_away
        self._buffer = b""
        self.idle_since: float | None = None

    def serve(self) -> None:
        """Answer requests until the client or a limit ends it."""
        try:
            self._channel.prepare()
            if self._counter.certificate is None or self._shake_hands(self._counter.certificate):
                while self._serve_one():
                    pass
        except Cut as reason:
            _cut_off("a blob was cut off in the middle: %s", reason)
            self._channel.reset()
        except OSError:
            pass  # it has gone, or takes nothing
        finally:
            self._channel.close()

    def hang_up(self) -> None:
        """End the connection, from another thread."""
        self.idle_since = None
        self._channel.hang_up()

    def _shake_hands(self, certificate: Certificate) -> bool:
        """Agree on TLS; return whether requests may follow."""
        self.idle_since = time.monotonic()
        try:
            if not self._channel.await_hello(self._limits.idle_s):
                return False
        except BadRequest as error:
            return self._end(refusal(error.status, "bad_request", str(error)))
        finally:
            self.idle_since = None
        self._channel.secure(certificate, within_s=self._limits.head_s)
        return True

    def _serve_one(self) -> bool:
        """Answer one request; return whether another may follow."""
        try:
            data = self._read_head()
            if data is None:
                return False
            head = parse_head(data, METHODS)
        except BadRequest as error:
            return self._end(refusal(error.status, "bad_request", str(error)))
        with request_id.carried(request_id.parse(head.field(b"x-request-id").decode("latin-1"))):
            return self._serve_head(head)

    def _serve_head(self, head: Head) -> bool:
        if self._turned_away is not None:
            return self._end(self._turned_away, is_head=head.method == b"HEAD")
        blob = None
        try:
            answer, blob = self._answer(head)
            _served("%s %s for %s: %d", head.method.decode(), shown(head), self._address, answer.status)
            if head.method == b"HEAD":
                self._channel.send(answer.head(keep_alive=head.keep_alive))
            elif blob is None or not answer.span:
                self._channel.send(answer.head(keep_alive=head.keep_alive) + answer.body)
            else:
                with self._counter.places.one(self._limits.place_s) as has_place:
                    if not has_place:
                        return self._end(busy(f"{self._limits.connections} clients are served already"))
                    self._channel.send(answer.head(keep_alive=head.keep_alive), more=True)
                    self._send(blob, answer.span, is_peer=is_swarms_peer(head))
        finally:
            if blob is not None:
                blob.close()
        return head.keep_alive

    def _answer(self, head: Head) -> tuple[Answer, OpenBlob | None]:
        caller = _caller(head)
        knocks = head.path == _KNOCK  # which has an effect; a file may be linked to, as our page on the tracker's port does
        page = caller.origin if not knocks and self._counter.origins.admit_sent(caller.origin) else ""
        caller = caller.as_program if page else caller
        why = browsers.refusal(caller, self._counter.names, is_link=not knocks)
        if why is None and knocks:
            why = browsers.effect_refusal(caller)
        if why is not None:
            return refusal(why.status, "page_refused", why.message), None
        if knocks:
            if head.method != b"POST":
                return refusal(405, "method_not_allowed", "POST knocks here", "Allow: POST"), None
            self._counter.on_knock()
            return Answer(HTTPStatus.NO_CONTENT), None
        if not head.path.startswith(_BLOBS):
            return refusal(404, "not_found", "here are /blobs/<etag> and nothing else"), None
        if head.method == b"POST":
            return refusal(405, "method_not_allowed", "GET and HEAD are answered here", "Allow: GET, HEAD"), None
        try:
            path = head.path.decode("latin-1")
            etag = Etag(etag_of(path) or path[len(_BLOBS) :])
        except InvalidName as error:
            return refusal(404, "not_found", str(error)), None
        if not self._counter.may_get(path, head.method == b"HEAD"):
            return refusal(401, "signature", "reading takes a token here: ask the tracker for /blobs/<etag> with one"), None
        unsure = None
        for source in self._counter.sources:
            try:
                blob = source.open(etag)
            except InDoubt as error:
                unsure = error
                continue
            if blob is not None:
                if head.method == b"GET":
                    self._counter.on_get(etag, self._address)
                return blob_answer(head, etag, blob.size, page=page), blob
        if unsure is not None:
            return busy(str(unsure)), None
        return refusal(404, "not_found", f"no file that is shared here has the etag {etag}"), None

    def _read_head(self) -> bytes | None:
        """Return the head of the next request, None when the client has ended. Raises `BadRequest`."""
        deadline = None
        self.idle_since = time.monotonic()
        while True:
            self._buffer = self._buffer.lstrip(b"\r\n")  # what clients of old send behind a body
            end = self._buffer.find(b"\r\n\r\n")
            if (len(self._buffer) if end < 0 else end) > MAX_HEAD_BYTES:
                raise BadRequest(431, "the head of the request is too long")
            if end >= 0:
                self.idle_since = None
                data, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
                return data
            if self._buffer and deadline is None:
                deadline = time.monotonic() + self._limits.head_s
                self.idle_since = None
            left = self._limits.idle_s if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return None
            received = self._channel.receive(MAX_HEAD_BYTES, within_s=left)
            if not received:
                return None
            self._buffer += received

    def _end(self, answer: Answer, *, is_head: bool = False) -> bool:
        """Answer for the last time, and let the client read it: closing with its bytes unread would reset the connection."""
        self._channel.send(answer.head(keep_alive=False) + (b"" if is_head else answer.body))
        self._channel.say_end()
        deadline = time.monotonic() + self._limits.head_s
        while time.monotonic() < deadline and self._channel.receive(MAX_HEAD_BYTES, within_s=1.0):
            pass
        return False

    def _send(self, blob: OpenBlob, span: range, *, is_peer: bool) -> None:
        """Send those bytes of a blob as they become available."""
        at, grew_at, on_sent = span.start, time.monotonic(), self._counter.on_sent
        while at < span.stop:
            ready = _sendable(blob, span.stop)
            if ready > at:
                count = self._counter.pace.take(ready - at)
                at += self._channel.send_file(blob.fileno(), at, count, lambda sent: on_sent(sent, is_peer))
                grew_at = time.monotonic()
            elif time.monotonic() - grew_at > self._limits.growth_s:
                raise Cut(f"no new bytes for {self._limits.growth_s:.0f} s")
            else:
                self._wait_for_growth()

    def _wait_for_growth(self) -> None:
        if self._channel.poll(_GONE, LOOK_AGAIN_MS):
            raise Cut("its client has gone")


def _caller(head: Head) -> Caller:
    names = (b"host", b"origin", b"referer", b"sec-fetch-site", b"user-agent")
    return Caller(*(head.field(name).decode("latin-1") for name in names))


def _sendable(blob: OpenBlob, stop: int) -> int:
    """Return up to where the blob may be sent now. Raises `Cut` when it failed."""
    available = blob.available()  # before the state: what is whole now was that much then
    state = blob.state
    if state is FileState.FAILED:
        raise Cut("its file is not what it was")
    return min(stop, available if state is FileState.WHOLE else max(0, min(available, blob.size - WITHHELD_BYTES)))
