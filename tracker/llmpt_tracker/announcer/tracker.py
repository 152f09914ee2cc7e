"""The tracker itself: what owns the peers, the closed list, the seeders and the leases, and answers one request after another."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

from llmpt.core.browsers import HostNames
from llmpt.core.callers import Callers
from llmpt.core.http_head import BadRequest, Head
from llmpt.core.networks import Address, CidrSet, behind_proxies
from llmpt.host.loops import Health
from llmpt_tracker.announcer.arrivals import Arrivals
from llmpt_tracker.announcer.leases.book import LeaseBook
from llmpt_tracker.announcer.limiter import Limiter
from llmpt_tracker.announcer.others import NoOthers, Others
from llmpt_tracker.announcer.peers import swarms, wire
from llmpt_tracker.announcer.peers.moment import Moment
from llmpt_tracker.announcer.peers.prober import Prober
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.store import SwarmStore
from llmpt_tracker.announcer.peers.visibility import Asker, Visibility
from llmpt_tracker.announcer.peers.wire import Endpoint
from llmpt_tracker.announcer.reached import ReachedLimits
from llmpt_tracker.announcer.readers import Readers
from llmpt_tracker.errors import ClientError
from llmpt_tracker.read_keys import is_announce_key

SWEPT_PER_SECOND = 1000  # swarms; a slice takes about a millisecond


class Tracker:
    """The state of the announcer. `boot_id` is another one at each start, and the same
    in all replicas: a peer that sees a new one announces again."""

    def __init__(
        self,
        store: SwarmStore,
        *,
        seeders: Seeders,
        visibility: Visibility,
        trusted_proxies: CidrSet | None = None,
        hosts: HostNames = HostNames(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.arrivals = Arrivals()
        self.seeders, self.visibility, self.clock = seeders, visibility, clock
        self._use(store)
        self.leases, self.limiter, self.reached, self.health = LeaseBook(), Limiter(), ReachedLimits(), Health()
        self.started_at, self.readers = clock(), Readers()
        self.boot_id = secrets.token_hex(8)
        self.others: Others = NoOthers()
        self.counts = dict.fromkeys(("announces", "scrapes", "refusals"), 0)
        self._trusted_proxies, self._callers = trusted_proxies or CidrSet(()), Callers(hosts)

    def share(self, others: Others, store: SwarmStore) -> None:
        """Tell other replicas what is done from now on; `store` is this one's, which tells them."""
        self.others = others
        self._use(store)

    def open(self) -> None:
        """Lend from now on, as one that has just started."""
        if self.others.lends:
            self.leases = LeaseBook(opened_at=self.clock())

    def moment(self) -> Moment:
        """Return the swarms as they are now."""
        return Moment(self.store, self.visibility, self.clock())

    def asker(self, address: str) -> Asker:
        """Return what is at the other end of a socket; raise `ValueError` when `address` is no IP address."""
        asker: Asker = self.visibility.asker(address)
        return asker

    def answer(self, head: Head, asker: Asker) -> bytes:
        """Answer an announce or a scrape; a refusal is an answer too. Raises `BadRequest` for anything else."""
        path = head.path
        self._callers.check(head)
        if self._trusted_proxies and asker.address in self._trusted_proxies:
            asker = self._behind_proxies(head, asker)
        try:
            if path == b"/announce":
                return self._announce(head, asker, b"")
            if path == b"/scrape" or path.startswith(b"/scrape/"):  # libtorrent replaces `announce` and keeps the key
                return self._scrape(head, asker)
            if path.startswith(b"/announce/"):
                return self._announce(head, asker, path[len(b"/announce/") :])
        except ClientError as error:
            self.counts["refusals"] += 1
            return wire.encode_failure(str(error))
        raise BadRequest(404, "here are /announce and /scrape")

    async def reach(self, address: str, port: int) -> bool | None:
        """Say whether others can connect to that port of an asker; None when that cannot be said: it is not known what
        stands behind a gateway, and strangers are not knocked at."""
        asker = self.asker(address)
        if asker.is_gateway or not asker.is_allowed:
            return None
        return await self.prober.reach(asker.address, port)

    async def look_after_seeders(self) -> None:
        """Ask those of our seeders that have said nothing for a while whether they are there. Call it every few seconds."""
        doubted = self.seeders.doubted(self.clock())
        found = await asyncio.gather(*(self.prober.answers(sign.info_hash, sign.endpoint) for _, sign in doubted))
        for (key, _), is_there in zip(doubted, found, strict=True):
            if is_there:
                self.seeders.answered(key, self.clock())

    def sweep(self) -> None:
        """Drop peers that have gone silent, in the next slice of the swarms. Call it every second."""
        self.store.sweep(self.clock(), swarms=SWEPT_PER_SECOND)

    def announce(self, request: wire.AnnounceRequest, asker: Asker, *, reached_at: Address | None) -> wire.AnnounceReply:
        """Enter a peer, and tell it of others; `reached_at`: the literal address at which it reached us. Raises `ClientError`."""
        self.counts["announces"] += 1
        if request.key and is_announce_key(request.key):
            self.readers.check(request.key, (request.info_hash,))
            request = request._replace(key="")
        elif self.readers.are_asked:
            self._check_seeder(request.key)
            request = request._replace(numwant=0)  # it gives, and has no need of peers
        return swarms.announce(self.moment(), request, asker, reached_at=reached_at, probes=self._probes)

    def scrape(self, hashes: Sequence[bytes], asker: Asker, *, key: str = "") -> dict[bytes, wire.ScrapeEntry]:
        """Count the peers of torrents. `key` is what stood behind `/scrape/`. Raises `ClientError`."""
        self.counts["scrapes"] += 1
        swarms.check_allowed(asker, "", self.visibility)
        if self.readers.are_asked:
            if is_announce_key(key):
                self.readers.check(key, hashes)
            else:
                self._check_seeder(key)
        return swarms.scrape(self.moment(), hashes)

    def _use(self, store: SwarmStore) -> None:
        self.store, self.prober = store, Prober(store, clock=self.clock)
        self._probes = swarms.Probes(self.prober.ask, self.prober.doubt, self.prober.prove, self.prober.forget, self._arrived)

    def _announce(self, head: Head, asker: Asker, key: bytes) -> bytes:
        if not asker.is_allowed:  # before anything that it says is looked at
            swarms.check_allowed(asker, key.decode("latin-1"), self.visibility)
        request = wire.parse_announce(head.query, key=key)
        return wire.encode_announce(self.announce(request, asker, reached_at=head.reached_at), tracker_id=self.boot_id.encode())

    def _arrived(self, info_hash: bytes, endpoint: Endpoint) -> None:
        self.arrivals.note(info_hash, endpoint, self.clock())

    def _check_seeder(self, key: str) -> None:
        """Raise `ClientError` unless a key is one of our seeders', where others need one of a reader."""
        if not self.visibility.is_known_key(key):
            self.readers.check("", ())

    def _scrape(self, head: Head, asker: Asker) -> bytes:
        swarms.check_allowed(asker, "", self.visibility)
        key = head.path.removeprefix(b"/scrape").removeprefix(b"/").decode("latin-1")
        return wire.encode_scrape(self.scrape(wire.parse_scrape(head.query), asker, key=key))

    def _behind_proxies(self, head: Head, asker: Asker) -> Asker:
        hops = b",".join(head.all_fields(b"x-forwarded-for")).decode("latin-1")
        return self.asker(str(behind_proxies(asker.address, hops, self._trusted_proxies)))
