"""What the lease book remembers of etags that no machine fetches now, and when it forgets."""

from __future__ import annotations

import math
from dataclasses import replace

from llmpt.core.blob import Etag
from llmpt_tracker.announcer.leases.past import Past
from llmpt_tracker.announcer.leases.state import Lease, Machine, RepoTurns
from llmpt_tracker.announcer.leases.terms import LeaseTerms
from tests.unit.tracker.announcer.lan_of_agents import REPO

TERMS = LeaseTerms()
A, B, C = (Etag(digit * 64) for digit in "abc")


def machine(key: str = "m") -> Machine:
    return Machine(key, 1, f"name of {key}", 0.0, TERMS)


def lease(etag: Etag, holder: Machine, count: int = 0) -> Lease:
    return Lease(etag, 10, REPO, holder, False, 0.0, bytes=count)


def test_what_is_wanted_is_free_since_it_was_first_seen_to_be_until_it_is_taken() -> None:
    past = Past(TERMS)
    assert [past.free_since(A, now) for now in (5.0, 6.0)] == [5.0, 5.0]
    past.taken(A)
    past.taken(A)
    assert past.free_since(A, 7.0) == 7.0


def test_what_was_given_up_is_free_at_once_and_its_machine_is_remembered() -> None:
    past, holder = Past(TERMS), machine()
    assert past.let_go_at(A, holder) == -math.inf
    past.note_let_go(lease(A, holder, 4), 9.0)
    assert past.free_since(A, 9.0) == 9.0 - TERMS.turn_s
    assert past.let_go_at(A, holder) == 9.0
    assert past.has_let_go(A, holder)
    assert not past.has_let_go(A, machine("other"))
    assert [past.stood_still(A, holder, count) for count in (3, 4, 5)] == [True, True, False]
    assert not past.stood_still(A, machine("other"), 0)


def test_each_memory_ends_at_its_time() -> None:
    past, holder = Past(TERMS), machine()
    past.free_since(A, 0.0)
    past.note_published(lease(B, holder), 0.0)
    past.note_let_go(lease(C, holder), 0.0)
    past.prune(TERMS.published_s - 0.1)
    published = past.published(B)
    assert published is not None
    assert (published.at_s, published.fetcher, published.size) == (0.0, "name of m", 10)
    past.prune(TERMS.published_s)
    assert past.published(B) is None
    past.prune(TERMS.forgotten_s - TERMS.turn_s)
    assert len(past) == 3, "A and C are free, and C was let go"
    past.prune(TERMS.forgotten_s)
    assert past.free_since(A, 99.0) == 0.0, "at the very moment it is remembered still"
    past.prune(TERMS.forgotten_s + 0.1)
    assert len(past) == 0


def test_the_oldest_goes_first_and_what_came_later_stays() -> None:
    past, holder = Past(TERMS), machine()
    for now, etag in ((0.0, A), (50.0, B)):
        past.free_since(etag, now)
        past.note_let_go(lease(etag, holder), now)
    past.note_published(lease(A, holder), 56.0)
    past.note_published(lease(B, holder), 60.0)
    past.prune(61.0)
    assert [past.has_let_go(etag, holder) for etag in (A, B)] == [False, True]
    assert [past.published(etag) is not None for etag in (A, B)] == [False, True]
    assert [past.free_since(etag, 70.0) for etag in (B, A)] == [50.0 - TERMS.turn_s, 70.0]


def test_of_too_many_the_oldest_is_forgotten() -> None:
    past, holder = Past(replace(TERMS, max_remembered=2)), machine()
    for now, etag in enumerate((A, B, C)):
        past.note_published(lease(etag, holder), now)
        past.note_let_go(lease(etag, holder), now)
    past.prune(2.0)
    assert [past.published(etag) is not None for etag in (A, B, C)] == [False, True, True]
    assert [past.has_let_go(etag, holder) for etag in (A, B, C)] == [False, True, True]
    assert [past.free_since(etag, 50.0) < 50 for etag in (B, C, A)] == [True, True, False]


def test_what_is_published_again_counts_from_then() -> None:
    past, holder = Past(replace(TERMS, max_remembered=2)), machine()
    for now, etag in enumerate((A, B, A, C)):
        past.note_published(lease(etag, holder), now)
    past.prune(3.0)
    assert [past.published(etag) is not None for etag in (A, B, C)] == [True, False, True]


def test_a_machine_that_has_not_asked_for_a_while_has_no_share_any_more() -> None:
    turns = RepoTurns(0.0, TERMS)
    one, other = machine("one"), machine("other")
    turns.ask(one, 0.0)
    turns.ask(other, 5.0)
    turns.had = {"one": 3, "other": 1}
    turns.ask(other, TERMS.asking_s)
    assert (turns.share, turns.asked_at) == (4, TERMS.asking_s)
    turns.ask(other, TERMS.asking_s + 0.1)
    assert (turns.share, turns.had) == (8, {"other": 1})


def test_leases_and_repos_are_themselves_and_not_their_fields() -> None:
    holder = machine()
    assert lease(A, holder) != lease(A, holder)
    assert machine() != machine()
    assert RepoTurns(0.0, TERMS) != RepoTurns(0.0, TERMS)
