"""Leases: each file comes from the Hub once, whoever dies, and the work is shared."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpt.core.blob import Etag
from llmpt.core.leases import Ended, FetchProgress, Grant, LeaseOutcome, LeaseRole, Poll, Want
from llmpt.core.repo import RepoRef
from llmpt_tracker.announcer.leases.book import LeaseBook
from llmpt_tracker.announcer.leases.terms import LeaseTerms
from llmpt_tracker.control.messages import Owner
from tests.unit.tracker.announcer.lan_of_agents import REPO, Agent, Lan, files

MB = 1_000_000
RATE = 10.0 * MB
TERMS = LeaseTerms()
A, B, C = files(3, 100 * MB)


def ten_agents(seed: int) -> list[Agent]:
    begin = random.Random(seed)
    return [Agent(f"m{n}", files(12, 100 * MB), RATE, begins_at=begin.uniform(0, 0.4)) for n in range(10)]


@pytest.mark.parametrize("seed", range(3))
def test_ten_machines_fetch_each_of_twelve_files_once_and_share_the_work(seed: int) -> None:
    lan = Lan(ten_agents(seed))
    lan.run(until_s=60)
    assert Counter(etag for _, _, etag in lan.fetches) == Counter(file.etag for file in files(12, 0))
    assert {len(agent.granted) for agent in lan.agents} == {1, 2}
    ideal_s = 2 * 100 * MB / RATE  # two files at most, one after the other
    assert lan.elapsed <= 1.1 * ideal_s


@pytest.mark.parametrize("killed", [1, 3])
def test_a_machine_that_is_killed_in_the_middle_costs_one_file_twice(killed: int) -> None:
    lan = Lan(ten_agents(7))
    while lan.elapsed < 5:
        lan.step()
    for agent in [agent for agent in lan.agents if agent.fetching][:killed]:
        agent.alive = False
    lan.run(until_s=60)
    begun = Counter(etag for _, _, etag in lan.fetches)
    assert set(begun) == {file.etag for file in files(12, 0)} == set(lan.received)
    assert sum(begun.values()) <= 12 + killed
    assert all(agent.done_at for agent in lan.agents if agent.alive)


@pytest.mark.parametrize("ends", ["stalls", "dies"])
def test_a_lease_passes_on_within_the_stall_timeout_and_a_poll(ends: str) -> None:
    first = Agent("first", [A], RATE, stalls_at=2.0 if ends == "stalls" else float("inf"))
    lan = Lan([first, Agent("second", [A], RATE, begins_at=1.0)])
    while lan.elapsed < 2:
        lan.step()
    first.alive = ends != "dies"
    lan.run(until_s=60)
    assert [name for _, name, _ in lan.fetches] == ["first", "second"]
    assert lan.fetches[1][0] <= 2.0 + 5.0 + 0.5 + 0.2  # steps of the simulation


@settings(max_examples=25, deadline=None)
@given(
    agents=st.lists(
        st.tuples(
            st.floats(0, 3),  # begins at
            st.sampled_from([1.0, 4.0, 10.0]),  # rate, MB/s
            st.sampled_from([1, 3, 8]),  # workers
            st.none() | st.floats(0, 8),  # stalls at
            st.booleans(),  # in another order
        ),
        min_size=1,
        max_size=5,
    ),
    count=st.integers(1, 9),
    kills=st.lists(st.tuples(st.integers(0, 4), st.floats(0, 10)), max_size=2),
)
def test_whatever_stalls_or_dies_the_others_get_all_files_and_no_two_fetch_the_same(
    agents: list[tuple[float, float, int, float | None, bool]], count: int, kills: list[tuple[int, float]]
) -> None:
    wanted = files(count, 8 * MB)
    lan = Lan(
        [
            Agent(
                f"m{n}",
                wanted[::-1] if reverse else wanted,
                rate * MB,
                workers=workers,
                begins_at=begins,
                stalls_at=float("inf") if stalls is None else stalls,
            )
            for n, (begins, rate, workers, stalls, reverse) in enumerate(agents)
        ]
    )
    for index, at_s in sorted(kills, key=lambda kill: kill[1]):
        lan.run(until_s=at_s)
        if index < len(lan.agents):
            lan.agents[index].alive = False
    lan.run(until_s=400)
    assert all(agent.is_done(lan.elapsed) for agent in lan.agents)


class Talk:
    """Polls of single machines, by name, at a time that is set."""

    def __init__(self, terms: LeaseTerms = TERMS) -> None:
        self.leases, self.now = LeaseBook(terms), 0.0
        self.pause_s = 0.0

    def poll(self, name: str, *wants: Want, token: int | None = None, here: tuple[Etag, ...] = (), **more: Any) -> list[Grant]:
        ended = tuple(Ended(etag, LeaseOutcome.PUBLISHED) for etag in more.pop("published", ()))
        ended += tuple(Ended(etag, LeaseOutcome.FAILED) for etag in more.pop("failed", ()))
        owner = Owner(sum(name.encode()) if token is None else token, name)
        grants, self.pause_s = self.leases.poll(Poll(name, 5.0, wants, ended=ended, **more), owner, here=here, now=self.now)
        return list(grants)

    def roles(self, name: str, *wants: Want, **more: Any) -> list[tuple[str, str | None]]:
        return [(grant.role.value, grant.fetcher) for grant in self.poll(name, *wants, **more)]


def test_a_lone_machine_gets_the_first_file_at_once_and_the_others_after_the_rush() -> None:
    talk = Talk()
    assert talk.roles("a", A, B, C) == [("fetch", "a"), ("wait", None), ("wait", None)]
    assert talk.pause_s == TERMS.rush_s
    talk.now = 0.5
    assert talk.roles("a", B, C, fetching=(FetchProgress(A.etag, 5, 1),)) == [("fetch", "a"), ("fetch", "a")]


def test_in_the_rush_each_machine_gets_one() -> None:
    talk = Talk()
    assert [talk.roles(name, A, B, C).count(("fetch", name)) for name in "abc"] == [1, 1, 1]


def test_who_waits_is_told_who_fetches_how_far_and_how_fast() -> None:
    talk = Talk()
    talk.poll("a", A)
    talk.poll("a", fetching=(FetchProgress(A.etag, 30 * MB, 7 * MB),))
    assert talk.poll("b", A) == [Grant(A.etag, LeaseRole.WAIT, "a", 30 * MB, 7 * MB)]


def test_the_holder_is_told_so_again_when_it_has_not_begun() -> None:
    talk = Talk()
    assert talk.roles("a", A) == talk.roles("a", A) == [("fetch", "a")]
    assert talk.roles("a", A, fetching=(FetchProgress(A.etag, 1, 1),)) == [("wait", "a")]  # another program of that machine


def test_what_was_published_a_moment_ago_is_waited_for_and_then_passed_on() -> None:
    talk = Talk()
    talk.poll("a", A)
    talk.poll("a", published=(A.etag,))
    assert talk.poll("b", A) == [Grant(A.etag, LeaseRole.WAIT, "a", A.size, 0)]
    talk.now = TERMS.published_s
    assert talk.roles("b", A) == [("fetch", "b")]  # its seeder has not come


def test_what_is_here_is_nobodys_to_fetch() -> None:
    talk = Talk()
    assert talk.roles("a", A, B, here=(A.etag,)) == [("here", None), ("fetch", "a")]
    talk.now = 60.0
    assert talk.roles("b", A, here=(A.etag,)) == [("here", None)]
    assert [one.etag for one in talk.leases.held(9, now=0.0)] == [B.etag]


def test_who_goes_on_asking_for_what_is_here_fetches_it_once_for_all() -> None:
    talk = Talk()
    roles = []
    for talk.now in (0.0, 1.0, 2.0, 3.0, 3.5):
        roles += [talk.roles(name, A, here=(A.etag,))[0][0] for name in "ab"]
    assert roles == ["here"] * 6 + ["fetch", "wait"] * 2  # its seeder has died without a word
    talk.poll("a", published=(A.etag,))
    talk.poll("b")  # found it at last
    assert talk.roles("b", A, here=(A.etag,)) == [("here", None)]


def test_what_failed_is_rather_another_ones_but_nobody_waits_for_ever() -> None:
    talk = Talk()
    talk.poll("a", A)
    talk.poll("b", A)
    assert talk.roles("a", A, failed=(A.etag,)) == [("wait", None)]
    assert talk.roles("b", A) == [("fetch", "b")]
    talk.poll("b", failed=(A.etag,))
    assert talk.roles("a", A) == [("fetch", "a")]  # nobody else wants it any more


def test_a_fetch_that_nobody_is_known_to_do_is_its_reporters() -> None:
    talk = Talk()
    talk.poll("a", fetching=(FetchProgress(A.etag, 10 * MB, MB),))  # after a restart
    assert talk.roles("b", A) == [("wait", "a")]
    assert talk.leases.held(9, now=talk.now)[0].repo == REPO


def test_what_a_machine_fetched_before_a_restart_of_ours_counts_as_its_share() -> None:
    talk = Talk()
    going_on = tuple(FetchProgress(one.etag, 1, 1) for one in files(8, 100 * MB))
    later = Want(Etag("e" * 64), 1, REPO)
    assert talk.roles("a", later, fetching=going_on) == [("wait", None)]
    assert talk.roles("b", later) == [("fetch", "b")]


def test_who_stood_still_has_no_second_lease_for_that() -> None:
    talk = Talk()
    talk.poll("a", A)
    for talk.now in (1.0, 3.0, 5.0, 5.5):
        talk.poll("a", fetching=(FetchProgress(A.etag, 10, 0),))
    talk.now = 6.5
    assert talk.poll("a", fetching=(FetchProgress(A.etag, 10, 0),)) == []
    assert talk.roles("b", A) == [("fetch", "b")]
    assert talk.roles("a", fetching=(FetchProgress(A.etag, 99, 9),)) == []
    assert talk.roles("b", A) == [("fetch", "b")]  # nor one beside another


def test_who_has_every_byte_has_the_time_to_read_them_once() -> None:
    talk = Talk()
    big = Want(Etag("e" * 64), 10_000 * MB, REPO)
    talk.poll("a", big)
    for talk.now in (4.0, 8.0, 12.0, 16.0, 20.0):
        talk.poll("a", fetching=(FetchProgress(big.etag, big.size, 0),))
    assert talk.roles("b", big) == [("wait", "a")]


def test_a_slow_fetch_that_progresses_is_never_passed_on() -> None:
    talk = Talk()
    talk.poll("a", A)
    for second in range(1, 60):
        talk.now = second * 2.0
        talk.poll("a", fetching=(FetchProgress(A.etag, second, 1),))
    assert talk.roles("b", A) == [("wait", "a")]


def test_the_appliance_goes_before_all_and_needs_no_share() -> None:
    talk = Talk()
    talk.poll("a", A)
    wants = [A, *files(40, 5)[3:]]
    assert talk.roles("server", *wants, unlimited=True) == [("fetch", "server")] * len(wants)
    assert talk.roles("a", A) == [("wait", "server")]


def test_bytes_from_the_hub_are_counted_once_and_the_appliances_by_repo() -> None:
    talk = Talk()
    talk.poll("server", A, unlimited=True)
    talk.poll("a", B)
    for talk.now, count in ((1.0, 30 * MB), (2.0, 60 * MB), (3.0, 50 * MB)):
        for name, file in (("server", A), ("a", B)):
            talk.poll(name, unlimited=name == "server", fetching=(FetchProgress(file.etag, count, 1),))
    fetched = talk.leases.take_fetched()
    assert (fetched.total, fetched.mirrored) == (120 * MB, {REPO: 60 * MB})
    talk.poll("a", published=(B.etag,))
    talk.poll("server", unlimited=True, failed=(A.etag,))
    assert talk.leases.take_fetched().total == 40 * MB
    assert talk.leases.take_fetched().total == 0


def test_a_machine_is_believed_as_many_bytes_as_a_line_can_bring() -> None:
    talk = Talk(LeaseTerms(fetched_bytes_s=10))
    talk.poll("a", Want(A.etag, 1 << 62, REPO))
    talk.now = 2.0
    talk.poll("a", fetching=(FetchProgress(A.etag, 1 << 62, 1),), published=(A.etag,))
    assert talk.leases.take_fetched().total == 20
    talk.poll("b", Want(C.etag, 1 << 62, REPO))
    talk.now = 4.0
    talk.poll("b", fetching=(FetchProgress(C.etag, 1 << 61, 1),))
    talk.poll("b", published=(C.etag,))
    assert talk.leases.take_fetched().total == 20


def test_what_the_appliance_has_taken_over_goes_on_when_it_asks_again() -> None:
    talk = Talk()
    talk.poll("a", A)
    talk.poll("server", A, unlimited=True)
    talk.poll("server", unlimited=True, fetching=(FetchProgress(A.etag, 5, 1),))
    talk.poll("server", A, unlimited=True)
    assert talk.poll("a", A) == [Grant(A.etag, LeaseRole.WAIT, "server", 5, 1)]


def test_a_machine_holds_so_many_leases_and_no_more() -> None:
    talk = Talk(LeaseTerms(max_held=2, rush_s=0.0))
    assert talk.roles("a", A, B, C) == [("fetch", "a"), ("fetch", "a"), ("wait", None)]


@pytest.mark.parametrize("b_had_one", [False, True])
def test_what_is_new_is_for_a_moment_the_turn_of_a_machine_that_has_had_fewer(b_had_one: bool) -> None:
    talk = Talk()
    talk.poll("a", A)
    talk.poll("b", *([B] if b_had_one else []), A)
    talk.now = 1.0
    talk.poll("a", published=(A.etag,))
    talk.poll("b", A, published=(B.etag,) if b_had_one else ())
    assert talk.roles("a", C) == [("fetch", "a") if b_had_one else ("wait", None)]
    talk.now += TERMS.turn_s
    assert talk.roles("a", C) == [("fetch", "a")]


def test_what_is_fetched_is_listed_with_how_many_wait() -> None:
    talk = Talk()
    talk.poll("a", A, B, fetching=(FetchProgress(C.etag, 5, 2),))
    for name in ("b", "c"):
        talk.poll(name, A)
    found = talk.leases.held(9, now=talk.now)
    assert [(one.etag, one.fetcher, one.bytes, one.waiting) for one in found] == [(C.etag, "a", 5, 0), (A.etag, "a", 0, 2)]
    assert len(talk.leases.held(1, now=talk.now)) == 1
    talk.now = 6.0
    assert talk.leases.held(9, now=talk.now) == []


def test_one_token_is_a_few_machines_at_most_and_the_oldest_goes() -> None:
    talk = Talk()
    for life in range(TERMS.max_lives + 1):
        talk.poll(f"life {life}", Want(Etag(f"{life:040x}"), 1, RepoRef("model", "of/one")), token=1)
    assert len(talk.leases._machines) == TERMS.max_lives
    assert talk.roles("b", Want(Etag(f"{0:040x}"), 1, RepoRef("model", "of/one"))) == [("fetch", "b")]


def test_all_that_is_remembered_has_a_bound() -> None:
    talk = Talk(LeaseTerms(max_machines=5, max_leases=5, max_remembered=5, max_held=5, max_wants=5))
    for number in range(40):
        talk.now += 0.01
        wants = tuple(Want(Etag(f"{number:032x}{index:08x}"), 1, RepoRef("model", f"r/{number}-{index}")) for index in range(20))
        talk.poll(f"m{number}", *wants, token=number, failed=tuple(want.etag for want in wants[:2]))
        talk.poll(f"m{number}", token=number, failed=(wants[0].etag,), published=(wants[1].etag,))
    book = talk.leases
    owned = {**vars(book), **vars(book._past)}
    held = {name: value for name, value in owned.items() if hasattr(value, "__len__")}
    assert {name: len(value) for name, value in held.items() if name != "_past" and len(value) > 10} == {}
    assert held.keys() >= {"_machines", "_repos", "_leases", "_past", "_free", "_published", "_let_go"}
    talk.now += TERMS.forgotten_s + 1
    talk.poll("the last one")
    assert {name: len(value) for name, value in held.items() if value} == {"_machines": 1}


def test_one_file_more_is_left_for_a_moment_to_the_machine_that_has_had_none() -> None:
    talk = Talk()
    assert talk.roles("a", A) == [("fetch", "a")]
    assert talk.roles("b", A) == [("wait", "a")]
    talk.now += TERMS.rush_s + 0.1
    assert talk.roles("a", B, fetching=(FetchProgress(A.etag, 1, 1),)) == [("wait", None)]
    assert talk.roles("b", A, B) == [("wait", "a"), ("fetch", "b")]
    assert talk.roles("a", C, fetching=(FetchProgress(A.etag, 2, 1),)) == [("fetch", "a")], "each has had one"


def test_the_repo_that_was_asked_for_longest_ago_is_forgotten_and_no_other() -> None:
    talk = Talk()
    talk.poll("a", Want(C.etag, C.size, RepoRef("model", "org/older")))
    talk.now = 50.0
    talk.poll("a", A)
    talk.now = TERMS.forgotten_s + 1
    talk.poll("c", Want(C.etag, C.size, RepoRef("model", "org/third")))
    assert talk.roles("b", A, B) == [("fetch", "b"), ("fetch", "b")], "the rush for this repo is over since long"


def test_a_book_that_has_just_been_opened_lends_nothing_until_those_that_fetch_have_told_it() -> None:
    book = LeaseBook(opened_at=100.0)
    waiting, fetching = Poll("bob", wants=(A,)), Poll("ann", fetching=(FetchProgress(A.etag, 5, 1),))
    (grant,), again_s = book.poll(waiting, Owner(2, "bob"), now=100.1)
    assert (grant.role, grant.fetcher) == (LeaseRole.WAIT, None)
    assert again_s <= 1.5
    book.poll(fetching, Owner(1, "ann"), now=101.0)
    (grant,), _ = book.poll(waiting, Owner(2, "bob"), now=102.0)
    assert (grant.role, grant.fetcher) == (LeaseRole.WAIT, "ann")


def test_a_book_without_a_fetcher_lends_a_moment_after_it_was_opened() -> None:
    book = LeaseBook(opened_at=100.0)
    poll = Poll("bob", wants=(A,))
    book.poll(poll, Owner(2, "bob"), now=100.1)
    (grant,), _ = book.poll(poll, Owner(2, "bob"), now=101.6)
    assert grant.role is LeaseRole.FETCH


def test_a_book_that_has_just_been_opened_lends_nothing_that_machines_may_be_about_to_announce_again() -> None:
    book, poll, owner = LeaseBook(opened_at=100.0), Poll("bob", wants=(A,)), Owner(2, "bob")
    for now in (100.1, 102.0, 106.0):
        (grant,), _ = book.poll(poll, owner, listed={A.etag}, now=now)
        assert (grant.role, grant.fetcher) == (LeaseRole.WAIT, None), now
    (grant,), _ = book.poll(poll, owner, listed={A.etag}, now=106.2)
    assert grant.role is LeaseRole.FETCH


def test_it_is_open_from_the_first_poll_on_when_the_application_comes_later() -> None:
    book, poll, owner = LeaseBook(opened_at=100.0), Poll("bob", wants=(A,)), Owner(2, "bob")
    (grant,), _ = book.poll(poll, owner, now=105.0)
    assert grant.role is LeaseRole.WAIT
    (grant,), _ = book.poll(poll, owner, now=106.5)
    assert grant.role is LeaseRole.FETCH
    (grant,), _ = LeaseBook(opened_at=100.0).poll(poll, owner, now=160.0)
    assert grant.role is LeaseRole.FETCH, "it has been open for long"


def polled(book: LeaseBook, name: str, now: float, *, rate: int = 0, wants: bool = True, at: int | None = None) -> Grant | None:
    """Let a machine ask for A, or say how far it is with it; return what it is told."""
    fetching = () if at is None else (FetchProgress(A.etag, at, at // 10),)
    grants, _ = book.poll(
        Poll(name, wants=(A,) if wants else (), fetching=fetching, hub_rate_bytes_s=rate), Owner(ord(name[0]), name), now=now
    )
    return grants[0] if grants else None


def slowly_fetched(book: LeaseBook, until: int) -> None:
    """The first machine fetches A at 100 kB/s from 0 until then, a second for each step; the second waits."""
    polled(book, "wifi", 0)
    for second in range(1, until + 1):
        book.poll(Poll("wifi", fetching=(FetchProgress(A.etag, second * 100_000, 100_000),)), Owner(ord("w"), "wifi"), now=second)


def test_a_lease_goes_to_a_machine_that_is_measured_to_be_much_faster() -> None:
    book = LeaseBook()
    slowly_fetched(book, 4)
    early = polled(book, "fast", 4.1, rate=10 * MB)
    assert early is not None
    assert early.role is LeaseRole.WAIT, "the first has not shown its pace"
    slowly_fetched(book, 6)
    unknown, same = polled(book, "other", 6.1), polled(book, "same", 6.2, rate=MB // 2)
    assert unknown is not None
    assert same is not None
    assert {unknown.role, same.role} == {LeaseRole.WAIT}
    told = polled(book, "fast", 6.3, rate=10 * MB)
    assert told is not None
    assert told.role is LeaseRole.FETCH
    slowly_fetched_still = polled(book, "wifi", 7, wants=False, at=700_000)
    assert slowly_fetched_still is None
    waits = polled(book, "other", 7.1)
    assert waits is not None
    assert (waits.role, waits.fetcher) == (LeaseRole.WAIT, "fast")


def test_a_lease_that_is_nearly_over_stays_where_it_is() -> None:
    book = LeaseBook()
    polled(book, "wifi", 0)
    for second in range(1, 7):
        book.poll(
            Poll("wifi", fetching=(FetchProgress(A.etag, 95 * MB + second * MB // 10, MB // 10),)), Owner(1, "wifi"), now=second
        )
    told = polled(book, "fast", 6.1, rate=100 * MB)
    assert told is not None
    assert told.role is LeaseRole.WAIT


def test_a_file_is_not_passed_round_among_machines_that_promise_too_much() -> None:
    book, fetchers, now = LeaseBook(), [], 0.0
    for name in ("a", "b", "c", "d", "e"):
        told = polled(book, name, now, rate=100 * MB)
        assert told is not None
        fetchers.append(told.fetcher)
        for second in range(1, 7):
            holder = told.fetcher
            assert holder is not None
            polled(book, holder, now + second, wants=False, at=int(now + second) * 1000)
        now += 6.5
    assert fetchers == ["a", "b", "c", "c", "c"]
