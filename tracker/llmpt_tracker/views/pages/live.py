"""What the announcer knows at the moment when a page is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from llmpt_tracker.control.messages import HeldLease, SeederReport, Swarm
from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.errors import AnnouncerUnavailable
from llmpt_tracker.rules.catalogue import repos
from llmpt_tracker.state import state
from llmpt_tracker.views.holders import sees_machines
from llmpt_tracker.views.readers import may_read, reading, sees_all

FETCHES_SHOWN = 50
SEEDER_LIVE_S = 30.0


@dataclass(frozen=True)
class SeederCard:
    """A seeder under the name that people know it by: the one beside this tracker, or what its token is called."""

    name: str
    is_own: bool
    is_live: bool
    age_s: float
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Live:
    """Counts and seeders; a page is shown without them rather than not at all.

    peers: of all swarms; None: the announcer does not answer
    troubles: what the announcer cannot do now
    limits: what of the application's was reached
    """

    swarms: Mapping[str, Swarm] = field(default_factory=dict)
    peers: int | None = None
    troubles: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    seeders: Sequence[SeederCard] = ()

    @classmethod
    def ask(cls, swarms: Sequence[str] = (), *, with_seeders: bool = False) -> Live:
        """Ask for these swarms, and for the seeders if they are to be shown."""
        announcer = state().announcer
        try:
            found = announcer.swarms(list(swarms), peers=0, asker="127.0.0.1")[0] if swarms else {}
            status = announcer.status()
            seeders = announcer.seeders() if with_seeders and sees_all() else []  # which name what they could not share
        except AnnouncerUnavailable:
            return cls()
        return cls(found, status.peers, status.troubles, status.limits, _cards(seeders))

    def swarm(self, name: str | None) -> Swarm | None:
        """Return the counts of a swarm; None where they are not known."""
        return self.swarms.get(name, Swarm()) if name and self.peers is not None else None


def fetches() -> list[tuple[HeldLease, str | None]]:
    """Return what machines fetch from the Hub now, each with a path where the catalogue knows one."""
    try:
        found = state().announcer.fetches(FETCHES_SHOWN)
    except AnnouncerUnavailable:
        return []
    found = [one for one in found if sees_all() or (one.repo is not None and may_read(one.repo))]
    with reading() as session:
        paths = repos.paths_of(session, [one.etag.value for one in found]) if found else {}
    return [(one, paths.get(one.etag.value)) for one in found]


def _cards(seeders: Sequence[SeederReport]) -> list[SeederCard]:
    if not seeders:
        return []
    with state().database.reading() as session:
        tokens = select(PublisherToken).where(PublisherToken.id.in_({one.report.get("token_id") for one in seeders}))
        known = {one.id: one for one in session.scalars(tokens)}
    cards, others, names = [], 0, sees_machines()
    for one in seeders:
        token = known.get(one.report.get("token_id") or 0)
        is_own = token is not None and token.appliance
        others += not is_own
        other = token.name if names and token is not None else f"Another seeder, {others}"
        name = "This server's seeder" if is_own else other
        cards.append(SeederCard(name, is_own, one.age_s <= SEEDER_LIVE_S, one.age_s, one.report))
    return sorted(cards, key=lambda card: not card.is_own)
