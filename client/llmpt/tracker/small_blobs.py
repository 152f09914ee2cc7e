"""A small blob over plain HTTP, whole and verified, from memory to memory: for the many files that have no swarm.

    blobs = SmallBlobs("http://server:8000")
    content = blobs.read(etag, size)

The tracker redirects to a seeder that has it, as in `llmpt.tracker.blobs`. That seeder is asked for the next one, before the
tracker is asked again; the connections to both are kept.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import replace

from llmpt.core.blob import Etag, EtagHasher
from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import InvalidInput
from llmpt.net.authorities import SYSTEM, Trust
from llmpt.net.kept import KeptConnections, ServerPlace
from llmpt.tracker.blobs import NotOverHttp
from llmpt.tracker.hops import check_place, hop
from llmpt.tracker.reading import ReadToken
from llmpt.tracker.url import HttpUrl
from llmpt.tracker.wire import NETWORK_ERRORS, Wire, own_headers, reason_of

LARGEST_BYTES = 8 << 20  # it is held in memory
ANSWER_S = 2.0
QUIET = Pauses(first_s=0.5, longest_s=30.0)
_MOVED = frozenset({301, 302, 303, 307, 308})
_MAX_HOPS = 4
_WORDS = 64 << 10  # of a redirect or a refusal


class SmallBlobs:
    """The small blobs that the seeders of one tracker have. Safe to share among threads.

    What does not answer is left alone for a while, so that a snapshot of many files waits once.
    """

    def __init__(
        self,
        tracker: str,
        *,
        trust: Trust = SYSTEM,
        reader: ReadToken | None = None,
        answer_s: float = ANSWER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`trust` says what certificates are held to; `reader` has the token to read with, which goes to no seeder."""
        self._tracker, self._reader = HttpUrl.parse(Wire(tracker).url), reader or ReadToken()
        self._kept, self._answer_s, self._clock = KeptConnections(trust), answer_s, clock
        self._breaker = Breaker(QUIET, clock=clock)
        self._checked: frozenset[ServerPlace] = frozenset()  # where the tracker may send us
        self._seeder: HttpUrl | None = None  # the one that gave the last

    def read(self, etag: Etag, size: int) -> bytes:
        """Return the content of a blob of `size` bytes. Raises `NotOverHttp`: it is to be had elsewhere."""
        if size > LARGEST_BYTES:
            raise NotOverHttp(f"it has more than {LARGEST_BYTES} bytes")
        if not self._breaker.allows():
            raise NotOverHttp("the LAN did not answer a moment ago")
        asked_at = self._clock()
        try:
            content = self._read(etag, size)
        except InvalidInput as error:
            raise NotOverHttp(str(error)) from None
        except NETWORK_ERRORS as error:
            self._seeder = None
            gone = NotOverHttp(reason_of(error))
            self._breaker.failed(gone, cost_s=self._clock() - asked_at)
            raise gone from None
        hasher = EtagHasher(etag, size)
        hasher.update(content)
        if not hasher.matches():
            raise NotOverHttp(f"what came is not the content of etag {etag}")
        self._breaker.succeeded()
        return content

    def _read(self, etag: Etag, size: int) -> bytes:
        seeder = self._seeder
        is_guess, url = seeder is not None, _of(seeder or self._tracker, etag)
        for _ in range(_MAX_HOPS):
            is_trackers = url.text.startswith(f"{self._tracker.text}/")
            sent = self._reader.header() if is_trackers else {}
            headers = {**sent, **own_headers()}
            place = ServerPlace(url.host, url.port, url.tls)
            with self._kept.asked("GET", place, url.target, headers, whole_s=self._answer_s) as response:
                most = size if response.status == http.client.OK else _WORDS
                content = response.read(most)
                if response.read(1):  # nothing, as a rule, and then the connection can be kept
                    raise NotOverHttp(f"{url.place} sends more than {most} bytes")
            if response.status in _MOVED and (location := response.headers.get("Location")):
                if not is_trackers:
                    raise NotOverHttp(f"{url.place} redirects elsewhere, as no seeder does")
                url = self._next(url, location, etag)
            elif response.status == http.client.OK:
                if not is_guess:
                    self._seeder = None if is_trackers else _seeder_of(url, etag)
                return content
            elif is_guess:
                is_guess, url, self._seeder = False, _of(self._tracker, etag), None
            elif not (is_trackers and self._reader.was_asked(response.status, bool(sent))):
                raise NotOverHttp(f"{url.place} answered with status {response.status}")
        raise NotOverHttp("redirected without end")

    def _next(self, url: HttpUrl, location: str, etag: Etag) -> HttpUrl:
        found = hop(url, location, etag)
        place = ServerPlace(found.host, found.port, found.tls)
        if place not in self._checked:
            check_place(found, self._tracker, wait_s=self._answer_s)
            self._checked |= {place}
        return found


def _of(server: HttpUrl, etag: Etag) -> HttpUrl:
    """Return where a server has a blob. Of an etag there is nothing to check."""
    return replace(server, text=f"{server.text}/blobs/{etag}", target=f"{server.target}/blobs/{etag}")


def _seeder_of(url: HttpUrl, etag: Etag) -> HttpUrl | None:
    """Return the server of a blob's URL; None when others of its blobs may have other ones."""
    path = f"/blobs/{etag}"
    return replace(url, text=url.text.removesuffix(path), target="") if url.text.endswith(f":{url.port}{path}") else None
