"""Where reading takes a token: what each asker sees of the catalogue, the pages, the blobs and the Hub's API."""

from __future__ import annotations

import base64
import dataclasses
import shutil
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from llmpt.core import bencode
from llmpt.core.leases import LeaseRole
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import RepoRef
from llmpt_tracker.app import create_app
from llmpt_tracker.control.messages import HeldLease
from llmpt_tracker.read_keys import KeyOwner, ReadKeys
from llmpt_tracker.rules import tokens
from llmpt_tracker.rules.rights import Rights
from llmpt_tracker.serve.key_file import ensure_key
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.bodies import COMMIT, big, manifest, packed, report, small, torrent
from tests.unit.tracker.conftest import NOW, Api, publisher, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs

OPEN, SECRET, BOTH, SHARED, COMING = (torrent(name) for name in ("open", "secret", "both", "shared", "coming"))
ROUTES = [
    "/",
    "/repos",
    "/repos/model/acme/open",
    "/repos/model/acme/open/revisions/main",
    "/activity",
    "/servers",
    "/install",
    "/api/v1/torrents",
    f"/api/v1/torrents/{OPEN.info_hash}",
    f"/api/v1/torrents/{OPEN.info_hash}.torrent",
    f"/api/v1/torrents/{OPEN.info_hash}/peers",
    "/api/v1/repos",
    "/api/v1/repos/model/acme/open/revisions/main",
    "/api/v1/mirrors",
    "/api/v1/mirrors/1",
    f"/blobs/{OPEN.etag}",
    "/api/models",
    "/api/models/acme/open",
    "/api/models/acme/none",
    "/acme/open/resolve/main/model.bin",
]


class World:
    """A tracker where reading takes a token, with an open and a secret repo, and two readers."""

    def __init__(self, app: Flask, announcer: FakeAnnouncer, blobs: FakeBlobs) -> None:
        self.app, self.announcer, self.blobs = app, announcer, blobs
        self.client: FlaskClient = app.test_client()
        self.api: Api = publisher(app)
        self.one, self.all = self.token("read", "acme/open"), self.token("read")
        self.but = self.token("read,share", "*,!acme/secret")
        self.sharer = self.token("share")
        lines = [big("model.bin", SECRET), big("both.bin", BOTH), small("secret.json")]
        assert self.api.publish(manifest(*lines, torrents=packed(SECRET, BOTH), repo_id="acme/secret")).status_code == 200
        lines = [big("model.bin", OPEN), big("both.bin", BOTH), small("open.json")]
        assert self.api.publish(manifest(*lines, torrents=packed(OPEN), repo_id="acme/open")).status_code == 200
        assert self.api.publish({"torrents": packed(COMING)}).status_code == 200
        assert self.api.post("publish", {"torrents": packed(SHARED)}, token=self.but).status_code == 200
        blobs.held |= {one.etag.value for one in (OPEN, SECRET, BOTH)}

    def token(self, scope: str, repos: str | None = None) -> str:
        rights = Rights.read(scope, repos)
        secret = tokens.new_secret(*rights.scopes)
        with state_of(self.app).database.writing() as session:
            tokens.grant(session, secret, rights, name=f"{scope} {repos}", now=NOW)
        return secret

    def revoke(self, secret: str) -> None:
        with state_of(self.app).database.writing() as session:
            token = tokens.find(session, secret)
            assert token is not None
            tokens.revoke(session, token.id, now=NOW)

    def get(self, path: str, token: str | None = None) -> TestResponse:
        return self.client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})

    def seen(self, token: str) -> set[str]:
        """Return the etags that a token sees, by the list and by look-ups of all."""
        listed = {one["etag"] for one in self.get("/api/v1/torrents?limit=100", token).get_json()["torrents"]}
        etags = [one.etag.value for one in (OPEN, SECRET, BOTH, SHARED, COMING)]
        found = self.api.post("lookup", {"etags": etags, "metainfo_of": etags}, token=token).get_json()["torrents"]
        looked_up = {one["etag"] for one in found}
        single = {
            etag for etag in etags if self.get(f"/api/v1/torrents?etag={etag}&include=metainfo", token).get_json()["torrents"]
        }
        assert listed == looked_up == single
        return listed


