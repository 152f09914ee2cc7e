"""May the LAN answer for a commit without the Hub, and how new is it where a ref points?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from llmpt_tracker.app import create_app
from llmpt_tracker.database.models import Ref, VisibilityRow
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import tokens
from llmpt_tracker.rules.rights import Rights
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.bodies import COMMIT, OTHER_COMMIT, elsewhere, manifest, small
from tests.unit.tracker.conftest import NOW, Api, publisher, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs
from tests.unit.tracker.hub.test_learning import FakeUpstream

HUB = "https://hub.example"
ROUTE = "/api/v1/repos/model/org/name/revisions"
DAY_S = 24 * 3600


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def upstream() -> FakeUpstream:
    return FakeUpstream()


@pytest.fixture
def app(settings: TrackerSettings, clock: Clock, upstream: FakeUpstream) -> Iterator[Flask]:
    made = create_app(settings, clock, FakeAnnouncer(), blobs=FakeBlobs(), upstream=upstream)
    yield made
    state_of(made).database.engine.dispose()


@pytest.fixture
def database(app: Flask) -> Database:
    return state_of(app).database


@pytest.fixture
def api(app: Flask) -> Api:
    return publisher(app)


def said(shown: str, age_s: int = 0, repo_id: str = "org/name") -> dict[str, Any]:
    return {"repo_type": "model", "repo_id": repo_id, "shown": shown, "age_s": age_s}


def say(api: Api, *words: dict[str, Any], seeder: str = "server", token: str | None = None, hub: str = HUB) -> int:
    return api.send("PUT", f"/api/v1/seeders/{seeder}/repos", {"hub": hub, "repos": list(words)}, token).status_code


def is_open(api: Api, revision: str = COMMIT) -> bool:
    told = api.get(f"{ROUTE}/{revision}").get_json()
    assert told["hub"] == (HUB if told["open"] else None)
    return bool(told["open"])


def token(database: Database, scopes: str, repos: str | None = None, *, appliance: bool = False) -> str:
    secret = tokens.new_secret()
    with database.writing() as session:
        tokens.grant(session, secret, Rights.read(scopes, repos), name=f"{scopes} of {repos}", now=NOW, appliance=appliance)
    return secret


def test_a_commit_is_open_that_is_whole_and_of_a_repo_that_is_public_or_named(api: Api) -> None:
    api.publish(manifest(small("a")))
    assert not is_open(api)
    for shown, opens in (("public", True), ("named", True), ("restricted", False)):
        assert say(api, said(shown)) == 200
        assert is_open(api) is is_open(api, "main") is opens
    assert say(api) == 200
    assert not is_open(api), "what is said no longer is void"


def test_a_commit_that_is_known_in_part_is_not_open(api: Api) -> None:
    api.publish(manifest(small("a"), complete=False))
    say(api, said("public"))
    assert not is_open(api)


def test_what_the_hub_said_counts_for_a_day_and_what_the_operator_said_until_it_is_taken_back(api: Api, clock: Clock) -> None:
    api.publish(manifest(small("a")))
    say(api, said("public", age_s=3600))
    clock.forward(DAY_S - 3600)
    assert is_open(api)
    clock.forward(3700)
    assert not is_open(api)
    say(api, said("named"))
    clock.forward(9 * DAY_S)
    assert is_open(api)


def test_a_word_from_before_the_clock_was_set_back_is_none(api: Api, clock: Clock) -> None:
    api.publish(manifest(small("a")))
    say(api, said("public"))
    clock.forward(-DAY_S)
    assert not is_open(api)
    say(api, said("public"))
    assert is_open(api)


def test_one_that_knows_of_a_restriction_closes_and_only_as_good_and_later_a_word_opens_again(
    api: Api, database: Database, clock: Clock
) -> None:
    api.publish(manifest(small("a")))
    best, lesser = token(database, "publish", appliance=True), token(database, "publish", "org/*")
    say(api, said("named"))
    say(api, said("public", age_s=60), token=lesser, seeder="lesser")
    assert is_open(api)
    say(api, said("restricted"), token=best, seeder="best")
    assert not is_open(api)
    clock.forward(60)
    say(api, said("public"), token=lesser, seeder="lesser")
    assert not is_open(api), "the seeder beside the tracker knows better"
    say(api, said("public"), token=best, seeder="best")
    assert is_open(api)


def test_a_repo_that_is_on_two_hubs_is_open_for_neither(api: Api, database: Database) -> None:
    api.publish(manifest(small("a")))
    other = token(database, "publish", "org/*")
    say(api, said("public"), hub="HTTPS://Hub.example:443/")
    assert is_open(api)
    say(api, said("named"), token=other, seeder="other", hub="https://hub.private.example")
    assert not is_open(api)
    say(api, said("named"), token=other, seeder="other", hub=HUB)
    assert is_open(api)
    say(api, said("public"), hub="https://hub.private.example")
    assert not is_open(api)


def test_the_hubs_routes_answer_for_the_hub_that_is_meant_if_one_is_named(api: Api, upstream: FakeUpstream) -> None:
    def asked(hub: str, repo: str = "org/name") -> int:
        return api.get(f"/api/models/{repo}/revision/main", headers={"X-Llmpt-Hub": hub} if hub else {}).status_code

    api.publish(manifest(small("a")))
    assert (asked("https://hub.example/"), asked("https://other.example")) == (200, 421), "upstream's"
    say(api, said("named"), hub="https://private.example")
    assert (asked("https://private.example"), asked(HUB), asked("")) == (200, 421, 200)
    assert (asked("https://private.example", "org/unknown"), asked(HUB, "org/unknown")) == (404, 421)


def test_a_seeder_that_names_no_hub_opens_nothing(api: Api) -> None:
    api.publish(manifest(small("a")))
    say(api, said("public"), hub="")
    assert not is_open(api)


def test_machines_that_share_open_nothing_nor_do_publishers_of_other_repos(api: Api, database: Database) -> None:
    api.publish(manifest(small("a")))
    assert say(api, said("public"), token=token(database, "share")) == 403
    assert say(api, said("public"), token=token(database, "read")) == 403
    assert say(api, said("public"), token=token(database, "publish", "other/*"), seeder="other") == 200
    assert not is_open(api)
    with database.reading() as session:
        assert session.query(VisibilityRow).count() == 0


def test_the_word_of_a_token_that_was_revoked_or_is_over_is_none(api: Api, database: Database, clock: Clock) -> None:
    api.publish(manifest(small("a")))
    for ends in ("revoked_at", "expires_at"):
        secret = token(database, "publish")
        say(api, said("named"), token=secret, seeder=ends)
        assert is_open(api)
        clock.forward(60)
        with database.writing() as session:
            setattr(tokens.find(session, secret), ends, clock.now - timedelta(seconds=30))
        assert not is_open(api)


def test_two_seeders_of_one_token_speak_for_themselves_as_long_as_they_live(api: Api, app: Flask) -> None:
    api.publish(manifest(small("a")))
    announcer = state_of(app).announcer
    assert isinstance(announcer, FakeAnnouncer)
    api.beat({"port": 1, "version": "1", "blobs": 0, "bytes": 0, "uploaded_bytes": 0, "upload_rate_bytes_s": 0}, seeder="one")
    say(api, said("named"), seeder="one")
    say(api, seeder="two")
    assert is_open(api)
    announcer.forget()
    say(api, seeder="two")
    assert not is_open(api)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"repos": [{"repo_type": "model"}]},
        {"repos": [said("secret")]},
        {"repos": [said("public", age_s=-1)]},
        {"repos": [said("public", repo_id="../x")]},
        {"repos": [{**said("public"), "more": 1}]},
        {"repos": [said("public")] * 20_001},
        {"repos": [], "hub": "hub.example"},
    ],
    ids=["nothing", "half", "word", "age", "name", "more", "many", "hub"],
)
def test_what_makes_no_sense_is_refused(api: Api, body: Any) -> None:
    assert api.send("PUT", "/api/v1/seeders/server/repos", body).status_code == 400


def test_a_seeder_without_a_proper_name_is_refused(api: Api) -> None:
    assert say(api, seeder="a%20b") == 422


# Where a ref points


def news(api: Api, revision: str = "main", **query: str) -> tuple[str, bool, int | None]:
    told = api.get(f"{ROUTE}/{revision}", query_string=query).get_json()
    return told["commit"], told["fresh"], told["ref_age_s"]


def lines() -> tuple[dict[str, Any], ...]:
    return (elsewhere(small("a")),)


def listed(api: Api, secret: str, commit: str = COMMIT) -> None:
    """Publish a listing as the seeder beside this tracker does with what upstream said."""
    assert api.publish(manifest(*lines(), commit=commit), token=secret).status_code == 200


def test_a_ref_says_how_old_the_word_on_it_is_and_a_commit_says_nothing_of_it(api: Api, clock: Clock) -> None:
    api.publish(manifest(small("a")))
    clock.forward(90)
    assert news(api) == (COMMIT, False, 90)
    api.publish(manifest(small("a")))
    assert news(api) == (COMMIT, False, 0), "it was published again"
    by_commit = api.get(f"{ROUTE}/{COMMIT}").get_json()
    assert "fresh" not in by_commit
    assert "ref_age_s" not in by_commit


def test_the_word_of_upstream_is_fresh_for_the_lifetime_of_a_ref(api: Api, database: Database, clock: Clock) -> None:
    best = token(database, "publish", appliance=True)
    listed(api, best)
    assert news(api) == (COMMIT, True, 0)
    clock.forward(60)
    assert news(api) == (COMMIT, True, 60)
    clock.forward(1)
    assert news(api) == (COMMIT, False, 61)


def test_a_listing_that_is_done_confirms_its_ref_where_it_points_there(api: Api, database: Database, clock: Clock) -> None:
    best = token(database, "publish", appliance=True)
    listed(api, best)
    clock.forward(600)
    mirror = api.send("POST", "/api/v1/mirrors", {"repo_id": "org/name", "revision": "main", "include": []}, best).get_json()
    done = {"state": "done", "commit": OTHER_COMMIT}
    api.send("PUT", f"/api/v1/mirrors/{mirror['id']}", done, best)
    assert news(api) == (COMMIT, False, 600), "upstream spoke of another commit, whose listing has not come"
    api.send("PUT", f"/api/v1/mirrors/{mirror['id']}", {**done, "commit": COMMIT})
    assert news(api) == (COMMIT, False, 600), "any publisher may say so: it is not upstream"
    api.send("PUT", f"/api/v1/mirrors/{mirror['id']}", {**done, "commit": COMMIT}, best)
    assert news(api) == (COMMIT, True, 0)


def test_a_ref_that_moved_on_a_publishers_word_is_not_fresh(api: Api, database: Database) -> None:
    best = token(database, "publish", appliance=True)
    listed(api, best)
    own = manifest(small("b"), commit=OTHER_COMMIT, seeder="server", anew=True)
    assert api.publish(own, token=best).status_code == 200
    assert news(api) == (OTHER_COMMIT, False, 0)


def test_a_moment_in_the_future_and_none_at_all_count_as_old(api: Api, database: Database, clock: Clock) -> None:
    best = token(database, "publish", appliance=True)
    listed(api, best)
    clock.forward(-3600)
    assert news(api) == (COMMIT, False, None)
    with database.writing() as session:
        for ref in session.query(Ref):
            ref.said_at = ref.confirmed_at = None  # as an older version left it
    assert news(api) == (COMMIT, False, None)


def test_upstream_is_asked_when_that_is_wanted_and_the_word_on_a_ref_is_old(
    api: Api, database: Database, clock: Clock, upstream: FakeUpstream
) -> None:
    best = token(database, "publish", appliance=True)
    listed(api, best)
    upstream.on_learn = lambda: listed(api, best, OTHER_COMMIT)
    assert news(api, refresh="1") == (COMMIT, True, 0)
    clock.forward(61)
    assert news(api) == (COMMIT, False, 61)
    assert api.get(f"{ROUTE}/{COMMIT}?refresh=1").get_json()["commit"] == COMMIT
    assert api.get(f"{ROUTE}/lost?refresh=1").status_code == 404
    assert upstream.learned == [], "a commit never changes, and what is not here is not asked for"
    assert news(api, refresh="1") == (OTHER_COMMIT, True, 0)
    assert upstream.learned == [("org/name", "main")]


def test_without_an_upstream_what_is_known_is_said(settings: TrackerSettings, clock: Clock) -> None:
    class Nothing(FakeUpstream):
        address = None

    app = create_app(dataclasses.replace(settings, ref_ttl_s=5), clock, FakeAnnouncer(), blobs=FakeBlobs(), upstream=Nothing())
    api = publisher(app)
    api.publish(manifest(small("a")))
    clock.forward(9)
    assert news(api, refresh="1") == (COMMIT, False, 9)
    state_of(app).database.engine.dispose()
