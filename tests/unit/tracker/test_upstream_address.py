"""Which upstream the tracker has: the one that a seeder's heartbeat tells."""

from __future__ import annotations

import pytest
from flask import Flask

from llmpt_tracker.app import create_app
from llmpt_tracker.control.messages import SeederReport
from llmpt_tracker.settings import TrackerSettings
from llmpt_tracker.upstream_address import BELIEVED_S, UpstreamAddress, told_by
from tests.unit.tracker.bodies import report
from tests.unit.tracker.conftest import NOW, Api, publisher, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs

HUB, OTHER = "https://huggingface.co", "http://mirror.example"


def seeder(upstream: str | None, age_s: float) -> SeederReport:
    return SeederReport("s", age_s, {"upstream": upstream})


@pytest.mark.parametrize(
    ("seeders", "told"),
    [
        ([], None),
        ([seeder(None, 1)], None),
        ([SeederReport("older", 1, {})], None),
        ([seeder(HUB, 1)], HUB),
        ([seeder(None, 1), seeder(HUB, 20)], HUB),
        ([seeder(OTHER, 9), seeder(HUB, 3)], HUB),
        ([seeder(HUB, 300)], HUB),
        ([seeder(None, 1), seeder(HUB, 300)], None),
    ],
)
def test_the_upstream_is_that_of_a_seeder_that_is_alive_and_of_a_silent_one_only_where_all_are(
    seeders: list[SeederReport], told: str | None
) -> None:
    assert told_by(seeders) == told


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_is_asked_for_once_in_a_while_and_outlasts_an_announcer_that_restarts() -> None:
    announcer, clock = FakeAnnouncer(), Clock()
    address = UpstreamAddress(announcer, clock=clock)
    assert address() is None
    announcer.beats["s"] = ("key", {"upstream": HUB})
    assert address() == HUB, "that there is none is not believed for a moment"
    announcer.beats["s"] = ("key", {"upstream": OTHER})
    assert address() == HUB, "it was asked a moment ago"
    clock.now += BELIEVED_S
    assert address() == OTHER
    announcer.down = True
    clock.now += BELIEVED_S
    assert address() == OTHER


@pytest.fixture
def app_of_its_own(settings: TrackerSettings) -> Flask:
    return create_app(settings, lambda: NOW, FakeAnnouncer(), blobs=FakeBlobs())


def test_a_heartbeat_turns_the_upstream_on(app_of_its_own: Flask) -> None:
    api, state = publisher(app_of_its_own), state_of(app_of_its_own)
    assert api.send("POST", "/api/v1/mirrors", {"repo_id": "org/new"}).status_code == 409
    assert api.send("PUT", "/api/v1/seeders/me", report(upstream=HUB)).status_code == 200
    assert api.send("POST", "/api/v1/mirrors", {"repo_id": "org/new"}).status_code == 202
    later = create_app(state.settings, lambda: NOW, state.announcer, blobs=FakeBlobs())  # another process of the application
    assert Api(later, api.token).send("POST", "/api/v1/mirrors", {"repo_id": "org/newer"}).status_code == 202
    for app in (app_of_its_own, later):
        state_of(app).database.engine.dispose()


@pytest.mark.parametrize("upstream", ["hub", "ftp://hub", "http://a b", "http://hub\n", "http://" + "x" * 2000, 7])
def test_an_upstream_that_is_no_address_is_refused(api: Api, upstream: object) -> None:
    assert api.send("PUT", "/api/v1/seeders/me", report(upstream=upstream)).status_code == 400
