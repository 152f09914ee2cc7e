"""A tracker that answers what no answer can be: nothing of it is taken, nothing is written, and nothing of ours ends."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from llmpt import cli
from llmpt.archive.exporting import TRICKLE, Export
from llmpt.archive.folder import ExportFolder
from llmpt.archive.signing import signed_manifest
from llmpt.core.errors import TrackerError
from llmpt.core.repo import RepoRef
from llmpt.tracker.blobs import BlobHttp, BlobTimings
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from tests.support.rogue_tracker import BLOB, RIGHT, RogueTracker, changed, places

MANIFEST = "/api/v1/repos/model/org/name/revisions/main"
REF = RepoRef("model", "org/name")
OUTSIDE = (
    "/../../../victim",
    "../../../victim",
    "/tmp/../victim",
    "..",
    ".",
    "",
    "a\0b",
    "..\\..\\victim",
    "C:\\victim",
)
QUESTIONS: dict[str, tuple[str, Callable[[TrackerClient], object]]] = {
    "torrents": ("/api/v1/torrents", lambda client: list(client.torrents({}))),
    "lookup": ("/api/v1/torrents", lambda client: client.lookup(BLOB.etag)),
    "lookup_all": ("/api/v1/lookup", lambda client: client.lookup_all((BLOB.etag,), {})),
    "repos": ("/api/v1/repos", lambda client: Catalogue(client).repos()),
    "manifest": (MANIFEST, lambda client: Catalogue(client).manifest(REF, "main")),
    "mirrors": ("/api/v1/mirrors", lambda client: client.mirrors()),
    "whoami": ("/api/v1/whoami", lambda client: Catalogue(client).whoami()),
    "token": ("/api/v1/tokens", lambda client: client.share_token("ann")),
    "health": ("/healthz", lambda client: Catalogue(client).health()),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RogueTracker]:
    with RogueTracker() as made:
        yield made


@pytest.fixture
def tracker(server: RogueTracker) -> RogueTracker:
    server.answers.clear()
    server.answers.update(RIGHT)
    return server


def export(tracker: RogueTracker, home: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    for name, value in {
        "HOME": home,
        "XDG_CONFIG_HOME": home / "config",
        "HF_HOME": home / "hf",
        "LLMPT_TRACKER": tracker.url,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(sys, "argv", ["llmpt", "export", "org/name", "--to", str(home / "disk" / "export")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("at", [("commit",), ("refs", 0), ("files", 0, "path"), ("files", 0, "etag")], ids=str)
def test_no_name_in_a_manifest_makes_export_write_elsewhere(
    at: tuple[Any, ...], tracker: RogueTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victims = [
        tmp_path / name for name in ("victim", "victim.json", "disk/victim", "disk/victim.json", "disk/export/victim.json")
    ]
    for victim in victims:
        victim.parent.mkdir(parents=True, exist_ok=True)
        victim.write_text("mine")
    for value in OUTSIDE:
        tracker.says(MANIFEST, changed(RIGHT[MANIFEST], at, value))
        assert export(tracker, tmp_path, monkeypatch) == 1, value
        assert [victim.read_text() for victim in victims] == ["mine"] * len(victims), value
        assert not list((tmp_path / "disk" / "export" / "manifests").glob("*")), value


def test_an_export_from_a_seeder_that_trickles_ends(tracker: RogueTracker, tmp_path: Path) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(BLOB.size))
        handler.end_headers()
        with suppress(OSError):
            for _ in range(BLOB.size):  # which takes 23 minutes
                handler.wfile.write(b"x")
                time.sleep(0.02)

    tracker.says(f"/blobs/{BLOB.etag}", trickle)
    client = TrackerClient(tracker.url)
    blobs = BlobHttp(tracker.url, stall_timeout_s=5, timings=BlobTimings(crawl=replace(TRICKLE, window_s=0.5)))
    export = Export(ExportFolder.create(tmp_path / "export"), client, blobs, tmp_path / "cache", lambda _name, _count: None)
    done = export.revision(signed_manifest(Catalogue(client), tmp_path / "cache", REF, "main"))
    assert done.missing == [("model.bin", "it comes at 0 kB/s")]


@pytest.mark.parametrize("question", QUESTIONS)
def test_deep_json_in_any_field_ends_no_thread(question: str, tracker: RogueTracker) -> None:
    path, ask = QUESTIONS[question]
    for depth in (40, 900, 100_000):
        deep = "[" * depth + "]" * depth
        for at in places(RIGHT[path]):
            text = json.dumps(changed(RIGHT[path], at, "HERE")).replace('"HERE"', deep)
            tracker.says(path, text.encode())
            with pytest.raises(TrackerError):
                ask(TrackerClient(tracker.url))


@pytest.mark.parametrize(
    "said", [b"NaN", b"1e999", b"9" * 5000, b'{"a":1,"a":2}', b'"\\ud800"'], ids=lambda said: said.decode()[:8]
)
def test_what_is_no_value_is_no_answer(said: bytes, tracker: RogueTracker) -> None:
    for path, ask in QUESTIONS.values():
        for at in places(RIGHT[path]):
            tracker.says(path, json.dumps(changed(RIGHT[path], at, "HERE")).encode().replace(b'"HERE"', said))
            try:
                ask(TrackerClient(tracker.url))
            except TrackerError:
                continue


def flood(chunk: bytes, headers: dict[str, str]) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer with `chunk` again and again, until nobody listens."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Connection", "close")
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(chunk)
        except OSError:
            pass
        handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    "chunk", [b"[" * (1 << 20), b" " * (1 << 20), b'{"a":' * (1 << 17)], ids=("brackets", "blanks", "objects")
)
def test_an_answer_without_end_is_given_up(chunk: bytes, tracker: RogueTracker) -> None:
    tracker.says("/healthz", flood(chunk, {}))
    with pytest.raises(TrackerError):
        TrackerClient(tracker.url, timeout_s=5).boot_id()


def test_a_packed_answer_is_not_unpacked(tracker: RogueTracker) -> None:
    import gzip

    packed = gzip.compress(json.dumps(RIGHT["/healthz"] | {"x": "y" * (1 << 24)}).encode())

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(packed)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(packed)
        handler.close_connection = True

    tracker.says("/healthz", answer)
    with pytest.raises(TrackerError):
        TrackerClient(tracker.url).boot_id()


def test_a_list_without_end_ends(tracker: RogueTracker) -> None:
    tracker.says("/api/v1/repos", RIGHT["/api/v1/repos"] | {"next": "again"})
    tracker.says("/api/v1/mirrors", RIGHT["/api/v1/mirrors"] | {"next": "again"})
    for question in ("repos", "mirrors"):
        with pytest.raises(TrackerError):
            QUESTIONS[question][1](TrackerClient(tracker.url))
    assert len(tracker.asked) < 10_000


def test_many_values_in_few_bytes_are_refused_before_they_are_built(tracker: RogueTracker) -> None:
    rows = b"[" + b"[]," * 3_000_000 + b"[]]"
    tracker.says(MANIFEST, json.dumps(RIGHT[MANIFEST] | {"files": "HERE"}).encode().replace(b'"HERE"', rows))
    with pytest.raises(TrackerError, match="JSON"):
        Catalogue(TrackerClient(tracker.url, timeout_s=20)).manifest(REF, "main")
