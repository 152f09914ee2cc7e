"""What the tracker says, asked with patience limited for the whole machine, not per file.

After a failure it is left alone by all (`Breaker`): a tracker that accepts and never answers costs one time-out, however many
files are wanted. One that has answered before, and takes the questions, may have too much to do: it is asked on for `slow_s`;
one that refuses may be starting anew, and one that says so is: for `restart_s` it may be back at any moment.
A new boot id means that the announcer lost its peers: what is seeded is announced again.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import TrackerBusy, TrackerError, TrackerRefused, TrackerSlow, TrackerUnavailable
from llmpt.core.repo import RepoCommit
from llmpt.tracker.blobs import BlobHttp
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.looked_up import Contact, Lookup
from llmpt.tracker.lookups import Lookups

log = logging.getLogger("llmpt.agent")

Peer = tuple[str, int]


@dataclass(frozen=True, slots=True)
class TrackerTimings:
    """How often the tracker and peers are asked again.

    quiet: after a failure of the tracker
    slow_s: for how long one that has answered before may be silent until that is a failure
    restart_s: for how long one that has answered before may refuse until it is out of action
    contact_interval_s: between two questions how it is, while it answers
    watched_s: for so long after it has gone it is asked more often
    reach_interval_s: between two questions how it sees us
    dead_peer_s: for how long a peer that gave nothing is not tried again
    """

    quiet: Pauses = Pauses(first_s=0.5, longest_s=30.0)
    slow_s: float = 10.0
    restart_s: float = 5.0
    contact_interval_s: float = 14.0
    watched_s: float = 120.0
    reach_interval_s: float = 300.0
    dead_peer_s: float = 30.0


class Directory:
    """One tracker, seen by one machine. `on_boot` is called with the announce URL whenever a new boot id is seen.

    What it last said of us: `address` is where it sees us, `reachable` whether it could connect to our peer port there,
    `tracker_version` its own version; `min_blob_bytes` the size from which on files have a swarm; None where it did not say.
    """

    def __init__(
        self,
        client: TrackerClient,
        *,
        peer_port: int,
        timings: TrackerTimings = TrackerTimings(),
        silent_for_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`clock` and `chance` as in `Breaker`; `silent_for_s`: so long the tracker is left alone, for it has just not answered a
        program of this user."""
        self.client = client
        self.address: str | None = None
        self.reachable: bool | None = None
        self.tracker_version: str | None = None
        self.min_blob_bytes: int | None = None
        self.wants_keys = False
        self._lookups = Lookups(client)
        self._blobs = BlobHttp(client.url, stall_timeout_s=timings.quiet.longest_s, trust=client.trust, reader=client.reader)
        self._breaker = Breaker(timings.quiet, clock=clock, chance=chance)
        if silent_for_s > 0:
            silent = TrackerUnavailable(f"the tracker at {client.url} did not answer another program of this user")
            self._breaker.failed(silent, retry_after_s=min(silent_for_s, timings.slow_s))
        self._timings, self._peer_port = timings, peer_port
        self._reach_asked_at = self._contacted_at = -math.inf
        self.on_boot: Callable[[str], None] = lambda _url: None
        self._clock = clock
        self._lock = threading.Lock()
        self._slow_since: float | None = -math.inf  # since when it has not answered in time; None: it does
        self._failing_since: float | None = None
        self._boot_id = ""
        self._was_met = False  # it has answered, or said that it is busy
        self._dead: dict[Peer, float] = {}

    @property
    def reads_with(self) -> str:
        """The token with which the tracker is asked; empty: none."""
        return self.client.reader.token

    @property
    def answers(self) -> bool:
        """Whether the last question was answered."""
        return self._boot_id != "" and self._breaker.allows()

    @property
    def may_be_back(self) -> bool:
        """Whether the tracker, which was met before, has been out of action for so short that it is worth waiting for."""
        since = self._failing_since
        return self._was_met and since is not None and self._clock() - since < self._timings.restart_s

    def lookup(self, etag: Etag) -> Lookup:
        """Ask for one blob. Raises `TrackerUnavailable` at once while the tracker is known to be out of action."""
        return self._lookup(etag, None)

    def lookup_in(self, of: RepoCommit, etag: Etag) -> Lookup:
        """Look up a file of a commit; what the tracker has told of it beside another one, a moment ago, is its answer. Raises as
        `lookup` does."""
        told = self._lookups.told(etag)
        return self._lookup(etag, of) if told is None else told

    def _lookup(self, etag: Etag, of: RepoCommit | None) -> Lookup:
        if (left_s := self._breaker.left_s) > 0:
            raise TrackerUnavailable(f"the tracker at {self.client.url} did not answer; asked again in {left_s:.0f} s")
        asked_at = self._clock()
        try:
            found = self._lookups.ask(etag, of)
        except TrackerError as error:
            self._failed(error, asked_at)
            raise
        self._seen(found.contact)
        return found

    def heard(self, boot_id: str = "") -> None:
        """Note that the tracker has answered another question of this machine now; one of another life is asked how it is."""
        self._slow_since = self._failing_since = None
        if boot_id and self._boot_id and boot_id != self._boot_id:
            self.contact()

    def blob_url(self, etag: Etag) -> str | None:
        """Return where a seeder gives a blob over HTTP now; None when none does, or the tracker does not say.

        libtorrent holds a server to authorities, and to no certificate that was pinned: where one is, it is not sent there.
        """
        try:
            url = self._blobs.locate(etag)
        except TrackerError as error:
            log.debug("%s: %s", etag, error)
            return None
        return None if url is not None and url.startswith("https:") and self.client.trust.certificate else url

    def contact(self) -> None:
        """Ask how the tracker is, unless it is to be left alone; never raises for what a network does."""
        if not self._breaker.allows() and not self._has_just_gone:
            return
        asked_at = self._contacted_at = self._clock()
        try:
            if self._seen(self.client.contact()) or self._clock() - self._reach_asked_at > self._timings.reach_interval_s:
                self._ask_who_we_are()
        except TrackerError as error:
            self._failed(error, asked_at)

    def watch(self) -> None:
        """Ask how the tracker is, when that is due: more often when it has just gone, so that what is seeded here is announced
        as soon as it is back."""
        if self._has_just_gone or self._clock() - self._contacted_at >= self._timings.contact_interval_s:
            self.contact()

    @property
    def _has_just_gone(self) -> bool:
        """Whether the tracker gives no answer, and did a moment ago; one that refuses is there."""
        since = self._failing_since
        if since is None or self._boot_id == "" or isinstance(self._breaker.why, TrackerRefused):
            return False
        return self._clock() - since < self._timings.watched_s

    def _ask_who_we_are(self) -> None:
        self._reach_asked_at = self._clock()
        seen = Catalogue(self.client).whoami(self._peer_port)
        before = self.reachable
        self.address, self.reachable, self.tracker_version = seen.address, seen.reachable, seen.version
        if self.reachable is False and before is not False:
            log.warning("others cannot connect to port %d at %s: is it a firewall? Only machines that this one has connected to "
                        "can take from it", self._peer_port, self.address)  # fmt: skip

    def announce_keys(self, etags: Sequence[Etag]) -> dict[Etag, str] | None:
        """Return behind which keys blobs are announced; None: the tracker does not say. Never raises for what a network does."""
        if not self._breaker.allows():
            return None
        try:
            return self.client.announce_keys(etags)
        except TrackerError as error:
            log.debug("no keys to announce with: %s", error)
            return None

    def bury(self, peers: tuple[Peer, ...]) -> None:
        """Remember peers that gave nothing: they are not tried again for `dead_peer_s`."""
        until = self._clock() + self._timings.dead_peer_s
        with self._lock:
            self._dead.update(dict.fromkeys(peers, until))

    def alive(self, peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
        """Return the peers that did not fail just now."""
        now = self._clock()
        with self._lock:
            self._dead = {peer: until for peer, until in self._dead.items() if until > now}
            return tuple(peer for peer in peers if peer not in self._dead)

    def _failed(self, error: TrackerError, asked_at: float) -> None:
        if isinstance(error, TrackerSlow):
            self._slow_since = self._clock() if self._slow_since is None else self._slow_since
            if self._clock() - self._slow_since < self._timings.slow_s:
                log.info("%s; it has before", error)
                return
        asked_s = error.retry_after_s if isinstance(error, TrackerRefused) else None
        self._was_met = self._was_met or isinstance(error, TrackerBusy)
        self._failing_since = asked_at if self._failing_since is None else self._failing_since
        pause_s = self._breaker.failed(error, retry_after_s=asked_s, cost_s=self._clock() - asked_at)
        refused = "the tracker refused: " if isinstance(error, TrackerRefused) else ""
        log.warning("%s%s; it is left alone for %.1f s", refused, error, pause_s)

    def _seen(self, said: Contact) -> bool:
        """Note the tracker's answer; True when it is another life of it."""
        self.heard()
        self._breaker.succeeded()
        self._was_met = True
        with self._lock:
            fresh, self._boot_id = said.boot_id != self._boot_id, said.boot_id
        self.min_blob_bytes = said.min_blob_bytes
        self.wants_keys = self.wants_keys or said.wants_keys
        if fresh:
            log.info("tracker %s, announcing to %s", self.client.url, said.announce_url)
            self.on_boot(said.announce_url)
        return fresh
