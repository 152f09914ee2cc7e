"""A neighbour that fails is left alone: for a moment, then for longer, and not by all machines in step."""

from __future__ import annotations

import pytest

from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import TrackerUnavailable

GONE = TrackerUnavailable("no answer")
PAUSES = Pauses(first_s=1, longest_s=30, factor=2, jitter=0.5)


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def breaker(time: Time, pauses: Pauses = PAUSES, chance: float = 0.0) -> Breaker:
    return Breaker(pauses, clock=time, chance=lambda: chance)


def test_a_neighbour_that_has_not_failed_may_be_asked(time: Time) -> None:
    neighbour = breaker(time)
    assert neighbour.allows()
    assert (neighbour.why, neighbour.left_s, neighbour.failures) == (None, 0.0, 0)
    neighbour.raise_if_open()


def test_one_that_fails_is_left_alone_for_the_first_pause_and_then_asked_again(time: Time) -> None:
    neighbour = breaker(time)
    assert neighbour.failed(GONE) == 1
    time.now = 0.75
    assert not neighbour.allows()
    assert (neighbour.why, neighbour.left_s, neighbour.failures) == (GONE, 0.25, 1)
    with pytest.raises(TrackerUnavailable, match="no answer"):
        neighbour.raise_if_open()
    time.now = 1.0
    assert neighbour.allows()
    assert (neighbour.why, neighbour.left_s, neighbour.failures) == (None, 0.0, 1)
    neighbour.raise_if_open()


def test_each_pause_is_longer_than_the_one_before_up_to_the_longest(time: Time) -> None:
    neighbour = breaker(time)
    pauses = []
    for _ in range(8):
        pauses.append(neighbour.failed(GONE))
        time.now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert PAUSES.after(10**9, 0.0) == 30


def test_a_first_pause_that_is_longer_than_the_longest_is_the_longest() -> None:
    assert [Pauses(first_s=50, longest_s=30).after(times, 0.0) for times in (1, 2)] == [30, 30]


def test_a_factor_of_one_keeps_the_first_pause() -> None:
    assert Pauses(first_s=3, factor=1).after(10**9, 0.0) == 3


def test_chance_makes_a_pause_shorter_by_the_jitter_at_most_so_the_longest_stays_the_longest(time: Time) -> None:
    assert breaker(time, chance=0.5).failed(GONE) == 0.75
    assert breaker(time, chance=1.0).failed(GONE) == 0.5
    assert breaker(time, Pauses(first_s=1, jitter=0), chance=1.0).failed(GONE) == 1
    assert PAUSES.after(100, 1.0) == 15


def test_machines_that_fail_together_do_not_come_back_together() -> None:
    ends = {Breaker(PAUSES, clock=lambda: 0.0).failed(GONE) for _ in range(50)}
    assert len(ends) > 40
    assert all(0.5 <= end <= 1.0 for end in ends)


def test_what_was_under_way_together_is_one_failure(time: Time) -> None:
    neighbour = breaker(time)
    neighbour.failed(GONE)
    time.now = 0.5
    later = TrackerUnavailable("still no answer")
    assert neighbour.failed(later) == 0.5
    assert (neighbour.failures, neighbour.why) == (1, later)
    time.now = 1.0
    assert neighbour.failed(GONE) == 2


def test_an_answer_makes_the_next_pause_the_first_again(time: Time) -> None:
    neighbour = breaker(time)
    for _ in range(3):
        time.now += neighbour.failed(GONE)
    neighbour.succeeded()
    assert (neighbour.allows(), neighbour.failures) == (True, 0)
    assert neighbour.failed(GONE) == 1


def test_an_answer_while_it_is_left_alone_ends_that(time: Time) -> None:
    neighbour = breaker(time)
    neighbour.failed(GONE)
    neighbour.succeeded()
    assert neighbour.allows()
    assert neighbour.why is None


def test_what_the_neighbour_asks_for_stands_instead_of_our_pause_and_chance_only_adds_to_it(time: Time) -> None:
    assert breaker(time).failed(GONE, retry_after_s=7) == 7
    assert breaker(time, chance=0.5).failed(GONE, retry_after_s=8) == 10
    assert breaker(time, Pauses(first_s=600, longest_s=600)).failed(GONE, retry_after_s=7) == 7
    assert breaker(time).failed(GONE, retry_after_s=-1) == 0


def test_what_the_neighbour_asks_for_is_heeded_for_so_long_at_most(time: Time) -> None:
    assert breaker(time).failed(GONE, retry_after_s=86400) == 3600
    assert breaker(time, Pauses(longest_asked_s=60)).failed(GONE, retry_after_s=61) == 60


def test_a_wish_that_comes_while_it_is_left_alone_makes_that_longer_never_shorter(time: Time) -> None:
    neighbour = breaker(time)
    neighbour.failed(GONE, retry_after_s=10)
    assert neighbour.failed(GONE, retry_after_s=3) == 10
    assert neighbour.failed(GONE, retry_after_s=20) == 20
    assert neighbour.failures == 1


def test_a_failure_raised_twice_does_not_gather_tracebacks(time: Time) -> None:
    neighbour = breaker(time)
    neighbour.failed(GONE)
    depths = []
    for _ in range(2):
        with pytest.raises(TrackerUnavailable) as raised:
            neighbour.raise_if_open()
        depths.append(len(raised.traceback))
    assert depths[0] == depths[1]


def test_our_own_clock_and_chance_are_the_default() -> None:
    neighbour = Breaker()
    assert 14 <= Pauses().after(100, 0.99) <= 30
    assert 0.4 < neighbour.failed(GONE) <= 1.0
    assert 0 < neighbour.left_s <= 1.0


def test_what_was_dear_to_ask_in_vain_is_left_alone_for_longer(time: Time) -> None:
    assert breaker(time).failed(GONE, cost_s=0.1) == 1
    assert breaker(time).failed(GONE, cost_s=2) == 10
    assert breaker(time, chance=0.5).failed(GONE, cost_s=2) == 7.5
    assert breaker(time).failed(GONE, cost_s=100) == 30
