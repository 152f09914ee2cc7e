"""An endpoint with an upstream: what is asked of it, when, and what a client is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask

from llmpt.core.repo import RepoRef
from llmpt_tracker.app import create_app
from llmpt_tracker.errors import UpstreamRefused
from llmpt_tracker.rules.hub.learning import Learning, LearningTimings
from llmpt_tracker.rules.hub.revisions import HubRevision
from llmpt_tracker.rules.hub.upstream import AskedUpstream, Client, WantedFile
from llmpt_tracker.settings import TrackerSettings
from llmpt_tracker.state import attach
from llmpt_tracker.waiting import Waiting
from tests.unit.tracker.bodies import COMMIT, OTHER_COMMIT, manifest, small
from tests.unit.tracker.conftest import NOW, Api, publisher, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs
from tests.unit.tracker.hub_client import HubClient

CONFIG = small("config.json")


class FakeUpstream:
    """Does what it was told to when it is asked to learn; notes everything."""

    def __init__(self) -> None:
        self.learned: list[tuple[str, str | None]] = []
        self.fetched: list[tuple[str, str, str]] = []
        self.on_learn: Callable[[], object] = lambda: None
        self.on_fetch: Callable[[], object] = lambda: None

    @property
    def address(self) -> str | None:
        return "https://hub.example"

    def learn(self, repo: RepoRef, revision: str | None, asker: Client) -> None:
        self.learned.append((repo.id, revision))
        self.on_learn()

    def confirm(self, repo: RepoRef, ref: str, asker: Client) -> None:
        self.learn(repo, ref, asker)

    def fetch(self, wanted: WantedFile, asker: Client) -> None:
        self.fetched.append((wanted.commit, wanted.path, wanted.etag))
        self.on_fetch()

    def url(self, repo: RepoRef, revision: str, path: str) -> str:
        return f"https://hub.example/{repo}/resolve/{revision}/{path}"


@pytest.fixture
def upstream() -> FakeUpstream:
    return FakeUpstream()


@pytest.fixture
def app_with_upstream(settings: TrackerSettings, upstream: FakeUpstream) -> Iterator[Flask]:
    app = create_app(settings, lambda: NOW, FakeAnnouncer(), blobs=FakeBlobs(), upstream=upstream)
    yield app
    state_of(app).database.engine.dispose()


@pytest.fixture
def hub(app_with_upstream: Flask) -> HubClient:
    state = state_of(app_with_upstream)
    assert isinstance(state.blobs, FakeBlobs)
    assert isinstance(state.announcer, FakeAnnouncer)
    return HubClient(app_with_upstream, state.blobs, state.announcer)


@pytest.fixture
def seeder(app_with_upstream: Flask) -> Api:
    return publisher(app_with_upstream)


def test_what_the_catalogue_lacks_is_learned(hub: HubClient, seeder: Api, upstream: FakeUpstream) -> None:
    upstream.on_learn = lambda: seeder.publish(manifest(CONFIG))
    assert hub.head("/org/name/resolve/main/config.json").status_code == 200
    assert hub.json("/api/models/org/name")["sha"] == COMMIT
    assert upstream.learned[0] == ("org/name", "main")


def test_what_upstream_does_not_tell_is_not_found(hub: HubClient, upstream: FakeUpstream) -> None:
    assert hub.get("/api/models/org/name").headers["X-Error-Code"] == "RepoNotFound"
    assert upstream.learned == [("org/name", None)]


@pytest.mark.parametrize(("status", "code", "retry"), [(401, "GatedRepo", None), (404, "RevisionNotFound", None), (429, "", 17)])
def test_upstreams_own_no_reaches_the_client(
    hub: HubClient, upstream: FakeUpstream, status: int, code: str, retry: int | None
) -> None:
    def refuse() -> None:
        raise UpstreamRefused(status, code, "its own words", retry)

    upstream.on_learn = refuse
    answer = hub.head("/org/name/resolve/main/config.json")
    assert (answer.status_code, answer.headers.get("X-Error-Code", "")) == (status, code)
    assert answer.headers["X-Error-Message"] == "its own words"
    assert answer.headers.get("Retry-After") == (str(retry) if retry else None)


def test_a_ref_is_looked_up_anew_at_most_once_a_minute(hub: HubClient, seeder: Api, upstream: FakeUpstream) -> None:
    seeder.publish(manifest(CONFIG))
    for _ in range(3):
        assert hub.head("/org/name/resolve/main/config.json").status_code == 200
    assert upstream.learned == [("org/name", "main")]


def test_a_ref_that_has_moved_is_followed(hub: HubClient, seeder: Api, upstream: FakeUpstream) -> None:
    seeder.publish(manifest(CONFIG))
    upstream.on_learn = lambda: seeder.publish(manifest(CONFIG, commit=OTHER_COMMIT))
    assert hub.head("/org/name/resolve/main/config.json").headers["X-Repo-Commit"] == OTHER_COMMIT


def test_a_whole_commit_is_never_asked_about(hub: HubClient, seeder: Api, upstream: FakeUpstream) -> None:
    seeder.publish(manifest(CONFIG))
    assert hub.head(f"/org/name/resolve/{COMMIT}/config.json").status_code == 200
    assert hub.head(f"/org/name/resolve/{COMMIT}/none.json").status_code == 404
    assert upstream.learned == []


def test_a_commit_that_is_known_in_part_becomes_whole(hub: HubClient, seeder: Api, upstream: FakeUpstream) -> None:
    seeder.publish(manifest(complete=False))
    upstream.on_learn = lambda: seeder.publish(manifest(CONFIG))
    assert hub.head(f"/org/name/resolve/{COMMIT}/config.json").status_code == 200


def test_what_is_known_is_served_when_upstream_refuses(hub: HubClient, seeder: Api, upstream: FakeUpstream) -> None:
    def refuse() -> None:
        raise UpstreamRefused(429, "", "later", 5)

    seeder.publish(manifest(CONFIG))
    upstream.on_learn = refuse
    assert hub.head("/org/name/resolve/main/config.json").status_code == 200


def test_a_head_has_the_bytes_fetched(hub: HubClient, seeder: Api, upstream: FakeUpstream) -> None:
    seeder.publish(manifest(CONFIG))
    assert hub.head(f"/org/name/resolve/{COMMIT}/config.json").status_code == 200
    assert upstream.fetched == [(COMMIT, "config.json", CONFIG["etag"])]
    hub.blobs.held.add(CONFIG["etag"])
    hub.head(f"/org/name/resolve/{COMMIT}/config.json")
    assert len(upstream.fetched) == 1


def test_a_get_waits_until_the_bytes_begin_to_come(hub: HubClient, seeder: Api, upstream: FakeUpstream) -> None:
    seeder.publish(manifest(CONFIG))
    upstream.on_fetch = lambda: hub.blobs.held.add(CONFIG["etag"])
    assert "/blobs/" in hub.get("/org/name/resolve/main/config.json").headers["Location"]


def test_a_get_that_has_waited_long_enough_is_sent_upstream(hub: HubClient, seeder: Api, app_with_upstream: Flask) -> None:
    impatient = Learning(timings=LearningTimings(grows_within_s=0.2))
    attach(app_with_upstream, replace(state_of(app_with_upstream), learning=impatient))
    seeder.publish(manifest(CONFIG))
    answer = hub.get("/org/name/resolve/main/config.json")
    assert answer.headers["Location"] == f"https://hub.example/org/name/resolve/{COMMIT}/config.json"
    assert answer.headers["X-Repo-Commit"] == COMMIT


def test_when_many_wait_for_bytes_the_next_one_is_sent_upstream_at_once(
    hub: HubClient, seeder: Api, app_with_upstream: Flask, upstream: FakeUpstream
) -> None:
    seeder.publish(manifest(CONFIG))
    upstream.on_fetch = lambda: hub.blobs.held.add(CONFIG["etag"])
    state, reached = state_of(app_with_upstream), []
    attach(app_with_upstream, replace(state, waiting=Waiting(most=0, on_full=lambda: reached.append("full"))))
    assert "hub.example" in hub.get("/org/name/resolve/main/config.json").headers["Location"]
    assert reached == ["full"]
    hub.blobs.held.clear()
    attach(app_with_upstream, state)
    assert "/blobs/" in hub.get("/org/name/resolve/main/config.json").headers["Location"]


def test_after_a_minute_a_ref_is_looked_up_anew(upstream: FakeUpstream) -> None:
    now = [0.0]
    learning = Learning(monotonic=lambda: now[0])
    repo = RepoRef("model", "org/name")
    known = HubRevision(1, repo, COMMIT, True, None, NOW)
    asked = AskedUpstream(upstream, Client("10.0.0.7"))
    for now[0] in (0.0, 59.9, 60.0, 61.0):
        assert learning.look_up(asked, lambda: known, repo, "main", lambda one: one) is known
    assert upstream.learned == [("org/name", "main")] * 2
