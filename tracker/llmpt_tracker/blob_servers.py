"""Where the bytes of a blob can be had over HTTP: at which of our seeders, and under which address of it.

A seeder is known by its heartbeat, which needs a token: no other machine can make us connect anywhere. Each is asked (HEAD), so
that a client that is sent there finds the blob; one that does not answer is left alone for a moment, and the next one is asked.
"""

from __future__ import annotations

import http.client
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from llmpt_tracker.control.client import Announcer
from llmpt_tracker.control.messages import BlobAddress
from llmpt_tracker.errors import AnnouncerUnavailable

log = logging.getLogger(__name__)

TIMEOUT_S = 0.5
HAS_IT_S = 2.0  # for so long what a seeder said is believed
SKIPPED_S = 5.0
LISTED_S = 0.5
KEPT_CONNECTIONS = 8  # to each seeder
REMEMBERED = 10_000

Place = tuple[str, int]
Key = TypeVar("Key")
Value = TypeVar("Value")


class BlobServers:
    """Asks the blob servers of our seeders. Safe to use from several threads."""

    def __init__(self, announcer: Announcer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._announcer, self._clock = announcer, clock
        self._listed: dict[str, tuple[float, list[BlobAddress]]] = {}
        self._has_it: dict[tuple[Place, str], float] = {}
        self._skipped: dict[Place, float] = {}
        self._idle: dict[Place, deque[http.client.HTTPConnection]] = {}

    def locate(self, etag: str, *, asker: str, host_as_asked: str) -> str | None:
        """Return a URL at which this asker gets the blob, at a seeder that has just said so; None: no seeder has it.

        `asker` is an address; `host_as_asked` the host under which it reached us, IPv6 in brackets.
        """
        server = self._find(etag, asker)
        if server is None:
            return None
        shown = server.shown or host_as_asked
        host = f"[{shown}]" if ":" in shown and not shown.startswith("[") else shown
        return f"http://{host}:{server.port}/blobs/{etag}"

    def has(self, etag: str) -> bool:
        """Say whether a seeder that is alive has the blob, or gets it just now."""
        return self._find(etag, "127.0.0.1") is not None

    def knock(self) -> None:
        """Have every seeder look at what there is to do for it."""
        for server in self._alive("127.0.0.1"):
            self._ask(_place(server), "POST", "/knock")

    def close(self) -> None:
        """Close the connections that are kept."""
        for idle in list(self._idle.values()):
            while idle:
                idle.pop().close()

    def _find(self, etag: str, asker: str) -> BlobAddress | None:
        servers = self._alive(asker)
        random.shuffle(servers)  # the load is spread
        return next((server for server in servers if self._is_at(_place(server), etag)), None)

    def _alive(self, asker: str) -> list[BlobAddress]:
        now = self._clock()
        at, servers = self._listed.get(asker, (-LISTED_S, []))
        if now - at >= LISTED_S:
            try:
                servers = list(self._announcer.blob_servers(asker=asker))
            except AnnouncerUnavailable as error:
                log.warning("%s", error)
                return []
            _remember(self._listed, asker, (now, servers))
        return [server for server in servers if now >= self._skipped.get(_place(server), now)]

    def _is_at(self, place: Place, etag: str) -> bool:
        now = self._clock()
        if now < self._has_it.get((place, etag), now):
            return True
        if self._ask(place, "HEAD", f"/blobs/{etag}") != 200:
            return False
        _remember(self._has_it, (place, etag), now + HAS_IT_S)
        return True

    def _ask(self, place: Place, method: str, path: str) -> int | None:
        """Return the status of the answer, None without one: that seeder is then left alone for a while."""
        idle = self._idle.setdefault(place, deque(maxlen=KEPT_CONNECTIONS))
        while True:
            try:
                connection, is_kept = idle.pop(), True
            except IndexError:
                connection, is_kept = http.client.HTTPConnection(*place, timeout=TIMEOUT_S), False
            try:
                connection.request(method, path)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if is_kept and not isinstance(error, TimeoutError):
                    continue  # it was closed behind our back; a new connection decides
                if place not in self._skipped:
                    log.warning("the blob server at %s port %d does not answer: %s", *place, error)
                _remember(self._skipped, place, self._clock() + SKIPPED_S)
                return None
            self._skipped.pop(place, None)
            if answer.will_close or len(idle) >= KEPT_CONNECTIONS:
                connection.close()
            else:
                idle.append(connection)
            return answer.status


def _place(server: BlobAddress) -> Place:
    return server.address, server.port


def _remember(memory: dict[Key, Value], key: Key, value: Value) -> None:
    """Keep `value`; a memory that has grown big starts anew."""
    if len(memory) >= REMEMBERED:
        memory.clear()
    memory[key] = value
