"""Leases, whatever machines say and in whatever order: one holder for each etag, a share for each machine, an end to all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from llmpt.core.blob import Etag
from llmpt.core.leases import Ended, FetchProgress, Grant, LeaseOutcome, LeaseRole, Poll, Want
from llmpt.core.repo import RepoRef
from llmpt_tracker.announcer.leases.book import LeaseBook
from llmpt_tracker.announcer.leases.terms import LeaseTerms
from llmpt_tracker.control.messages import HeldLease, Owner

SIZE = 10_000_000
TERMS = LeaseTerms(leases_per_repo=2)  # fewer than there are files: shares are soon used up
MACHINES, SERVER = ("a", "b", "c", "d"), "server"
REPOS = (RepoRef("model", "org/one"), RepoRef("model", "org/two"))
WANTS = tuple(Want(Etag(f"{number:064x}"), SIZE, REPOS[number % 2]) for number in range(8))

files = st.lists(st.sampled_from(WANTS), max_size=5, unique=True)


@dataclass(frozen=True)
class Saying:
    """What one machine says, `later_s` after the one before; `here` is what is seeded then."""

    name: str
    later_s: float
    wants: Sequence[Want]
    fetching: Sequence[Want]
    count: int
    published: Sequence[Want]
    failed: Sequence[Want]
    here: Sequence[Want]

    def poll(self) -> Poll:
        return Poll(
            self.name,
            5.0,
            tuple(self.wants),
            tuple(FetchProgress(want.etag, self.count, 1) for want in self.fetching),
            tuple(Ended(want.etag, LeaseOutcome.PUBLISHED) for want in self.published)
            + tuple(Ended(want.etag, LeaseOutcome.FAILED) for want in self.failed),
            unlimited=self.name == SERVER,
        )


sayings = st.builds(
    Saying,
    name=st.sampled_from([*MACHINES, *MACHINES, SERVER]),
    later_s=st.sampled_from([0.0, 0.05, 0.3, 0.6, 1.5, 4.0, 7.0, 70.0]),
    wants=files,
    fetching=files,
    count=st.integers(0, SIZE),
    published=st.lists(st.sampled_from(WANTS), max_size=2),
    failed=st.lists(st.sampled_from(WANTS), max_size=2),
    here=st.lists(st.sampled_from(WANTS), max_size=2),
)


class Watched:
    """A lease book, and what a bystander makes of it; `asked`: when each machine was last told of each repo's missing files."""

    def __init__(self) -> None:
        self.book, self.now = LeaseBook(TERMS), 1000.0
        self.asked: dict[RepoRef, dict[str, float]] = {repo: {} for repo in REPOS}

    def held(self) -> dict[Etag, HeldLease]:
        found = self.book.held(99, now=self.now)
        held = {one.etag: one for one in found}
        assert len(held) == len(found), "an etag has one holder"
        return held

    def say(self, saying: Saying) -> None:
        self.now += saying.later_s
        before, poll = self.held(), saying.poll()
        here = {want.etag for want in saying.here}
        grants, pause_s = self.book.poll(poll, Owner(7, saying.name), here=here, now=self.now)
        assert [grant.etag for grant in grants] == [want.etag for want in poll.wants], "a line for each want, in its order"
        assert TERMS.soonest_s <= pause_s <= TERMS.max_pause_s
        self._check_holders(saying.name, grants, before)
        self._check_share(saying, grants, before)

    def _check_holders(self, name: str, grants: Sequence[Grant], before: dict[Etag, HeldLease]) -> None:
        held = self.held()
        for grant in grants:
            if grant.role is LeaseRole.FETCH:
                assert held[grant.etag].fetcher == grant.fetcher == name, "what is to be fetched is held"
                had = before.get(grant.etag)
                assert name == SERVER or had is None or had.fetcher == name, "only the appliance takes a lease from another"
            elif grant.role is LeaseRole.WAIT and grant.etag in held:
                assert grant.fetcher == held[grant.etag].fetcher, "what is waited for is its holder"

    def _check_share(self, saying: Saying, grants: Sequence[Grant], before: dict[Etag, HeldLease]) -> None:
        held = self.held()
        for want, grant in zip(saying.wants, grants, strict=True):
            if grant.role is not LeaseRole.HERE:
                self.asked[want.repo][saying.name] = self.now
        for want, grant in zip(saying.wants, grants, strict=True):
            had = before.get(grant.etag)
            is_new = grant.role is LeaseRole.FETCH and (had is None or had.fetcher != saying.name)
            if is_new and saying.name != SERVER:
                asking = sum(self.now - at <= TERMS.asking_s for at in self.asked[want.repo].values())
                mine = sum(one.fetcher == saying.name and one.repo == want.repo for one in held.values())
                assert mine <= TERMS.share(asking), "a machine that is given a lease has no more than its share"


@settings(max_examples=60, deadline=None)
@given(said=st.lists(sayings, max_size=40))
def test_an_etag_has_one_holder_a_machine_its_share_and_silence_ends_all(said: list[Saying]) -> None:
    watched = Watched()
    for saying in said:
        watched.say(saying)
    watched.now += max(TERMS.max_patience_s, TERMS.forgotten_s) + SIZE / TERMS.finishing_bytes_s
    assert watched.held() == {}
    grants, _ = watched.book.poll(Poll("late", 5.0, WANTS), Owner(9, "late"), now=watched.now)
    assert grants[0].role is LeaseRole.FETCH
