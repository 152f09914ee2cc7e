"""The blob server of one seeder, asked over connections that are kept: a few questions at a time, and one that is silent is
asked one at a time and left alone between."""

from __future__ import annotations

import http.client
import logging
import ssl
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from llmpt.core import request_id
from llmpt_tracker.control.messages import BlobAddress

log = logging.getLogger(__name__)

KEPT_CONNECTIONS = 8
AT_ONCE = 16  # questions of this process: a seeder that goes silent cannot hold all of our threads


class BlobPlace(NamedTuple):
    """Where a blob server is, as the tracker reaches it, and whether it speaks TLS there."""

    address: str
    port: int
    tls: bool = False


class BlobServer:
    """Asks the one at `place`. Safe to use from several threads.

    `timeout_s`: for an answer, and for one's turn to ask.
    `skipped_s`: it is left alone for so long after it gave none.
    """

    def __init__(self, place: BlobPlace, *, timeout_s: float, skipped_s: float, clock: Callable[[], float]) -> None:
        self._place, self._timeout_s, self._skipped_s, self._clock = place, timeout_s, skipped_s, clock
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._probe = threading.Lock()
        self._silent_until: float | None = None
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=KEPT_CONNECTIONS)

    def ask(self, method: str, path: str) -> int | None:
        """Return the status of the answer, None without one."""
        if self._silent_until is not None:
            return self._ask_the_silent(method, path)
        if not self._turns.acquire(timeout=self._timeout_s):
            return None
        try:
            return self._exchange(method, path) if self._silent_until is None else None
        finally:
            self._turns.release()

    def close(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            self._idle.pop().close()

    def _ask_the_silent(self, method: str, path: str) -> int | None:
        if not self._probe.acquire(blocking=False):
            return None
        try:
            silent_until = self._silent_until
            if silent_until is not None and self._clock() < silent_until:
                return None
            return self._exchange(method, path)
        finally:
            self._probe.release()

    def _exchange(self, method: str, path: str) -> int | None:
        while True:
            try:
                connection, is_kept = self._idle.pop(), True
            except IndexError:
                connection, is_kept = self._connection(), False
            try:
                connection.request(method, path, headers=request_id.header())
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if is_kept and not isinstance(error, TimeoutError):
                    continue  # it was closed behind our back; a new connection decides
                if self._silent_until is None:
                    log.warning("the blob server at %s port %d does not answer: %s", *self._place[:2], error)
                self._silent_until = self._clock() + self._skipped_s
                return None
            self._silent_until = None
            if answer.will_close or len(self._idle) >= KEPT_CONNECTIONS:
                connection.close()
            else:
                self._idle.append(connection)
            return answer.status

    def _connection(self) -> http.client.HTTPConnection:
        address, port, tls = self._place
        if not tls:
            return http.client.HTTPConnection(address, port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(address, port, timeout=self._timeout_s, context=_tls_context())


@cache
def _tls_context() -> ssl.SSLContext:
    """Return how a seeder is asked by TLS. Its certificate counts for the name that clients use, and we have its address from a
    heartbeat by token: what is asked is no secret (an address that is signed for it is good for a HEAD alone), and each client
    that is sent there holds the certificate to what it believes.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def place_of(server: BlobAddress) -> BlobPlace:
    """Return where a blob server is."""
    return BlobPlace(server.address, server.port, server.tls)
