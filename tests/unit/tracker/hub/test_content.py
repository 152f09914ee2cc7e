"""`resolve` and `raw`: what a file is, and where its bytes are."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha1

import pytest
from flask import Flask
from sqlalchemy import event

from llmpt_tracker.control.messages import Swarm
from llmpt_tracker.database.models import File, Ref, Repo, Revision
from llmpt_tracker.limits import Limits
from llmpt_tracker.rules.hub.learning import Learning, LearningTimings
from llmpt_tracker.state import attach
from tests.unit.tracker.bodies import COMMIT, elsewhere, manifest, small
from tests.unit.tracker.conftest import Api, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs
from tests.unit.tracker.hub_client import PART_COMMIT, SMALL_LFS, WEIGHTS, WHOLE, HubClient, publish_all

CONFIG = small("config.json")


@pytest.fixture
def hub(app: Flask, api: Api, blobs: FakeBlobs, announcer: FakeAnnouncer) -> HubClient:
    client = HubClient(app, blobs, announcer)
    publish_all(api, client)
    client.all_are_here()
    return client


@pytest.mark.parametrize("revision", ["main", COMMIT, COMMIT[:8], "feature%2Fx", "refs%2Fpr%2F1", "refs/pr/1"])
def test_a_head_says_all_that_a_client_needs(hub: HubClient, revision: str) -> None:
    answer = hub.head(f"/org/name/resolve/{revision}/model.safetensors")
    assert (answer.status_code, answer.data) == (200, b"")
    etag = WEIGHTS.etag.value
    wanted = {
        "X-Repo-Commit": COMMIT,
        "ETag": f'"{etag}"',
        "X-Linked-Etag": f'"{etag}"',
        "X-Linked-Size": str(WEIGHTS.size),
        "Content-Length": str(WEIGHTS.size),
        "Accept-Ranges": "bytes",
    }
    assert {name: answer.headers[name] for name in wanted} == wanted
    assert not [name for name, _ in answer.headers if "xet" in name.lower() or name == "Content-Encoding"]


def test_a_file_that_is_in_git_has_no_linked_etag(hub: HubClient) -> None:
    answer = hub.head("/org/name/resolve/main/config.json")
    assert answer.headers["ETag"] == f'"{CONFIG["etag"]}"'
    assert "X-Linked-Etag" not in answer.headers
    assert "X-Linked-Size" not in answer.headers


def test_a_get_leads_to_a_seeder_and_says_the_same_of_the_file(hub: HubClient) -> None:
    head, get = (hub.ask(method, "/org/name/resolve/main/model.safetensors") for method in ("HEAD", "GET"))
    assert (get.status_code, get.data) == (302, b"")
    assert get.headers["Location"] == f"http://localhost:8001/blobs/{WEIGHTS.etag}?name=model.safetensors"
    for name in ("X-Repo-Commit", "ETag", "X-Linked-Etag", "X-Linked-Size"):
        assert get.headers[name] == head.headers[name]
    assert hub.blobs.asked == [("127.0.0.1", "localhost")]


def test_names_come_percent_encoded_once(hub: HubClient) -> None:
    for target in (
        "/org/name/resolve/main/%C3%BCn%C3%AF/c%C3%B6d%C3%A9%20%231%25.txt",
        "/org/name/resolve/main/data/deep/b%20c.json",
    ):
        answer = hub.head(target)
        assert answer.status_code == 200
        assert answer.headers["Content-Disposition"].isascii()
    assert hub.head("/org/name/resolve/main/data%2Fdeep%2Fb%20c.json").status_code == 200
    assert hub.head("/org/name/resolve/main/data/deep/b%2520c.json").status_code == 404


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_empty_file_needs_nobody(hub: HubClient, method: str) -> None:
    hub.blobs.held.clear()
    answer = hub.ask(method, "/org/name/resolve/main/empty.txt")
    assert (answer.status_code, answer.headers["Content-Length"], answer.data) == (200, "0", b"")
    assert answer.headers["ETag"] == '"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"'
    assert hub.get("/org/name/resolve/main/empty.txt", headers={"Range": "bytes=0-0"}).status_code == 200


def test_a_file_whose_swarm_has_a_seeder_is_here(hub: HubClient) -> None:
    hub.blobs.held.clear()
    assert hub.head("/org/name/resolve/main/model.safetensors").status_code == 200
    hub.announcer.live[WEIGHTS.info_hash.truncated.hex()] = Swarm(leechers=3)
    assert hub.head("/org/name/resolve/main/model.safetensors").status_code == 404
    hub.blobs.held.add(WEIGHTS.etag.value)
    assert hub.head("/org/name/resolve/main/model.safetensors").status_code == 200


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_file_that_is_only_listed_is_not_found_but_not_for_ever(hub: HubClient, method: str) -> None:
    hub.blobs.held.clear()
    answer = hub.ask(method, "/org/name/resolve/main/config.json")
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert "X-Repo-Commit" not in answer.headers


@pytest.mark.parametrize(
    ("target", "commit"),
    [
        ("/org/name/resolve/main/nothing.json", COMMIT),  # the listing is whole
        ("/org/part/resolve/main/adapter_config.json", PART_COMMIT),  # the Hub has said so
        ("/org/part/resolve/main/nothing.json", None),
    ],
)
def test_only_what_the_hub_has_said_is_told_for_ever(hub: HubClient, target: str, commit: str | None) -> None:
    answer = hub.head(target)
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert answer.headers.get("X-Repo-Commit") == commit


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/org/none/resolve/main/config.json", "RepoNotFound"),
        ("/datasets/org/name/resolve/main/config.json", "RepoNotFound"),
        ("/-bad-/name/resolve/main/config.json", "RepoNotFound"),
        ("/org/name/resolve/none/config.json", "RevisionNotFound"),
        (f"/org/name/resolve/{'0' * 40}/config.json", "RevisionNotFound"),
        ("/org/name/resolve/%00/config.json", "RevisionNotFound"),
        ("/org/name/resolve/%2e%2e/config.json", "RevisionNotFound"),
        ("/org/name/resolve/main/..%2Fconfig.json", "EntryNotFound"),
        ("/org/name/resolve/main/%00", "EntryNotFound"),
        ("/org/name/resolve/main/" + "a" * 5000, "EntryNotFound"),
    ],
)
def test_a_no_is_in_the_hubs_words(hub: HubClient, target: str, code: str) -> None:
    answer = hub.get(target)
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, code)
    assert answer.get_json() == {"error": answer.get_json()["error"]}
    assert answer.headers["X-Error-Message"]


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        ("unknown/None; hf_hub/1.31.0; python/3.11", False),
        ("unknown/None; hf_hub/2.4.0; python/3.11", False),
        ("unknown/None; hf_hub/1.30.9; python/3.11", True),
        ("unknown/None; hf_hub/0.36.2; python/3.11", True),
        ("curl/8.1", True),
    ],
)
def test_the_size_that_huggingface_hub_would_refuse_is_kept_from_it(
    app: Flask, api: Api, blobs: FakeBlobs, announcer: FakeAnnouncer, agent: str, told: bool
) -> None:
    hub = HubClient(app, blobs, announcer)
    etag, size = "ab" * 32, 50_000_000_001
    with app.extensions["llmpt"].database.writing() as session:
        session.add(Repo(id=1, type="model", name="org/huge"))
        session.flush()
        session.add(Revision(id=1, repo_id=1, commit=COMMIT, complete=True, published_at=app.extensions["llmpt"].clock()))
        session.flush()
        session.add(Ref(repo_id=1, name="main", revision_id=1))
        session.add(File(revision_id=1, path="huge.safetensors", size=size, etag=etag, lfs=True))
    blobs.held.add(etag)
    answer = hub.head("/org/huge/resolve/main/huge.safetensors", headers={"User-Agent": agent})
    assert answer.status_code == 200
    assert answer.headers.get("Content-Length") == (str(size) if told else None)
    assert answer.headers.get("X-Linked-Size") == (str(size) if told else None)


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SMALL_LFS['etag']}\nsize 7\n".encode()


def test_raw_gives_the_pointer_of_an_lfs_file(hub: HubClient) -> None:
    hub.blobs.held.clear()
    answer = hub.get("/org/name/raw/main/small.bin")
    assert (answer.status_code, answer.data) == (200, POINTER)
    assert answer.headers["ETag"] == f'"{sha1(b"blob %d" % len(POINTER) + bytes(1) + POINTER).hexdigest()}"'
    assert "X-Linked-Etag" not in answer.headers


def test_raw_leads_to_the_content_of_any_other_file(hub: HubClient) -> None:
    answer = hub.get("/org/name/raw/main/config.json")
    assert (answer.status_code, answer.headers["Location"]) == (
        302,
        f"http://localhost:8001/blobs/{CONFIG['etag']}?name=config.json",
    )


@pytest.mark.parametrize(
    ("asked", "status", "part", "told"),
    [
        ("bytes=0-6", 206, POINTER[:7], f"bytes 0-6/{len(POINTER)}"),
        ("bytes=8-", 206, POINTER[8:], f"bytes 8-{len(POINTER) - 1}/{len(POINTER)}"),
        ("bytes=-5", 206, POINTER[-5:], f"bytes {len(POINTER) - 5}-{len(POINTER) - 1}/{len(POINTER)}"),
        ("bytes=9999-", 416, b"", f"bytes */{len(POINTER)}"),
        ("bytes=0-1,4-5", 200, POINTER, None),
        ("lines=1-2", 200, POINTER, None),
        ("bytes=x-y", 200, POINTER, None),
    ],
)
def test_a_part_of_a_pointer(hub: HubClient, asked: str, status: int, part: bytes, told: str | None) -> None:
    answer = hub.get("/org/name/raw/main/small.bin", headers={"Range": asked})
    assert (answer.status_code, answer.data, answer.headers.get("Content-Range")) == (status, part, told)


def test_nobody_looks_at_a_token_or_writes_it_down(hub: HubClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hf_" + "s" * 34
    for target in ("/org/name/resolve/main/config.json", "/org/none/resolve/main/x", "/api/models/org/name"):
        with_token = hub.get(target, headers={"Authorization": f"Bearer {secret}"})
        without = hub.get(target)
        assert (with_token.status_code, with_token.data) == (without.status_code, without.data)
        assert secret not in f"{with_token.headers}{with_token.data!r}"
    assert secret not in caplog.text


def test_repos_named_like_our_routes_are_served_and_our_routes_stay(app: Flask, api: Api, hub: HubClient) -> None:
    for name in ("dist/x", "static/x", "blobs/x", "api2/v1", "repos/model"):
        assert api.publish(manifest(*WHOLE[1:2], repo_id=name)).status_code == 200
        assert hub.head(f"/{name}/resolve/main/config.json").status_code == 200
    assert hub.get("/healthz").get_json()["status"] == "ok"
    assert hub.get("/").mimetype == "text/html"
    assert hub.get("/dist/").status_code == 200
    with hub.get("/static/tracker.css") as style:
        assert style.mimetype == "text/css"
    assert hub.get("/api/v1/torrents").status_code == 200
    assert hub.get("/repos/model/org/name/revisions/main").mimetype == "text/html"
    assert hub.get("/nothing").mimetype == "text/plain"


def test_a_file_costs_one_statement_that_reads_no_manifest(hub: HubClient) -> None:
    assert hub.head("/org/name/resolve/main/model.safetensors").status_code == 200  # how the repo is written is asked once
    seen: list[tuple[str, object]] = []
    engine = state_of(hub.app).database.engine

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        assert hub.head("/org/name/resolve/main/model.safetensors").status_code == 200
    finally:
        event.remove(engine, "before_cursor_execute", note)
    ((statement, parameters),) = seen
    if engine.dialect.name != "sqlite":
        return  # whose plan depends on how much there is
    with engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]  # type: ignore[arg-type]
    assert [step for step in plan if "SCAN" in step] == []
    assert [step for step in plan if "files" in step and "revision_id=? AND path=?" in step]


def test_who_is_refused_is_refused_in_the_hubs_shape(hub: HubClient) -> None:
    answer = hub.get("/api/models/org/name", environ_overrides={"REMOTE_ADDR": "8.8.8.8"})
    assert (answer.status_code, set(answer.get_json())) == (403, {"error"})
    assert "LLMPT_PEER_CIDRS" in answer.headers["X-Error-Message"]


@pytest.fixture
def hurried(app: Flask) -> Iterator[None]:
    """Waits are short, and no limit was reached yet."""
    state = state_of(app)
    learning = Learning(timings=LearningTimings(grows_within_s=0.1, poll_s=0.01))
    attach(app, replace(state, learning=learning, limits=Limits(state.announcer)))
    yield
    attach(app, state)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.usefixtures("hurried")
def test_a_busy_seeder_is_a_503_and_no_missing_file(hub: HubClient, method: str) -> None:
    hub.blobs.busy = True
    answer = hub.ask(method, "/org/name/resolve/main/config.json")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "X-Error-Code" not in answer.headers or "NotFound" not in answer.headers["X-Error-Code"]
    assert hub.announcer.limits, "and the page tells of it"


def test_a_seeder_that_is_busy_for_a_moment_is_waited_for(hub: HubClient) -> None:
    hub.blobs.busy = True
    later = threading.Timer(0.1, lambda: setattr(hub.blobs, "busy", False))
    later.start()
    assert hub.get("/org/name/resolve/main/config.json").status_code == 302
    later.join()


@pytest.mark.usefixtures("hurried")
def test_what_no_publisher_has_is_not_here_however_busy_a_seeder_is(hub: HubClient, api: Api) -> None:
    api.publish(manifest(elsewhere(small("far.json")), repo_id="org/other"))
    hub.blobs.busy = True
    answer = hub.head("/org/other/resolve/main/far.json")
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert "X-Repo-Commit" not in answer.headers


def test_blobs_by_etag_are_a_503_while_a_seeder_is_busy(hub: HubClient) -> None:
    hub.blobs.busy = True
    answer = hub.get(f"/blobs/{WEIGHTS.etag}")
    assert (answer.status_code, answer.headers["Retry-After"], answer.get_json()["error"]["code"]) == (503, "5", "busy")


@pytest.mark.parametrize(
    ("asked", "sent"), [("", ""), ("?name=a%20b.bin", "?name=a%20b.bin"), ("?name=..%2Fx", ""), ("?x=y", "")]
)
def test_blobs_by_etag_keep_the_name_to_save_them_by(hub: HubClient, asked: str, sent: str) -> None:
    assert hub.get(f"/blobs/{WEIGHTS.etag}{asked}").headers["Location"] == f"http://localhost:8001/blobs/{WEIGHTS.etag}{sent}"
