"""The OpenAPI document is true: it has exactly our routes, and real answers are what it says."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from llmpt_tracker.control.messages import Swarm, SwarmPeer
from llmpt_tracker.openapi.document import document
from tests.unit.tracker.bodies import COMMIT, big, elsewhere, manifest, packed, report, small, torrent
from tests.unit.tracker.conftest import Api
from tests.unit.tracker.fakes import FakeAnnouncer
from tests.unit.tracker.json_schema import problems

A = torrent("a")
DOCUMENT = document()


def test_the_document_has_every_route_and_no_other(app: Flask) -> None:
    routes = set()
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/v1/"):
            path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
            routes |= {(path, method.lower()) for method in rule.methods or () if method not in ("HEAD", "OPTIONS")}
    assert routes == {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}


def test_every_reference_leads_somewhere() -> None:
    names = set(re.findall(r"'#/components/schemas/(\w+)'", repr(DOCUMENT)))
    assert names == set(DOCUMENT["components"]["schemas"])


POLL = {
    "machine": "m1",
    "stall_timeout_s": 5.0,
    "wants": [{"etag": A.etag.value, "size": A.size, "repo_type": "model", "repo_id": "org/name"}],
    "fetching": [{"etag": A.etag.value, "bytes": 1, "rate_bytes_s": 1}],
    "ended": [{"etag": A.etag.value, "outcome": "failed"}],
    "unlimited": False,
}
WRONG = {"etag": A.etag.value, "info_hash": str(A.info_hash), "reason": "another content"}

DOUBT = {"repo_type": "model", "repo_id": "org/name", "commit": COMMIT, "path": "m", "reason": "another etag"}
SAID = "/api/v1/seeders/server/repos"

REQUESTS: list[tuple[str, str, Callable[[Api], TestResponse]]] = [
    ("/api/v1/publish", "post", lambda api: api.publish(manifest(big("m", A), small("s"), torrents=packed(A)))),
    ("/api/v1/publish", "post", lambda api: api.publish({"torrents": packed(A)}, token="x")),
    ("/api/v1/publish", "post", lambda api: api.publish(b"{")),
    ("/api/v1/publish", "post", lambda api: api.publish(manifest(small("a/../b")))),
    ("/api/v1/torrents", "get", lambda api: api.get("/api/v1/torrents?include=metainfo,peers")),
    ("/api/v1/torrents", "get", lambda api: api.get("/api/v1/torrents?limit=0")),
    ("/api/v1/lookup", "post", lambda api: api.post("lookup", {"etags": [A.etag.value], "metainfo_of": [A.etag.value]})),
    ("/api/v1/lookup", "post", lambda api: api.post("lookup", {"etags": ["x"]})),
    ("/api/v1/torrents/{info_hash}", "get", lambda api: api.get(f"/api/v1/torrents/{A.info_hash}")),
    ("/api/v1/torrents/{info_hash}", "get", lambda api: api.get(f"/api/v1/torrents/{'0' * 64}")),
    ("/api/v1/torrents/{info_hash}/peers", "get", lambda api: api.get(f"/api/v1/torrents/{A.info_hash}/peers")),
    ("/api/v1/repos", "get", lambda api: api.get("/api/v1/repos")),
    (
        "/api/v1/repos/{repo_type}/{repo_id}/revisions/{revision}",
        "get",
        lambda api: api.get("/api/v1/repos/model/org/name/revisions/main"),
    ),
    (
        "/api/v1/repos/{repo_type}/{repo_id}/revisions/{revision}",
        "get",
        lambda api: api.get("/api/v1/repos/model/org/name/revisions/main?refresh=1"),
    ),
    ("/api/v1/seeders/{seeder_id}", "put", lambda api: api.beat(report())),
    ("/api/v1/seeders/{seeder_id}", "put", lambda api: api.beat({})),
    ("/api/v1/seeders/{seeder_id}/repos", "put", lambda api: api.send("PUT", SAID, {"repos": []})),
    ("/api/v1/seeders/{seeder_id}/repos", "put", lambda api: api.send("PUT", SAID, {})),
    ("/api/v1/mirrors", "get", lambda api: api.get("/api/v1/mirrors?state=queued,failed")),
    ("/api/v1/mirrors", "get", lambda api: api.get("/api/v1/mirrors?state=lost")),
    ("/api/v1/mirrors", "get", lambda api: api.get("/api/v1/mirrors?state=queued&order=next")),
    ("/api/v1/mirrors", "post", lambda api: api.send("POST", "/api/v1/mirrors", {"repo_id": "org/new"})),
    ("/api/v1/mirrors", "post", lambda api: api.send("POST", "/api/v1/mirrors", {}, token="x")),
    ("/api/v1/mirrors/{mirror_id}", "get", lambda api: api.get("/api/v1/mirrors/7")),
    ("/api/v1/mirrors/{mirror_id}", "put", lambda api: api.send("PUT", "/api/v1/mirrors/7", {"state": "done"})),
    ("/api/v1/tokens", "post", lambda api: api.post("tokens", {"name": "a"})),
    ("/api/v1/tokens", "post", lambda api: api.post("tokens", {})),
    ("/api/v1/leases", "post", lambda api: api.post("leases", POLL)),
    ("/api/v1/leases", "post", lambda api: api.post("leases", POLL, token="x")),
    ("/api/v1/reports", "post", lambda api: api.post("reports", WRONG)),
    ("/api/v1/doubts", "post", lambda api: api.post("doubts", DOUBT)),
    ("/api/v1/doubts", "post", lambda api: api.post("doubts", {**DOUBT, "repo_id": "org/lost"})),
    ("/api/v1/traffic", "get", lambda api: api.get("/api/v1/traffic")),
    ("/api/v1/traffic", "get", lambda api: api.get("/api/v1/traffic?x=1")),
    ("/api/v1/whoami", "get", lambda api: api.get("/api/v1/whoami?port=6881")),
    ("/api/v1/whoami", "get", lambda api: api.get("/api/v1/whoami", headers={"User-Agent": "llmpt/0.0.1"})),
    ("/api/v1/openapi.json", "get", lambda api: api.get("/api/v1/openapi.json")),
]


@pytest.mark.parametrize(("path", "method", "send"), REQUESTS)
def test_a_real_answer_is_what_the_document_says(
    api: Api, announcer: FakeAnnouncer, path: str, method: str, send: Callable[[Api], TestResponse]
) -> None:
    api.publish(manifest(big("m", A), small("s"), torrents=packed(A)))
    announcer.live[A.info_hash.truncated.hex()] = Swarm(1, 0, 0, (SwarmPeer(None, 6881),))
    answer = send(api)
    responses = DOCUMENT["paths"][path][method]["responses"]
    schema = responses[str(answer.status_code)]["content"][answer.mimetype]["schema"]
    assert problems(answer.get_json(), schema, DOCUMENT) == []


@pytest.mark.parametrize(
    "body",
    [
        manifest(big("m", A), elsewhere(small("s")), torrents=packed(A), absent=["b"], card={"license": "mit"}),
        {"torrents": packed(A)},
    ],
)
def test_a_body_that_the_tracker_accepts_is_what_the_document_asks_for(api: Api, body: dict[str, object]) -> None:
    assert api.publish(body).status_code == 200
    assert problems(body, DOCUMENT["components"]["schemas"]["Publish"], DOCUMENT) == []
