"""The pages for people."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest
from flask import Flask

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt_tracker.control.messages import HeldLease, Swarm
from llmpt_tracker.rules import tokens
from llmpt_tracker.state import attach
from llmpt_tracker.views.pages.words import human_ago, human_bytes
from tests.unit.tracker.bodies import COMMIT, big, manifest, packed, report, small, torrent
from tests.unit.tracker.conftest import NOW, Api, state_of
from tests.unit.tracker.fakes import FakeAnnouncer

A = torrent("a")
PAGES = ("/", "/repos", "/activity", "/servers", "/install")


def page(api: Api, path: str = "/", host: str = "server:8000") -> str:
    answer = api.get(path, headers={"Host": host})
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_an_empty_tracker_says_what_to_do(api: Api) -> None:
    text = page(api)
    assert "llmpt join http://server:8000" in text
    assert "No seeder has reported" in text
    assert "Nothing is published yet" in text


def test_a_file_that_no_manifest_names_is_shown_by_its_etag(api: Api) -> None:
    api.publish({"torrents": packed(A)})
    assert f"<code>{A.etag.value[:16]}…</code>" in page(api, "/activity")


def test_repos_files_and_counts_are_shown(api: Api, announcer: FakeAnnouncer) -> None:
    api.publish(manifest(big("model.safetensors", A), small("config.json"), torrents=packed(A)))
    announcer.live[A.info_hash.truncated.hex()] = Swarm(41, 17, 0)
    for path in ("/activity", "/repos/model/org/name", "/repos/model/org/name/revisions/main"):
        text = page(api, path)
        assert "org/name" in text
        assert "model.safetensors" in text
        assert ">41<" in text
        assert ">17<" in text


def test_a_files_name_leads_to_it_and_a_repo_is_found_in_any_case(api: Api) -> None:
    files = [big("model.safetensors", A), small("sub/a b.json"), {**small("away.json"), "here": False}]
    api.publish(manifest(*files, torrents=packed(A)))
    text = page(api, "/repos/model/ORG/Name/revisions/main")
    for path in ("model.safetensors", "sub/a%20b.json"):
        assert f'<a href="/org/name/resolve/{COMMIT}/{path}">' in text
    assert "resolve/" + COMMIT + "/away.json" not in text
    assert "Transmission 3" in text


def test_a_seeder_that_hashes_has_a_progress_bar(api: Api) -> None:
    hashing = {"blobs_done": 1, "blobs_total": 4, "bytes_done": 10, "bytes_total": 90, "current": "model.bin"}
    api.beat(report(hashing=hashing, problems=[{"what": "blobs/x", "reason": "rotten"}]))
    text = page(api, "/servers")
    assert '<progress max="90" value="10" aria-label=' in text
    assert "model.bin" in text
    assert "rotten" in text


def test_who_fetches_what_from_the_hub_is_shown(api: Api, announcer: FakeAnnouncer) -> None:
    api.publish(manifest({**big("model.safetensors", A), "here": False}))
    api.post("tokens", {"name": "desk-7"})
    announcer.under_way = [
        HeldLease(A.etag, 4_000_000, RepoRef("model", "org/name"), "desk-7", 1_000_000, 250_000, 9),
        HeldLease(Etag("e" * 64), 5, RepoRef("dataset", "org/other"), "<desk-8>", 0, 0, 0),
    ]
    text = page(api, "/activity")
    assert "desk-" not in page(api) + text, "which machine it is, no other machine is told"
    assert '<progress max="4000000" value="1000000" aria-label="' in text
    for shown in ("model.safetensors", "1.0 MB of 4.0 MB", "250 kB/s", ">9<", "e" * 16, "org/other"):
        assert shown in text
    assert "1 token to share" in text


def test_an_operator_sees_which_machine_fetches_what(api: Api, app: Flask, announcer: FakeAnnouncer) -> None:
    announcer.under_way = [HeldLease(Etag("e" * 64), 5, RepoRef("dataset", "org/other"), "<desk-8>", 0, 0, 0)]
    shown = "&lt;desk-8&gt;"
    secrets = {}
    with state_of(app).database.writing() as session:
        for scope in ("admin", "publish", "read", "share"):
            secrets[scope] = tokens.new_secret(scope)
            tokens.add(session, secrets[scope], name=scope, scope=scope, now=NOW)
    for scope, secret in secrets.items():
        password = base64.b64encode(f"anybody:{secret}".encode()).decode()
        for header in (f"Bearer {secret}", f"Basic {password}"):
            text = api.get("/activity", headers={"Authorization": header}).get_data(as_text=True)
            assert (shown in text) == (scope == "admin"), scope
    state = state_of(app)
    attach(app, replace(state, settings=replace(state.settings, show_machines=True)))
    try:
        assert shown in page(api, "/activity"), "LLMPT_SHOW_MACHINES"
    finally:
        attach(app, state)


def test_what_a_publisher_wrote_is_text_and_never_markup(api: Api) -> None:
    evil = "<script>alert(1)</script>.bin"
    api.publish(manifest(small(evil.replace("/", "_"))))
    api.beat(report(problems=[{"what": evil, "reason": evil}]))
    for path in (*PAGES, "/repos/model/org/name"):
        assert "<script>" not in page(api, path)


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(api: Api) -> None:
    api.publish(manifest(big("model.safetensors", A), torrents=packed(A)))
    for path in (*PAGES, "/repos/model/org/name"):
        text = page(api, path)
        assert not re.search(r"<style|<script(?! src)|\sstyle=|\son\w+=", text)
        assert not re.search(r"(?:src|href|action)=\"(?!/|#|magnet:)", text)


def test_a_host_header_that_is_none_is_not_repeated(api: Api) -> None:
    answer = api.get("/", headers={"Host": "evil;rm -rf ~<b>"})
    assert answer.status_code == 421
    assert "<b>" not in answer.get_data(as_text=True) or answer.mimetype == "text/plain"


def test_without_the_announcer_the_page_shows_what_it_can(api: Api, announcer: FakeAnnouncer) -> None:
    api.publish(manifest(big("model.safetensors", A), torrents=packed(A)))
    announcer.down = True
    for path in PAGES:
        assert "The announcer does not answer" in page(api, path)
    assert "model.safetensors" in page(api, "/activity")
    assert "model.safetensors" in page(api, "/repos/model/org/name")


def test_an_unknown_repo_is_a_plain_404(api: Api) -> None:
    for path in ("/repos/model/org/none", "/repos/model/org/none/revisions/main", "/repos/models/a/revisions/main"):
        answer = api.get(path)
        assert (answer.status_code, answer.mimetype) == (404, "text/plain")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (90_868_376, "90.9 MB"), (999_999, "1.0 MB"), (733_000_000, "733 MB")],
)
def test_bytes_are_written_for_people(size: int, text: str) -> None:
    assert human_bytes(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s ago"), (119, "119 s ago"), (600, "10 min ago"), (90_000, "25 h ago")])
def test_ages_are_written_for_people(seconds: float, text: str) -> None:
    assert human_ago(seconds) == text
