"""HTTP connections that are kept for the next request to the same server: for many small answers, one after the other.

    kept = KeptConnections(SYSTEM)
    with kept.asked("GET", ServerPlace("server", 8000, tls=False), "/blobs/…", {}, whole_s=2.0) as response:
        body = response.read()

A connection goes back when its answer was read to the end. One that the server has closed meanwhile is made anew, once. Proxies
of the environment do not count, and redirects are not followed. Safe to share among threads; a forked child has none of them.
"""

from __future__ import annotations

import http.client
import os
import socket
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from llmpt.core import errand
from llmpt.net.authorities import SYSTEM, Trust
from llmpt.net.http import Bounds, Connection

CONNECT_S = 1.0
MOST_IDLE = 16  # as many as ask at the same time, twice
_GONE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


class ServerPlace(NamedTuple):
    """A server: its host (IPv6 without brackets) and port, and whether it is spoken to by TLS."""

    host: str
    port: int
    tls: bool


class _Kept(NamedTuple):
    connection: Connection
    bounds: Bounds


class KeptConnections:
    """Connections to any number of servers; `trust` is what the certificates of those with TLS are held to."""

    def __init__(self, trust: Trust = SYSTEM) -> None:
        self._trust = trust
        self._pid = os.getpid()
        self._idle: list[tuple[ServerPlace, _Kept]] = []  # the latest last; a list's own operations are all that threads need
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def asked(
        self,
        method: str,
        place: ServerPlace,
        target: str,
        headers: Mapping[str, str],
        *,
        whole_s: float,
        body: bytes | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Make one request; all of it, with the reading of the answer, takes `whole_s` seconds at most.

        Raises what `http.client` does.
        """
        kept, is_old = self._taken(place, whole_s)
        try:
            try:
                response = _sent(kept, method, target, headers, body)
            except _GONE:
                if not is_old:
                    raise
                kept.connection.close()
                kept = self._made(place, whole_s)
                response = _sent(kept, method, target, headers, body)
            sock = kept.connection.sock
            with errand.ending(lambda: sock.shutdown(socket.SHUT_RDWR)), response:
                yield response
                is_over = response.isclosed() and not response.will_close
        except BaseException:
            kept.connection.close()
            raise
        self._give_back(place, kept, is_over=is_over)

    def _taken(self, place: ServerPlace, whole_s: float) -> tuple[_Kept, bool]:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            _close(self._idle)  # our ends of them only: the parent's go on
        for entry in reversed(tuple(self._idle)):
            if entry[0] == place:
                try:
                    self._idle.remove(entry)
                except ValueError:  # another thread was quicker
                    continue
                entry[1].bounds.deadline = Bounds.of(whole_s).deadline
                return entry[1], True
        return self._made(place, whole_s), False

    def _made(self, place: ServerPlace, whole_s: float) -> _Kept:
        bounds = Bounds.of(whole_s)
        return _Kept(
            Connection(place.host, place.port, tls=place.tls and self._trust, bounds=bounds, connect_s=CONNECT_S), bounds
        )

    def _give_back(self, place: ServerPlace, kept: _Kept, *, is_over: bool) -> None:
        if not is_over or kept.connection.sock is None:
            kept.connection.close()
            return
        self._idle.append((place, kept))
        while len(self._idle) > MOST_IDLE:
            try:
                _, oldest = self._idle.pop(0)
            except IndexError:
                return
            oldest.connection.close()


def _close(idle: list[tuple[ServerPlace, _Kept]]) -> None:
    while idle:
        idle.pop()[1].connection.close()


def _sent(kept: _Kept, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> http.client.HTTPResponse:
    if kept.connection.sock is None:
        kept.connection.connect()
    kept.connection.request(method, target, body, dict(headers))
    return kept.connection.getresponse()
