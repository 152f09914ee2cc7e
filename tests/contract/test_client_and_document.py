"""The client and the OpenAPI document agree: what it sends to a real tracker, and parses of its answers, is what that says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.leases import FetchProgress, Poll, Want
from llmpt.core.mirrors import MirrorAsk, MirrorReport, MirrorState
from llmpt.core.repo import Commit, RepoCommit, RepoRef
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.looked_up import Beside
from llmpt.tracker.wire import Reply, Wire
from llmpt_tracker.openapi.document import document
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import COMMIT, big, manifest, report, small, torrent
from tests.unit.tracker.json_schema import problems

A = torrent("a")
REPO = RepoRef("model", "org/name")
DOCUMENT = document()
DONE = MirrorReport(MirrorState.DONE, COMMIT, 1, 1, 5, 5)
REPORT = report(blob_port=8001, upstream="https://huggingface.co")
ASKS_NOTHING = {"with_token", "reader", "read_with", "patient"}
OUTSIDE = ("/healthz", "/livez")  # what the document is not about

Ask = Callable[[TrackerClient], object]
QUESTIONS: dict[str, Ask] = {
    "register_torrent": lambda client: client.register_torrent(A, repo_id="org/name", commit=COMMIT, path="m", refs=("main",)),
    "publish": lambda client: client.publish(manifest(big("m", A), small("s"), seeder="server")),
    "heartbeat": lambda client: client.heartbeat("server", REPORT),
    "get_torrents": lambda client: client.get_torrents(repo_id="org/name", revision="main", filename="m", etag=A.etag.value),
    "torrents": lambda client: list(client.torrents({"q": "org", "include": "metainfo,peers", "limit": "1"})),
    "pages": lambda client: list(client.pages("/api/v1/repos", {"limit": "1"})),
    "get": lambda client: client.get(f"/api/v1/torrents/{A.info_hash}/peers"),
    "question": lambda client: client.question("/api/v1/standing", {"etags": [A.etag.value]}),
    "lookup": lambda client: client.lookup(A.etag),
    "lookup_all": lambda client: client.lookup_all((A.etag,), {}, Beside(RepoCommit(REPO, Commit(COMMIT)), ())),
    "announce_keys": lambda client: client.announce_keys([A.etag]),
    "boot_id": lambda client: client.boot_id(),
    "ping": lambda client: client.ping(),
    "contact": lambda client: client.contact(),
    "holdings": lambda client: client.holdings("server"),
    "say_repos": lambda client: client.say_repos("server", [], hub="https://huggingface.co"),
    "share_token": lambda client: client.share_token("ann"),
    "leases": lambda client: client.leases(
        Poll("m1", wants=(Want(A.etag, A.size, REPO),), fetching=(FetchProgress(A.etag, 1, 1),), unlimited=True)
    ),
    "report": lambda client: client.report(A.etag, str(A.info_hash), "another content"),
    "ask_mirror": lambda client: client.ask_mirror(MirrorAsk(REPO, "main", ("*.bin",))),
    "mirrors": lambda client: client.mirrors([MirrorState.QUEUED]),
    "mirrors_in_order": lambda client: list(client.mirrors_in_order([MirrorState.QUEUED])),
    "mirror_orders": lambda client: client.mirror_orders(),
    "mirror": lambda client: client.mirror(client.mirrors()[0].id),
    "report_mirror": lambda client: client.report_mirror(
        client.mirrors()[0].id, MirrorReport(MirrorState.DONE, COMMIT, 1, 1, 5, 5)
    ),
    "Catalogue.whoami": lambda client: Catalogue(client).whoami(6881),
    "Catalogue.manifest": lambda client: Catalogue(client).manifest(REPO, "main"),
    "Catalogue.refreshed_manifest": lambda client: Catalogue(client).refreshed_manifest(REPO, "main"),
    "Catalogue.signed_manifest": lambda client: Catalogue(client).signed_manifest(REPO, "main"),
    "Catalogue.repos": lambda client: Catalogue(client).repos("org"),
    "Catalogue.where": lambda client: Catalogue(client).where([A.etag]),
    "Catalogue.health": lambda client: Catalogue(client).health(),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerClient]:
    root: Path = tmp_path_factory.mktemp("tracker")
    with TrackerProcess(root / "data") as tracker:
        asking = TrackerClient(tracker.url, token=tracker.token, timeout_s=20)
        asking.heartbeat("server", REPORT)
        yield asking


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Mapping[str, str], Any, dict[str, Any]]]:
    """Every request that was answered, with its answer."""
    seen: list[tuple[str, str, Mapping[str, str], Any, dict[str, Any]]] = []
    ask = Wire.call

    def call(self: Wire, method: str, path: str, query: Mapping[str, str], body: Any = None, **more: Any) -> Reply:
        reply = ask(self, method, path, query, body, **more)
        seen.append((method, path, dict(query), body, reply.document))
        return reply

    monkeypatch.setattr(Wire, "call", call)
    return seen


def test_every_question_of_the_client_is_asked_below() -> None:
    named = {name for name in vars(TrackerClient) if not name.startswith("_")} - ASKS_NOTHING
    of_the_catalogue = {f"Catalogue.{name}" for name in vars(Catalogue) if not name.startswith("_")}
    assert set(QUESTIONS) == named | of_the_catalogue


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_is_asked_and_what_is_answered_is_what_the_document_says(
    client: TrackerClient, exchanges: list[tuple[str, str, Mapping[str, str], Any, dict[str, Any]]], name: str
) -> None:
    QUESTIONS[name](client)
    assert exchanges, "nothing was asked, or nothing was answered"
    for method, path, query, body, answered in exchanges:
        if path not in OUTSIDE:
            assert disagreements(method, path, query, body, answered) == []


def disagreements(method: str, path: str, query: Mapping[str, str], body: Any, answered: dict[str, Any]) -> list[str]:
    """Say where an exchange is not what the document says."""
    found = [
        (way, item[method.lower()]) for way, item in DOCUMENT["paths"].items() if method.lower() in item and leads(way, path)
    ]
    if not found:
        return [f"{method} {path} is not in the document"]
    way, operation = min(found, key=lambda one: one[0].count("{"))
    known = {one["name"]: one["schema"] for one in operation.get("parameters", ()) if one["in"] == "query"}
    wrong = [f"{way}: no parameter {one}" for one in query.keys() - known.keys()]
    for one, text in query.items():
        schema = known.get(one, {})
        value = int(text) if schema.get("type") == "integer" and text.isdecimal() else text
        wrong += problems(value, schema, DOCUMENT, f"{way}?{one}")
    asked = operation.get("requestBody")
    if asked is not None:
        wrong += problems(body, asked["content"]["application/json"]["schema"], DOCUMENT, f"{way}: body")
    elif body is not None:
        wrong.append(f"{way} takes no body")
    (fine,) = (one for status, one in operation["responses"].items() if status.startswith("2"))
    schema = fine.get("content", {}).get("application/json", {}).get("schema", {})
    return wrong + problems(answered, schema, DOCUMENT, f"{way}: answer")


def leads(way: str, path: str) -> bool:
    """Whether a path of the document is that of a request."""
    pattern = re.sub(r"\\\{(\w+)\\\}", lambda name: ".+" if name[1] in ("repo_id", "revision") else "[^/]+", re.escape(way))
    return re.fullmatch(pattern, path) is not None
