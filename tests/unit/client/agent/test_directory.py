"""What the tracker says of this machine: how it sees us, and whether others can connect."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from llmpt.agent.directory import Directory, TrackerTimings
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerBusy, TrackerError, TrackerRefused, TrackerSlow, TrackerUnavailable
from llmpt.net.authorities import SYSTEM
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.looked_up import Contact
from llmpt.tracker.reading import ReadToken

TIMINGS = TrackerTimings()
SEEN = {"address": "10.0.0.7", "reachable": True, "version": "0.9", "protocol": 1, "oldest_client": "0.1.0"}


class FakeTracker:
    """Answers from memory, and counts how often it was asked who we are."""

    url = "http://tracker:8000"
    trust = SYSTEM
    reader = ReadToken()

    def __init__(self) -> None:
        self.boot_id = "one"
        self.min_blob_bytes: int | None = None
        self.whoami: dict[str, Any] | TrackerError = dict(SEEN)
        self.asked: list[dict[str, str]] = []
        self.silence: TrackerError | None = None
        self.questions = 0

    def contact(self) -> Contact:
        self.questions += 1
        if self.silence is not None:
            raise self.silence
        return Contact(self.boot_id, "http://tracker:6969/announce", self.min_blob_bytes)

    def get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        assert path == "/api/v1/whoami"
        self.asked.append(query)
        if isinstance(self.whoami, TrackerError):
            raise self.whoami
        return self.whoami


@pytest.fixture
def tracker() -> FakeTracker:
    return FakeTracker()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def directory(tracker: FakeTracker, clock: Clock | None = None) -> Directory:
    return Directory(cast(TrackerClient, tracker), peer_port=6882, timings=TIMINGS, clock=clock or Clock(), chance=lambda: 0.0)


def test_the_machine_knows_how_the_tracker_sees_it(tracker: FakeTracker) -> None:
    seen = directory(tracker)
    assert (seen.address, seen.reachable, seen.tracker_version) == (None, None, None)
    seen.contact()
    assert (seen.address, seen.reachable, seen.tracker_version) == ("10.0.0.7", True, "0.9")
    assert tracker.asked == [{"port": "6882"}]


def test_a_tracker_that_has_just_not_answered_a_program_is_left_alone_for_a_moment(tracker: FakeTracker) -> None:
    clock = Clock()
    seen = Directory(
        cast(TrackerClient, tracker), peer_port=6882, silent_for_s=1000.0, timings=TIMINGS, clock=clock, chance=lambda: 0.0
    )
    seen.contact()
    assert tracker.asked == []
    clock.now += TIMINGS.slow_s + 1
    seen.contact()
    assert tracker.asked


def test_it_asks_again_after_a_while_and_when_the_tracker_has_another_life(tracker: FakeTracker) -> None:
    clock = Clock()
    seen = directory(tracker, clock)
    for _ in range(3):
        seen.contact()
    assert len(tracker.asked) == 1
    tracker.boot_id = "two"
    seen.contact()
    assert len(tracker.asked) == 2
    clock.now += TIMINGS.reach_interval_s + 1
    seen.contact()
    assert len(tracker.asked) == 3


def test_a_machine_that_nobody_can_reach_is_told_once(tracker: FakeTracker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    tracker.whoami = {**SEEN, "reachable": False}
    clock = Clock()
    seen = directory(tracker, clock)
    for _ in range(3):
        seen.contact()
        clock.now += TIMINGS.reach_interval_s + 1
    assert seen.reachable is False
    assert [record.getMessage() for record in caplog.records if "6882 at 10.0.0.7" in record.getMessage()] != []
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "answer",
    [{name: said for name, said in SEEN.items() if name != "reachable"}, {**SEEN, "reachable": None}],
)
def test_a_tracker_that_does_not_say_leaves_it_open(tracker: FakeTracker, answer: dict[str, Any]) -> None:
    tracker.whoami = answer
    seen = directory(tracker)
    seen.contact()
    assert seen.reachable is None
    assert seen.answers


def test_a_tracker_that_falls_silent_here_is_left_alone(tracker: FakeTracker) -> None:
    tracker.whoami = TrackerUnavailable("silence")
    seen = directory(tracker)
    seen.contact()
    assert not seen.answers


def test_one_that_has_answered_before_has_too_much_to_do_and_is_asked_again(tracker: FakeTracker) -> None:
    clock = Clock()
    seen = directory(tracker, clock)
    seen.contact()
    tracker.silence = TrackerSlow("the answer took too long")
    clock.now += 1000
    seen.contact()
    clock.now += TIMINGS.slow_s - 1
    seen.contact()
    assert seen.answers
    clock.now += 2
    seen.contact()
    assert not seen.answers
    clock.now += TIMINGS.quiet.first_s + 1
    tracker.silence = None
    seen.contact()
    seen.heard()  # another question was answered
    tracker.silence = TrackerUnavailable("connection refused")
    seen.contact()
    assert not seen.answers, "it is not there"


@pytest.mark.parametrize(("silence", "is_there"), [(TrackerBusy("the announcer"), True), (TrackerUnavailable("no"), False)])
def test_a_tracker_that_says_that_it_is_busy_is_worth_waiting_for_though_it_never_answered(
    tracker: FakeTracker, silence: TrackerError, is_there: bool
) -> None:
    clock = Clock()
    seen, tracker.silence = directory(tracker, clock), silence
    seen.contact()
    assert (seen.answers, seen.may_be_back) == (False, is_there)
    clock.now += TIMINGS.restart_s
    assert not seen.may_be_back, "not for long"


def test_a_tracker_that_stays_away_is_asked_ever_less_often_and_at_least_each_half_minute(tracker: FakeTracker) -> None:
    clock = Clock()
    seen = directory(tracker, clock)
    tracker.silence = TrackerUnavailable("connection refused")
    asked_at = []
    while clock.now < 1120:
        before = tracker.questions
        seen.contact()
        if tracker.questions > before:
            asked_at.append(clock.now - 1000)
        clock.now += 1
    assert asked_at == [0, 1, 2, 4, 8, 16, 32, 62, 92]
    tracker.silence = None
    clock.now += 5
    seen.contact()
    assert seen.answers
    tracker.silence = TrackerUnavailable("connection refused")
    seen.contact()
    clock.now += 5
    tracker.silence = None
    seen.contact()
    assert seen.answers, "after an answer the first pause is short again"


def test_a_tracker_that_says_when_to_come_back_is_left_alone_until_then(tracker: FakeTracker) -> None:
    clock = Clock()
    seen = directory(tracker, clock)
    tracker.silence = TrackerRefused("too often", status=429, code="slow_down", retry_after_s=50)
    seen.contact()
    clock.now += 49
    seen.contact()
    assert tracker.questions == 1
    clock.now += 1
    seen.contact()
    assert tracker.questions == 2


def test_while_it_is_left_alone_a_look_up_says_so_at_once(tracker: FakeTracker) -> None:
    seen = directory(tracker)
    tracker.silence = TrackerUnavailable("connection refused")
    seen.contact()
    with pytest.raises(TrackerUnavailable, match=r"did not answer; asked again in 0 s"):
        seen.lookup(Etag("a" * 64))


def test_one_that_has_answered_before_and_refuses_may_be_back_for_a_moment(tracker: FakeTracker) -> None:
    clock = Clock()
    seen = directory(tracker, clock)
    tracker.silence = TrackerUnavailable("connection refused")
    seen.contact()
    assert not seen.may_be_back, "nothing is known of it"
    tracker.silence = None
    clock.now += 60
    seen.contact()
    assert not seen.may_be_back, "it is there"
    tracker.silence = TrackerUnavailable("connection refused")
    seen.contact()
    assert seen.may_be_back
    clock.now += TIMINGS.restart_s - 1
    seen.contact()
    assert seen.may_be_back
    clock.now += 2
    assert not seen.may_be_back, "it is out of action"


def test_one_that_has_just_gone_is_asked_at_each_watch_and_one_that_is_there_now_and_then(tracker: FakeTracker) -> None:
    clock = Clock()
    seen = directory(tracker, clock)
    seen.contact()
    for _ in range(2):
        clock.now += 5
        seen.watch()
    assert tracker.questions == 1
    clock.now += 5
    tracker.silence = TrackerUnavailable("connection refused")
    for asked in (2, 3, 4):
        seen.watch()
        assert tracker.questions == asked, "whatever the breaker says"
    tracker.silence = TrackerRefused("too often", status=429, code="slow_down", retry_after_s=50)
    seen.watch()
    seen.watch()
    assert tracker.questions == 5, "it is there, and wants to be left alone"


def test_a_new_life_of_it_is_heard_of_in_any_answer(tracker: FakeTracker) -> None:
    seen = directory(tracker)
    booted: list[str] = []
    seen.on_boot = booted.append
    seen.contact()
    seen.heard(tracker.boot_id)
    assert len(booted) == 1
    tracker.boot_id = "another"
    seen.heard("another")
    assert len(booted) == 2


def test_it_knows_the_size_from_which_on_the_tracker_has_swarms(tracker: FakeTracker) -> None:
    clock = Clock()
    seen = directory(tracker, clock)
    seen.contact()
    assert seen.min_blob_bytes is None
    tracker.min_blob_bytes = 4096
    seen.contact()
    assert seen.min_blob_bytes == 4096
