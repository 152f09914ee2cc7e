"""What the parent writes down once a minute of what the announcer knows: downloads, bytes, and what is here still.

A publisher withdraws what it no longer has. One that has not been heard of for a day can't: what it had is here no longer, until
it says so again. And what no publisher has is here as long as machines of the LAN seed it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from llmpt_tracker.clock import Clock, utc_now
from llmpt_tracker.control.messages import SeederReport, Traffic
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import AnnouncerUnavailable, DatabaseUnavailable
from llmpt_tracker.rules import audit, completions, holders, quotas, reading, traffic
from llmpt_tracker.rules.catalogue import torrents

log = logging.getLogger(__name__)

SILENT_S = 24 * 3600.0
SEEN_EVERY_S = 3600.0
SETTLED_S = 7200.0
BATCH = 5000
LATE = 1000  # a transaction may end after one that took later keys


class Observer(Protocol):
    """The calls of `AnnouncerClient` that this needs."""

    def newly_completed(self) -> Mapping[bytes, int]: ...

    def traffic(self) -> Traffic: ...

    def kept(self, swarms: Sequence[bytes]) -> frozenset[bytes]: ...

    def seeders(self) -> list[SeederReport]: ...

    def unregister(self, swarms: Sequence[bytes]) -> None: ...

    def load(self, swarms: Mapping[bytes, int]) -> None: ...

    def tell_readers(self, valid: Iterable[tuple[int, int]], *, as_of: float) -> None: ...


class Bookkeeping:
    """Keeps the catalogue in line with the announcer. `silent_s`: a seeder that is silent for so long has nothing any more."""

    def __init__(
        self,
        announcer: Observer,
        database: Database,
        *,
        silent_s: float = SILENT_S,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Clock = utc_now,
    ) -> None:
        self._announcer, self._database, self._clock = announcer, database, clock
        self._seen_due = self._prune_due = monotonic()
        self._silent_s, self._monotonic = silent_s, monotonic
        self._started = monotonic()
        self._traffic, self._traffic_since, self._listed = Traffic(), clock(), 0

    def keep(self) -> None:
        """Write all down; what cannot be kept is said to the log, and waits for the next time."""
        for what, write in (
            ("the counts of downloads", self._counts),
            ("what came to machines", self._bytes),
            ("what machines of the LAN have", self._kept),
            ("which seeders are silent", self._silent),
            ("what is kept no longer", self._prune),
        ):
            try:
                write()
            except (AnnouncerUnavailable, DatabaseUnavailable) as error:
                log.warning("%s: not kept: %s", what, error)

    def keep_readers(self) -> None:
        """Tell the announcer which tokens may read now. Raises what cannot be done."""
        now = self._clock()
        with self._database.reading() as session:
            valid = reading.owners(session, now=now)
        self._announcer.tell_readers(valid, as_of=now.timestamp())

    def keep_list(self) -> None:
        """Tell the announcer what other replicas have published, whether or not they could. Raises what cannot be done."""
        with self._database.reading() as session:
            batch = torrents.all_swarms(session, after=max(0, self._listed - LATE), limit=BATCH)
        self._announcer.load({swarm: completed for _, swarm, completed in batch})
        self._listed = batch[-1][0] if batch else self._listed

    def _counts(self) -> None:
        if counts := self._announcer.newly_completed():
            with self._database.writing() as session:
                completions.keep(session, counts)

    def _bytes(self) -> None:
        """Write down what came since the last time; what cannot be written is added to the next."""
        self._traffic += self._announcer.traffic()
        seeders, now = self._announcer.seeders(), self._clock()
        with self._database.writing() as session:
            traffic.keep(session, self._traffic, seeders, since=self._traffic_since, now=now)
        self._traffic, self._traffic_since = Traffic(), now

    def _kept(self) -> None:
        after, is_due = 0, self._monotonic() >= self._seen_due
        if is_due:
            self._seen_due = self._monotonic() + SEEN_EVERY_S
        while True:
            with self._database.reading() as session:
                batch = holders.named_blobs(session, after=after, limit=BATCH)
            if not batch:
                return
            after = batch[-1][0]
            kept = self._announcer.kept([swarm for _, swarm, _ in batch])
            seeded = [key for key, swarm, was in batch if swarm in kept and not was]
            not_seeded = [key for key, swarm, was in batch if swarm not in kept and was]
            seen = [key for key, swarm, _ in batch if swarm in kept] if is_due else []
            if seeded or not_seeded or seen:
                with self._database.writing() as session:
                    holders.keep(session, seeded, not_seeded)
                    quotas.note_seeded(session, seen, now=self._clock())

    def _prune(self) -> None:
        """Let go of what is kept no longer: not before machines had the time to announce what they seed, after a start."""
        if self._monotonic() - self._started < SETTLED_S or self._monotonic() < self._prune_due:
            return
        self._prune_due = self._monotonic() + SEEN_EVERY_S
        now = self._clock()
        with self._database.writing() as session:
            swarms = quotas.expire(session, now=now)
            quotas.prune_tokens(session, now=now)
            audit.prune(session, now=now)
            if swarms:
                audit.note(session, audit.DELETED, audit.Actor(), now=now, torrents=len(swarms), why="no machine seeds them")
        if swarms:
            self._announcer.unregister(swarms)
            log.info("%d torrents that machines had shared are let go: no machine has seeded them for long", len(swarms))

    def _silent(self) -> None:
        if self._monotonic() - self._started < self._silent_s:
            return  # the announcer forgets with each start which seeders there were
        heard = {one.id for one in self._announcer.seeders() if one.age_s < self._silent_s}
        with self._database.reading() as session:
            if not holders.silent(session, heard):
                return
        with self._database.writing() as session:
            for name in holders.drop_silent(session, heard):
                log.warning(
                    "seeder %s has not been heard of for %.0f h: what it had is listed no longer", name, self._silent_s / 3600
                )