@pytest.fixture(scope="module")
def world(migrated: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("protected")
    shutil.copy(str(migrated), data / "tracker.db")
    ensure_key(data / "server.key")
    read = TrackerSettings.read({"LLMPT_DATA": str(data), "XDG_CONFIG_HOME": str(data)})
    announcer, blobs = FakeAnnouncer(), FakeBlobs()
    app = create_app(dataclasses.replace(read, require_read_token=True), lambda: NOW, announcer, blobs=blobs)
    yield World(app, announcer, blobs)
    state_of(app).database.engine.dispose()


def etags(*torrents: object) -> set[str]:
    return {str(getattr(one, "etag", one)) for one in torrents}


@pytest.mark.parametrize("path", ROUTES)
def test_without_a_token_that_counts_every_route_is_the_same_401(world: World, path: str) -> None:
    for secret in (None, "llmpt_read_unknown"):
        assert world.get(path, secret).status_code == 401
    assert world.get(path, world.sharer).status_code == 403  # what a machine gets for nothing reads nothing
    assert b"acme" not in world.get(path).data.replace(b"acme/none", b"")


def test_a_client_of_the_hub_is_told_so_in_its_words(world: World) -> None:
    answer = world.get("/api/models/acme/open")
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (401, "GatedRepo")
    granted = world.get("/api/models/acme/open", world.one)
    assert [one["rfilename"] for one in granted.get_json()["siblings"]] == ["both.bin", "model.bin", "open.json"]


@pytest.mark.parametrize(("repo", "beside"), [("acme/open", [BOTH, OPEN]), ("acme/secret", []), ("acme/none", [])])
def test_the_other_files_of_a_commit_are_told_of_to_those_that_may_read_it(
    world: World, repo: str, beside: list[Metainfo]
) -> None:
    asked = {"etags": [], "beside": {"repo_type": "model", "repo_id": repo, "commit": COMMIT}}
    found = world.api.post("lookup", asked, token=world.one).get_json()["torrents"]
    assert [one["etag"] for one in found] == [one.etag.value for one in beside]


@pytest.mark.parametrize(
    "path",
    ["/api/models/{}", "/{}/resolve/main/model.bin", "/{}/raw/main/x", "/api/models/{}/tree/main", "/api/models/{}/refs"],
)
def test_a_repo_that_is_not_granted_is_as_one_that_is_not_there(world: World, path: str) -> None:
    hidden, missing = (world.get(path.format(repo), world.but) for repo in ("acme/secret", "acme/absent"))
    assert hidden.status_code == missing.status_code == 404
    assert hidden.headers["X-Error-Code"] == missing.headers["X-Error-Code"] == "RepoNotFound"
    assert hidden.data.replace(b"secret", b"") == missing.data.replace(b"absent", b"")


def test_and_so_in_the_catalogue(world: World) -> None:
    paths = [f"/api/v1/repos/model/acme/{name}/revisions/{COMMIT}" for name in ("secret", "absent")]
    hidden, missing = (world.get(path, world.but) for path in paths)
    assert hidden.status_code == missing.status_code == 404
    assert hidden.data.replace(b"secret", b"") == missing.data.replace(b"absent", b"")
    assert world.get(f"/blobs/{SECRET.etag}", world.one).status_code == 404


def test_lists_hold_what_is_granted(world: World) -> None:
    assert world.seen(world.all) == etags(OPEN, SECRET, BOTH, SHARED, COMING)
    assert world.seen(world.one) == world.seen(world.but) == etags(OPEN, BOTH, SHARED)
    for token, names in ((world.one, ["acme/open"]), (world.all, ["acme/open", "acme/secret"])):
        assert [one["repo_id"] for one in world.get("/api/v1/repos", token).get_json()["repos"]] == names
        assert [one["id"] for one in world.get("/api/models", token).get_json()] == names
        assert [one["repo_id"] for one in world.get("/api/v1/repos?q=model", token).get_json()["repos"]] == names


def test_of_a_blob_in_two_repos_the_other_is_not_told(world: World) -> None:
    (found,) = world.get(f"/api/v1/torrents?etag={BOTH.etag}", world.one).get_json()["torrents"]
    assert {place["repo_id"] for place in found["appears_in"]} == {"acme/open"}
    asked = world.get("/api/v1/torrents?path=both.bin&repo_id=acme/secret", world.one)
    assert asked.get_json()["torrents"] == []


def test_a_blob_is_read_by_whom_one_of_its_repos_is_granted(world: World) -> None:
    for meta, status in ((OPEN, 302), (BOTH, 302), (SECRET, 404), (COMING, 404)):
        assert world.get(f"/blobs/{meta.etag}", world.one).status_code == status
    hidden = small("secret.json")["etag"]
    world.blobs.held.add(hidden)
    assert [world.get(f"/blobs/{hidden}", token).status_code for token in (world.one, world.all)] == [404, 302]


def test_a_browser_has_the_token_as_its_password(world: World) -> None:
    assert world.get("/").headers["WWW-Authenticate"].startswith("Basic ")
    assert world.get("/api/v1/repos").headers["WWW-Authenticate"].startswith("Bearer ")
    basic = {"Authorization": "Basic " + base64.b64encode(f"anybody:{world.one}".encode()).decode()}
    world.api.beat(report(problems=[{"what": "acme/secret: x", "reason": "rotten"}]))
    world.announcer.under_way = [HeldLease(SECRET.etag, 5, RepoRef("model", "acme/secret"), "ann", 1, 1, 0)]
    text = world.client.get("/", headers=basic).get_data(as_text=True)
    assert "acme/open" in text
    assert "secret" not in text
    for path in ("/repos", "/repos?sort=name", "/repos?sort=size", "/repos?q=model", "/activity", "/servers", "/install"):
        assert "secret" not in world.client.get(path, headers=basic).get_data(as_text=True), path
    assert "acme/secret" in world.get("/", world.all).get_data(as_text=True)
    for path in ("/repos/model/acme/secret", "/repos/model/acme/secret/revisions/main"):
        assert world.client.get(path, headers=basic).status_code == 404
    asked = world.client.post("/api/v1/lookup", json={"etags": [OPEN.etag.value]}, headers=basic)
    assert asked.status_code == 401  # what a browser adds by itself counts for GET


def test_announces_and_web_seeds_have_a_key_of_that_token_and_torrent(world: World) -> None:
    keys = state_of(world.app).read_keys
    assert isinstance(keys, ReadKeys)
    with state_of(world.app).database.reading() as session:
        number = getattr(tokens.find(session, world.one), "id", 0)
    owner = KeyOwner.of(number, NOW)
    key = keys.announce_key(owner, OPEN.info_hash.truncated)
    (found,) = world.get(f"/api/v1/torrents?etag={OPEN.etag}", world.one).get_json()["torrents"]
    assert found["announce_key"] == key
    assert keys.owner(key, OPEN.info_hash.truncated) == owner
    assert keys.owner(key, SECRET.info_hash.truncated) is None
    assert keys.owner(key.replace(f"r{number}t", f"r{number + 1}t"), OPEN.info_hash.truncated) is None
    file = bencode.decode(world.get(f"/api/v1/torrents/{OPEN.info_hash}.torrent", world.one).data)
    assert file[b"announce"].endswith(f"/announce/{key}".encode())
    (seed,) = file[b"url-list"]
    at = "/blobs/" + seed.decode().partition("/blobs/")[2]
    assert world.get(f"{at}{OPEN.etag}").status_code == 302
    assert world.get(f"{at}{SECRET.etag}").status_code == 401


def test_a_token_that_was_revoked_reads_nothing_more(world: World) -> None:
    gone = world.token("read")
    key = world.get(f"/api/v1/torrents?etag={OPEN.etag}", gone).get_json()["torrents"][0]["announce_key"]
    assert world.get(f"/blobs/{key}/{OPEN.etag}").status_code == 302
    world.revoke(gone)
    assert world.get(f"/blobs/{key}/{OPEN.etag}").status_code == 401
    assert {world.get(path, gone).status_code for path in ROUTES} == {401}


def test_sharing_takes_the_right_to_read_and_tells_of_nothing_else(world: World) -> None:
    want = [{"etag": one.etag.value, "size": one.size, "repo_type": "model", "repo_id": "acme/x"} for one in (SECRET, OPEN)]
    poll = {"machine": "m", "stall_timeout_s": 5.0, "wants": want, "fetching": [], "ended": []}
    assert world.api.post("leases", poll, token=world.sharer).status_code == 403
    assert world.api.post("publish", {"torrents": packed(OPEN)}, token=world.sharer).status_code == 403
    answer = world.api.post("leases", poll, token=world.but)
    assert {one["role"] for one in answer.get_json()["leases"]} == {LeaseRole.FETCH.value}
    assert set(world.announcer.polls[-1][2]) == etags(OPEN)


def test_what_is_needed_to_get_a_token_is_open(world: World) -> None:
    for path in ("/healthz", "/dist/", "/api/v1/hello?nonce=" + "0" * 64, "/api/v1/whoami", "/api/v1/openapi.json"):
        assert world.get(path).status_code == 200, path
    free = world.client.post("/api/v1/tokens", json={"name": "desk"})
    assert free.status_code == 201
    assert world.get("/api/v1/repos", free.get_json()["token"]).status_code == 403


def test_no_route_is_open_by_mistake(world: World) -> None:
    """A new route is closed: those that are not are named here."""
    found = set()
    for rule in world.app.url_map.iter_rules():
        if "GET" in (rule.methods or ()):
            path = rule.rule.replace("<repo_id:repo_id>", "a/b").replace("<int:mirror_id>", "1").replace("<path:", "<")
            for part in [part for part in path.split("/") if "<" in part]:
                path = path.replace(part, part.partition("<")[0] + "x" + part.partition(">")[2])
            if world.get(path).status_code not in (401, 405):
                found.add(rule.endpoint)
    known = {"health", "dist", "identity", "openapi", "versions", "static"}
    assert {name.partition(".")[0] for name in found} == known
