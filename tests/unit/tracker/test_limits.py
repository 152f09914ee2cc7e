"""A limit that was reached is a line in the log and one on the page, seldom."""

from __future__ import annotations

import logging

import pytest

from llmpt.host.pacing import SAID_EVERY_S
from llmpt_tracker.announcer.reached import MAX_REMEMBERED, SHOWN_S, ReachedLimits
from llmpt_tracker.limits import Limits
from tests.unit.tracker.conftest import Api
from tests.unit.tracker.fakes import FakeAnnouncer


def test_a_limit_that_is_reached_a_thousand_times_is_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    announcer, now = FakeAnnouncer(), [0.0]
    limits = Limits(announcer, clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            limits.reached("all seats are taken")
        assert announcer.limits == ["all seats are taken"]
        now[0] += SAID_EVERY_S
        limits.reached("all seats are taken")
    assert caplog.messages == ["all seats are taken (1 times)", "all seats are taken (1000 times)"]


def test_without_the_announcer_it_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    announcer = FakeAnnouncer()
    announcer.down = True
    Limits(announcer).reached("all seats are taken")
    assert "all seats are taken (1 times)" in caplog.messages


def test_the_announcer_shows_the_latest_first_and_forgets_them_after_a_while() -> None:
    reached = ReachedLimits()
    reached.note("a", times=1, now=0)
    reached.note("b", times=2, now=5)
    reached.note("a", times=3, now=10)
    assert reached.sentences(12) == ("a (4 times, last 2 s ago)", "b (2 times, last 7 s ago)")
    assert reached.sentences(10 + SHOWN_S) == ()
    reached.note("a", times=1, now=10 + SHOWN_S)
    assert reached.sentences(10 + SHOWN_S) == ("a (1 times, last 0 s ago)",)


def test_only_so_many_are_remembered() -> None:
    reached = ReachedLimits()
    for number in range(MAX_REMEMBERED + 1):
        reached.note(str(number), times=1, now=number)
    assert len(reached.sentences(MAX_REMEMBERED)) == MAX_REMEMBERED


def test_the_page_shows_them(api: Api, announcer: FakeAnnouncer) -> None:
    assert "Limits that were reached" not in api.get("/").get_data(as_text=True)
    announcer.limits = ["all seats are taken (4 times, last 2 s ago)"]
    assert "all seats are taken (4 times, last 2 s ago)" in api.get("/").get_data(as_text=True)
