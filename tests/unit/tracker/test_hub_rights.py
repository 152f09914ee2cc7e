"""The asker's own token of the Hub is held against the Hub, once in a while; neither kept nor told; without an answer: no."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from llmpt.core.repo import RepoRef
from llmpt_tracker.app import create_app
from llmpt_tracker.errors import RefusedAsHub
from llmpt_tracker.hub_rights import HubRights
from llmpt_tracker.serve.key_file import ensure_key
from llmpt_tracker.settings import TrackerSettings
from llmpt_tracker.state import attach
from tests.support.hub import FakeHub
from tests.unit.tracker.bodies import big, manifest, packed, small, torrent
from tests.unit.tracker.conftest import NOW, publisher, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs
from tests.unit.tracker.hub.test_learning import FakeUpstream

GATED, OTHER = RepoRef("model", "meta/gated"), RepoRef("model", "meta/other")
ANNS, EVES = "hf_anns_own_token", "hf_eves_own_token"
WEIGHTS = torrent("weights")


class World:
    """The rights that a Hub knows of, as somebody asks, and a clock."""

    def __init__(self, hub: FakeHub) -> None:
        self.hub, self.now, self.wait_s = hub, 1000.0, 0.0
        self.rights = HubRights(lambda: hub.url, wait_s=lambda _asker: self.wait_s, clock=lambda: self.now)

    def no(self, repo: RepoRef = GATED, token: str = ANNS) -> tuple[int, str] | None:
        """Return status and code of the no; None: it is a yes."""
        try:
            self.rights.check(repo, token, asker="10.0.0.7")
        except RefusedAsHub as error:
            return error.status, error.code
        return None


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        for repo in (GATED, OTHER):
            hub.add(repo.id, {"weights.bin": b"x"}, gated=True)
            hub.repos[repo.type, repo.id].readers = frozenset({ANNS}) if repo == GATED else frozenset()
        yield hub


@pytest.fixture
def world(hub: FakeHub) -> World:
    return World(hub)


def test_the_hubs_yes_and_its_no_stand_as_it_gave_them(world: World) -> None:
    assert world.no() is None
    assert world.no(OTHER) == (403, "GatedRepo"), "what is good for one repo is not for another"
    assert world.no(token=EVES) == (403, "GatedRepo")
    assert world.no(RepoRef("model", "no/repo")) == (401, "RepoNotFound")


def test_each_token_is_asked_for_once_in_a_while_for_each_repo_by_however_many(world: World) -> None:
    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(lambda _: world.no(), range(40))) == {None}
    assert len(world.hub.requests) == 1
    world.now += 299
    assert (world.no(), len(world.hub.requests)) == (None, 1)
    world.hub.repos[GATED.type, GATED.id].readers = frozenset()
    world.now += 2
    assert (world.no(), len(world.hub.requests)) == ((403, "GatedRepo"), 2), (
        "what is allowed no longer is not, some minutes later"
    )
    assert (world.no(), len(world.hub.requests)) == ((403, "GatedRepo"), 2)
    world.hub.repos[GATED.type, GATED.id].readers = frozenset({ANNS})
    world.now += 61
    assert (world.no(), len(world.hub.requests)) == (None, 3)


def test_where_the_hub_does_not_say_nobody_may(world: World) -> None:
    world.hub.mode.fail_status = 500
    assert world.no() == (503, "")
    world.hub.mode.fail_status = None
    assert world.no() == (503, ""), "it is left alone for a moment"
    world.now += 30
    assert world.no() is None
    world.hub.mode.fail_status = 500
    world.now += 301
    assert world.no() == (503, ""), "nor on a word that was given long ago"


def test_made_up_tokens_cost_the_hub_no_more_than_made_up_names(world: World) -> None:
    world.wait_s = 7.0
    with pytest.raises(RefusedAsHub) as no:
        world.rights.check(GATED, "hf_made_up", asker="10.0.0.66")
    assert (no.value.status, no.value.retry_after_s) == (429, 7)
    assert world.hub.requests == []


def test_a_token_is_in_no_log_and_in_no_memory(world: World, caplog: pytest.LogCaptureFixture) -> None:
    token = "hf_" + "secret"[::-1] * 5
    caplog.set_level(logging.DEBUG)
    world.no(token=token)
    world.hub.mode.fail_status = 500
    world.no(OTHER, token=token)
    assert token not in caplog.text
    assert token not in repr(vars(world.rights))
    assert all(len(name) == 32 for name in world.rights._said), "a hash with a key that nobody has"


# The endpoint, where reading takes a token


@pytest.fixture
def app(settings: TrackerSettings, hub: FakeHub) -> Iterator[Flask]:
    """A tracker where reading takes a token, with a gated repo of which the LAN has everything."""
    ensure_key(settings.key_file)
    reads_by_token = dataclasses.replace(settings, require_read_token=True)

    class Upstream(FakeUpstream):
        @property
        def address(self) -> str | None:
            return hub.url

    blobs, announcer = FakeBlobs(), FakeAnnouncer()
    app = create_app(reads_by_token, lambda: NOW, announcer, blobs=blobs, upstream=Upstream())
    lines = [big("weights.bin", WEIGHTS), small("config.json")]
    for repo in (GATED, OTHER):
        assert publisher(app).publish(manifest(*lines, torrents=packed(WEIGHTS), repo_id=repo.id)).status_code == 200
    blobs.held.add(WEIGHTS.etag.value)
    yield app
    state_of(app).database.engine.dispose()


def get(app: Flask, path: str, token: str | None = None) -> TestResponse:
    return app.test_client().get(path, headers={"Authorization": f"Bearer {token}"} if token else {})


def test_the_own_token_opens_the_repo_for_which_it_is_good_and_no_other(app: Flask, hub: FakeHub) -> None:
    route = f"/{GATED.id}/resolve/main/weights.bin"
    assert get(app, f"/api/models/{GATED.id}", ANNS).get_json()["siblings"]
    assert get(app, route, ANNS).status_code == 302
    assert len(hub.requests) == 1, "one question, whatever is asked of the repo"
    for asked, token, status in ((route, None, 401), (route, EVES, 403), (f"/{OTHER.id}/resolve/main/weights.bin", ANNS, 403)):
        no = get(app, asked, token)
        assert (no.status_code, no.headers["X-Error-Code"]) == (status, "GatedRepo")
        assert "Location" not in no.headers
        assert "ETag" not in no.headers


def test_it_opens_nothing_but_the_hubs_routes_of_that_repo(app: Flask, hub: FakeHub) -> None:
    routes = ["/", "/api/v1/repos", "/api/v1/torrents", f"/blobs/{WEIGHTS.etag}", "/api/models"]
    for route in (*routes, f"/api/v1/repos/model/{GATED.id}/revisions/main"):
        assert get(app, route, ANNS).status_code == 401, route
    assert hub.requests == [], "there it is no token that counts, and the Hub is not asked"


@pytest.mark.parametrize("token", ["llmpt_read_mine", "llmpt_pub_mine", "something"])
def test_no_other_token_is_ever_shown_to_the_hub(app: Flask, hub: FakeHub, token: str) -> None:
    assert get(app, f"/api/models/{GATED.id}", token).status_code == 401
    assert hub.requests == []


def test_without_a_hub_behind_us_it_counts_for_nothing(app: Flask) -> None:
    state = state_of(app)
    attach(app, dataclasses.replace(state, behind=type("None", (FakeUpstream,), {"address": None})()))
    assert get(app, f"/api/models/{GATED.id}", ANNS).status_code == 401
