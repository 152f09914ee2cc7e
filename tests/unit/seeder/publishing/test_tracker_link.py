"""The link to the tracker: when the next heartbeat goes out, what is retried at once, and what is said."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from llmpt.core.breaker import Pauses
from llmpt.core.errors import TrackerRefused, TrackerUnavailable
from llmpt.host.loops import Health, start
from llmpt_seeder.publishing.tracker_link import Identity, LinkTimings, TrackerLink
from tests.support.waiting import eventually
from tests.unit.seeder.fakes import FakeTracker

ME = Identity("me", lambda: "good", "the data folder")
TIMINGS = LinkTimings()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Impatient(threading.Event):
    """Not set, and never waits."""

    def wait(self, timeout: float | None = None) -> bool:
        return False


class Flaky(FakeTracker):
    """Fails as often as `failures` says, each time with its next error."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = []

    def publish(self, body: Mapping[str, object]) -> dict[str, object]:
        if self.failures:
            raise self.failures.pop(0)
        return super().publish(body)


@pytest.fixture
def tracker() -> Flaky:
    return Flaky()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timings(clock: Clock) -> LinkTimings:
    return LinkTimings(pauses=Pauses(first_s=1, longest_s=10, jitter=0), clock=clock)


@pytest.fixture
def link(tracker: Flaky, timings: LinkTimings) -> TrackerLink:
    return TrackerLink(ME, tracker.connect, report=lambda: {"blobs": 0}, on_news=lambda: None, stop=Impatient(), timings=timings)


def test_heartbeats_are_regular_and_sooner_after_a_failure(tracker: Flaky, link: TrackerLink, clock: Clock) -> None:
    assert link.heartbeat() == TIMINGS.heartbeat_s
    tracker.up = False
    pauses = []
    for _ in range(6):
        pauses.append(link.heartbeat())
        clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 10, 10]
    assert not link.is_up
    tracker.up = True
    assert link.heartbeat() == TIMINGS.heartbeat_s
    assert link.is_up


def test_with_something_to_tell_the_next_heartbeat_does_not_wait_its_turn(tracker: Flaky) -> None:
    stop, told = threading.Event(), []
    link = TrackerLink(
        ME,
        tracker.connect,
        report=lambda: told.append(1) or {"blobs": len(told)},  # type: ignore[func-returns-value]
        on_news=lambda: None,
        stop=stop,
    )
    thread = start("heartbeat", link.heartbeat, stop=stop, health=Health(), wait=link.wait)
    try:
        eventually(lambda: len(told) == 1, what="the first heartbeat")
        link.hurry()
        eventually(lambda: len(told) == 2, timeout_s=TIMINGS.heartbeat_s / 2, what="the second, long before its time")
    finally:
        stop.set()
        link.hurry()
        thread.join(5)
    assert not thread.is_alive()


def test_a_failure_is_said_once(tracker: Flaky, link: TrackerLink, caplog: pytest.LogCaptureFixture) -> None:
    tracker.up = False
    for _ in range(5):
        link.heartbeat()
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "error",
    [
        TrackerUnavailable("gone"),
        TrackerRefused("busy", status=503, code="x"),
        TrackerRefused("slow", status=429, code="x"),
    ],
)
def test_a_publish_outlasts_a_restart_of_the_tracker(tracker: Flaky, link: TrackerLink, error: Exception) -> None:
    tracker.failures = [error, error]
    link.publish({"torrents": []})
    assert len(tracker.bodies) == 1


def test_a_publish_that_is_refused_is_not_repeated(tracker: Flaky, link: TrackerLink) -> None:
    tracker.failures = [TrackerRefused("no", status=422, code="x")] * 2
    with pytest.raises(TrackerRefused):
        link.publish({"torrents": []})
    assert len(tracker.failures) == 1


@pytest.mark.parametrize(("host", "url"), [("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]"), ("server", "server")])
def test_announces_go_to_the_host_at_which_the_tracker_is_reached(tracker: Flaky, link: TrackerLink, host: str, url: str) -> None:
    tracker.host = host
    link.heartbeat()
    assert link.welcome is not None
    assert link.welcome.announce_url == f"http://{url}:6969/announce/{'k' * 32}"


def test_an_answer_that_makes_no_sense_is_no_answer(link: TrackerLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.seeder.fakes.FakeConnection.heartbeat", lambda *_: {"boot_id": 7})
    link.heartbeat()
    assert not link.is_up
