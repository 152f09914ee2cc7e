"""Where the bytes of a blob can be had over HTTP: at which of our seeders, and under which address of it.

A seeder is known by its heartbeat, which needs a token: no other machine can make us connect anywhere. Each is asked (HEAD), so
that a client that is sent there finds the blob; one that does not answer is left alone for a moment, and the next one is asked.
A seeder that lives and cannot say now (it is full, slow, or has just started) may have the blob: that is never a no.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from llmpt.core.networks import parse_address
from llmpt.core.signed_address import LASTS_S, signed_path
from llmpt_tracker.blob_server import BlobPlace, BlobServer, place_of
from llmpt_tracker.control.client import Announcer
from llmpt_tracker.control.messages import BlobAddress
from llmpt_tracker.errors import AnnouncerUnavailable, SeedersBusy
from llmpt_tracker.read_keys import ReadKeys

log = logging.getLogger(__name__)

REMEMBERED = 10_000

Key = TypeVar("Key")
Value = TypeVar("Value")


MayServe = Callable[[BlobAddress], bool]


def every_seeder(_server: BlobAddress) -> bool:
    """Let every seeder serve."""
    return True


@dataclass(frozen=True, slots=True)
class AskingTimings:
    """How seeders are asked, in seconds.

    timeout_s: for an answer
    has_it_s: what a seeder said it has is believed for so long
    skipped_s: one that did not answer is left alone for so long
    listed_s: which seeders there are is believed for so long
    first_beat_s: within so long after the announcer's start a seeder that lives has been heard of
    """

    timeout_s: float = 1.0
    has_it_s: float = 2.0
    skipped_s: float = 1.0
    listed_s: float = 0.5
    first_beat_s: float = 15.0


class BlobServers:
    """Asks the blob servers of our seeders. Safe to use from several threads.

    Where no seeder has a blob, but one that lives does not say so, all raise `SeedersBusy`.
    """

    def __init__(
        self,
        announcer: Announcer,
        *,
        timings: AskingTimings = AskingTimings(),
        clock: Callable[[], float] = time.monotonic,
        keys: ReadKeys | None = None,
    ) -> None:
        """`keys`: with which addresses are signed where reading takes a token."""
        self._keys = keys
        self._announcer, self._timings, self._clock = announcer, timings, clock
        self._listed: dict[str, tuple[float, list[BlobAddress]]] = {}
        self._has_it: dict[tuple[BlobPlace, str], float] = {}
        self._servers: dict[BlobPlace, BlobServer] = {}

    def locate(self, etag: str, *, asker: str, host_as_asked: str, may_serve: MayServe = every_seeder) -> str | None:
        """Return a URL at which this asker gets the blob, at a seeder that has just said so; None: no seeder has it.

        `asker` is an address; `host_as_asked` the host under which it reached us, IPv6 in brackets; `may_serve` says whether a
        seeder that may not serve all may serve this.
        """
        server = self._find(etag, asker, may_serve)
        if server is None:
            return None
        shown = server.shown or host_as_asked
        if server.tls and server.shown is not None and parse_address(server.shown).is_loopback:
            shown = host_as_asked  # the same machine, by a name that a certificate has
        host = f"[{shown}]" if ":" in shown and not shown.startswith("[") else shown
        return f"{'https' if server.tls else 'http'}://{host}:{server.port}{self._target(server, etag)}"

    def has(self, etag: str, *, may_serve: MayServe = every_seeder) -> bool:
        """Say whether a seeder that is alive, and may serve it, has the blob, or gets it just now."""
        return self._find(etag, "127.0.0.1", may_serve) is not None

    def knock(self) -> None:
        """Have every seeder look at what there is to do for it."""
        try:
            servers = self._alive("127.0.0.1")
        except SeedersBusy:
            return  # it looks by itself every few seconds
        for server in servers:
            self._at(place_of(server)).ask("POST", "/knock")

    def close(self) -> None:
        """Close the connections that are kept."""
        for server in list(self._servers.values()):
            server.close()

    def _find(self, etag: str, asker: str, may_serve: MayServe) -> BlobAddress | None:
        servers = [one for one in self._alive(asker) if one.for_all or may_serve(one)]
        random.shuffle(servers)  # the load is spread
        unsure = 0
        for server in servers:
            has_it = self._is_at(server, etag)
            if has_it:
                return server
            unsure += has_it is None
        if unsure:
            raise SeedersBusy(f"a seeder that may have the file is busy, or starts ({unsure} of {len(servers)}): try again")
        return None

    def _alive(self, asker: str) -> list[BlobAddress]:
        now = self._clock()
        at, servers = self._listed.get(asker, (float("-inf"), []))
        if now - at >= self._timings.listed_s:
            try:
                servers = list(self._announcer.blob_servers(asker=asker))
                if not servers and self._has_just_started():
                    raise SeedersBusy("the tracker has just started, and has heard of no seeder yet: try again")
            except AnnouncerUnavailable as error:
                log.warning("%s", error)
                if not servers:
                    raise SeedersBusy("which seeders there are cannot be said now: try again") from None
            else:
                _remember(self._listed, asker, (now, servers))
        return list(servers)

    def _has_just_started(self) -> bool:
        age_s = self._announcer.status().age_s
        return age_s is not None and age_s < self._timings.first_beat_s

    def _target(self, server: BlobAddress, etag: str, *, to_look: bool = False) -> str:
        """Return where a seeder has a blob: signed for it, for a while, where it takes a signature (`to_look`: for a HEAD)."""
        if self._keys is None:
            return f"/blobs/{etag}"
        until = int(time.time()) + LASTS_S
        return signed_path(self._keys.blob_key(server.token_id, server.seeder), etag, until=until, to_look=to_look)

    def _is_at(self, server: BlobAddress, etag: str) -> bool | None:
        """Say whether a seeder has a blob; None: it does not say."""
        now, place = self._clock(), place_of(server)
        if now < self._has_it.get((place, etag), now):
            return True
        status = self._at(place).ask("HEAD", self._target(server, etag, to_look=True))
        if status == 200:
            _remember(self._has_it, (place, etag), now + self._timings.has_it_s)
            return True
        return None if status is None or status >= 500 or status == 429 else False

    def _at(self, place: BlobPlace) -> BlobServer:
        server = self._servers.get(place)
        if server is None:
            t = self._timings
            server = BlobServer(place, timeout_s=t.timeout_s, skipped_s=t.skipped_s, clock=self._clock)
            _remember(self._servers, place, server)
        return server


def _remember(memory: dict[Key, Value], key: Key, value: Value) -> None:
    """Keep `value`; a memory that has grown big starts anew."""
    if len(memory) >= REMEMBERED:
        memory.clear()
    memory[key] = value
