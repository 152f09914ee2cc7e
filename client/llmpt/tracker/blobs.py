"""A blob over plain HTTP, where BitTorrent cannot be had: the tracker says which seeder has it, and that one sends it.

    blobs = BlobHttp("http://server:8000", stall_timeout_s=5)
    came = blobs.fetch(etag, size, descriptor, on_progress=print)

`GET <tracker>/blobs/<etag>` is redirected to a seeder's blob server. LAN traffic, as in `tracker_wire`: proxies in the
environment are ignored and every wait has a bound. When a seeder breaks off, the tracker is asked for the next one. What
came stays in the file, for the next try or for the hook, which fetches the rest; what is whole is verified against the etag.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from llmpt.core import errand
from llmpt.core.blob import READ_BYTES, Etag, EtagHasher
from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import ContentMismatch, LlmptError, TrackerError, TrackerUnavailable
from llmpt.net.authorities import SYSTEM, Trust
from llmpt.net.http import Bounds, Connection
from llmpt.tracker.crawl import Crawl, CrawlRule
from llmpt.tracker.descriptors import beginning, write_at
from llmpt.tracker.hops import check_place, hop
from llmpt.tracker.reading import ReadToken
from llmpt.tracker.url import HttpUrl
from llmpt.tracker.wire import CONNECT_TIMEOUT_S, NETWORK_ERRORS, Wire, own_headers, reason_of

log = logging.getLogger("llmpt")

CHUNK_BYTES = 1 << 20
WORTHWHILE_BYTES = 1 << 20
BUSY = 503  # the tracker is well, and a seeder may have it
POOR_TRIES = 10  # that brought less than that
MAX_HOPS = 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class BlobTimings:
    """How long things may take, in seconds.

    answer_s: the tracker, to say where a blob is
    pause_s: before the tracker is asked again when a seeder broke off at once
    quiet: for how long a tracker that does not answer is left alone
    crawl: when a blob comes too slowly, for programs that have another way to it
    """

    answer_s: float = 2.0
    pause_s: float = 0.5
    quiet: Pauses = Pauses(first_s=0.5, longest_s=30.0)
    crawl: CrawlRule = CrawlRule()


class NotOverHttp(LlmptError):
    """The blob cannot be had this way. `there`: how many bytes came, or were there, from its start without a gap;
    0 when nothing has come."""

    def __init__(self, reason: str, there: int = 0) -> None:
        super().__init__(reason)
        self.there = there


class Broke(LlmptError):
    """This seeder does not send it now; another one may."""


class BlobHttp:
    """The blobs that the seeders of one tracker have. Safe to share among threads.

    A tracker that does not answer is left alone for a while. No byte for `stall_timeout_s`: the blob is given up.
    """

    def __init__(
        self,
        tracker: str,
        *,
        stall_timeout_s: float,
        trust: Trust = SYSTEM,
        reader: ReadToken | None = None,
        timings: BlobTimings = BlobTimings(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`trust` says what the certificates of https servers are held to: the tracker's, and those of its seeders;
        `reader` has the token for a tracker that wants one of readers: it is sent to no seeder."""
        self._base, self._trust, self._reader = Wire(tracker).url, trust, reader or ReadToken()
        self._stall_timeout_s, self._timings, self._clock = stall_timeout_s, timings, clock
        self._breaker = Breaker(timings.quiet, clock=clock)

    def locate(self, etag: Etag) -> str | None:
        """Return the URL at which a seeder has the blob now; None when none has. Raises `TrackerUnavailable`."""
        self._check_quiet()
        url, asked_at = HttpUrl.parse(f"{self._base}/blobs/{etag}"), self._clock()
        try:
            bounds = Bounds.of(self._timings.answer_s)
            with self._asked("HEAD", url, bounds) as response:
                if response.status == BUSY:
                    raise TrackerUnavailable(f"the seeder that may have {etag} is busy")
                target = self._next_hop(url, response, etag) or (url if response.status == 200 else None)
        except NETWORK_ERRORS as error:
            raise self._leave_alone(reason_of(error), asked_at) from None
        return None if target is None else target.text

    def fetch(self, etag: Etag, size: int, descriptor: int, *, on_progress: Callable[[int], None]) -> int:
        """Fill the file that is open as `descriptor` with the blob, verify it, and return how many bytes came for that.

        What the file holds from its start on is kept, if the whole then turns out right; nothing of it is cut off. What is
        verified is what was read and what came: in a file that others may write to, the caller holds the whole against the
        etag. `on_progress` is told how many bytes are there. Raises `NotOverHttp`, `ContentMismatch`, `OSError` for the
        disk's own.
        """
        start = min(beginning(descriptor), size)
        if 0 < start < size:
            self._ask(etag)  # before all that is read
        try:
            return self._fill(etag, size, descriptor, start, on_progress)
        except ContentMismatch:
            if not start:
                raise
        return self._fill(etag, size, descriptor, 0, on_progress)

    def unless_it_crawls(self, on_progress: Callable[[int], None], size: int, ordinary_bytes_s: int) -> Callable[[int], None]:
        """Return an `on_progress` that ends a `fetch` too slow for a program with another way, of that rate (0: not known)."""
        rule = self._timings.crawl
        crawl = Crawl(size, ordinary_bytes_s, rule=rule, clock=self._clock)

        def progressed(done: int) -> None:
            on_progress(done)
            if reason := crawl.look(done):
                error = NotOverHttp(reason)
                self._breaker.failed(error, cost_s=rule.window_s)  # the next file would fare no better
                raise error

        return progressed

    def _ask(self, etag: Etag) -> None:
        try:
            if self.locate(etag) is None:
                raise NotOverHttp("no seeder has it")
        except TrackerError as error:
            raise NotOverHttp(str(error)) from None

    def _fill(self, etag: Etag, size: int, descriptor: int, start: int, on_progress: Callable[[int], None]) -> int:
        hasher = EtagHasher(etag, size)
        while hasher.seen < start:
            data = os.pread(descriptor, min(READ_BYTES, start - hasher.seen), hasher.seen)
            if not data:
                raise ContentMismatch("another program has shortened the file")
            hasher.update(data)
        last_byte, poor = self._clock(), 0
        while hasher.seen < size:
            before = hasher.seen
            try:
                for data in self.stream(etag, size, before):
                    write_at(descriptor, data, hasher.seen)
                    hasher.update(data)
                    last_byte = self._clock()
                    on_progress(hasher.seen)
            except NotOverHttp as error:
                raise NotOverHttp(str(error), hasher.seen if hasher.seen > start else 0) from None
            except (Broke, TrackerError) as error:
                if isinstance(error, TrackerError) and hasher.seen == start:
                    raise NotOverHttp(str(error)) from None  # in the middle it is waited for: it may be starting anew
                poor += hasher.seen - before < WORTHWHILE_BYTES
                silent_s = self._clock() - last_byte
                if silent_s + self._timings.pause_s > self._stall_timeout_s or poor >= POOR_TRIES:
                    raise NotOverHttp(str(error), hasher.seen if hasher.seen > start else 0) from None
                log.debug("%s: %s after %d bytes; the tracker is asked again", etag, error, hasher.seen)
                if hasher.seen == before:
                    time.sleep(self._timings.pause_s)  # the tracker believes in a seeder that has just died for a moment
        if not hasher.matches():
            raise ContentMismatch(f"what came over HTTP is not the content of etag {etag}")
        return size - start

    def stream(self, etag: Etag, size: int, at: int, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes [at, stop) of the blob (None: to its end), unverified; raise `Broke` where it breaks off."""
        stop = size if stop is None else stop
        part = f"bytes={at}-{stop - 1 if stop < size else ''}" if stop - at < size else ""
        self._check_quiet()
        url, silence_s = HttpUrl.parse(f"{self._base}/blobs/{etag}"), max(self._stall_timeout_s / 2, 0.05)
        for number in range(MAX_HOPS):
            at_tracker, asked_at = number == 0, self._clock()
            bounds = Bounds.of(self._timings.answer_s if at_tracker else silence_s)
            try:
                with self._asked("GET", url, bounds, part) as response:
                    target = self._next_hop(url, response, etag)
                    if target is not None:
                        url = target
                        continue
                    _check(response, size, at, from_tracker=at_tracker)
                    at_tracker = False
                    while at < stop:
                        # For bytes of the blob: what frames them counts as silence.
                        bounds.deadline = time.monotonic() + silence_s
                        data = response.read1(CHUNK_BYTES)
                        if not data:
                            raise Broke("the connection ended too early")
                        if at + len(data) > stop:
                            raise NotOverHttp(f"more than the {stop} bytes that there are")
                        at += len(data)
                        yield data
                    return
            except NETWORK_ERRORS as error:
                if at_tracker:
                    raise self._leave_alone(reason_of(error), asked_at) from None
                raise Broke(f"{url.place}: {reason_of(error)}") from None
        raise NotOverHttp("redirected without end")

    def _next_hop(self, url: HttpUrl, response: http.client.HTTPResponse, etag: Etag) -> HttpUrl | None:
        """Return where the tracker sends us; None for an answer. A seeder sends nobody elsewhere."""
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or not location:
            return None
        tracker = HttpUrl.parse(self._base)
        if url.host != tracker.host:
            raise NotOverHttp(f"{url.place} redirects elsewhere, as no seeder does")
        found = hop(url, location, etag)
        check_place(found, tracker, wait_s=self._timings.answer_s)
        return found

    @contextmanager
    def _asked(self, method: str, url: HttpUrl, bounds: Bounds, part: str = "") -> Iterator[http.client.HTTPResponse]:
        """Make one request; that to the tracker once more with the token to read, if that is wanted."""
        is_trackers = url.text.startswith(f"{self._base}/")
        headers = self._reader.header() if is_trackers else {}
        with _request(method, url, part, bounds, self._trust, headers) as response:
            if not is_trackers or not self._reader.was_asked(response.status, bool(headers)):
                yield response
                return
        with _request(method, url, part, bounds, self._trust, self._reader.header()) as response:
            yield response

    def _check_quiet(self) -> None:
        if (left_s := self._breaker.left_s) > 0:
            raise TrackerUnavailable(f"the tracker at {self._base} did not answer; asked again in {left_s:.0f} s")

    def _leave_alone(self, reason: str, asked_at: float) -> TrackerUnavailable:
        error = TrackerUnavailable(f"no answer from the tracker at {self._base}: {reason}")
        self._breaker.failed(error, cost_s=self._clock() - asked_at)
        return error


@contextmanager
def _request(
    method: str, url: HttpUrl, part: str, bounds: Bounds, trust: Trust, more: Mapping[str, str]
) -> Iterator[http.client.HTTPResponse]:
    """Make one request, with `part` as its Range; the answer's head comes within `bounds`, and so does what is read of it."""
    connection = Connection(url.host, url.port, tls=url.tls and trust, bounds=bounds, connect_s=CONNECT_TIMEOUT_S)
    headers = {**more, **own_headers(), "Connection": "close"}
    if part:
        headers["Range"] = part
    try:
        connection.connect()
        sock = connection.sock
        with errand.ending(lambda: sock.shutdown(socket.SHUT_RDWR)):
            connection.request(method, url.target, headers=headers)
            with connection.getresponse() as response:  # it has the socket, and lets go of it only when it is closed
                yield response
    finally:
        connection.close()


def _check(response: http.client.HTTPResponse, size: int, at: int, *, from_tracker: bool) -> None:
    """Raise unless the answer's body is the blob's bytes from `at` on."""
    status = response.status
    if status == 404 and from_tracker:
        raise NotOverHttp("no seeder has it")
    if status == 401 and from_tracker:
        raise NotOverHttp("this server gives files to holders of a token that reads them")
    if status == 403:
        raise NotOverHttp("this machine may not have it (LLMPT_PEER_CIDRS of the server)")
    if status == BUSY and from_tracker:
        raise Broke("the seeder that may have it is busy")
    if status >= 500 and from_tracker:
        raise http.client.HTTPException(f"status {status}")
    if status not in (200, 206):
        raise Broke(f"status {status}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise NotOverHttp("it comes compressed")
    told = response.headers.get("Content-Length")
    if status == 206:
        part = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        begins, has = (int(part[1]), int(part[3])) if part else (-1, -1)
    else:
        begins, has = 0, int(told) if told is not None and _LENGTH.fullmatch(told) else size
    if (begins, has) != (at, size):
        raise NotOverHttp(f"asked for a blob of {size} bytes from byte {at} on, got one of {has} from {begins} on")
