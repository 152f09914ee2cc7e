"""The Hub's listing of a commit over HTTP: in pages, as nobody, and never taken from what is not the Hub."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt.hub.asking import HubNo, HubUnreachable
from llmpt_seeder.cache.listing import ListedFile, Listing
from llmpt_seeder.hub.tree import TreeLimits, fetch_tree
from tests.support.cache_builder import commit_id, git_sha1, lfs_sha256
from tests.support.hub import FakeHub

REPO = RepoRef("dataset", "org/name")
COMMIT = commit_id("tree")
SMALL = {"type": "file", "path": "config.json", "oid": git_sha1(b"{}"), "size": 2}


@dataclass
class Answer:
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Hub:
    """Answers a path with what was laid out for it; notes what was asked, and with which headers."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    def listing(self, **more: Any) -> Listing:
        return fetch_tree(self.url, REPO, COMMIT, **more)

    @property
    def first(self) -> str:
        return f"/api/datasets/org/name/tree/{COMMIT}?recursive=true&expand=false"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append((self.path, {name.lower(): text for name, text in self.headers.items()}))
            answer = hub.answers.get(self.path, Answer({"error": "Not Found"}, 404))
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, text in {**answer.headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hub
        server.shutdown()
        thread.join()


def test_files_have_their_etag_and_folders_are_nothing(hub: Hub) -> None:
    pointer = {"oid": lfs_sha256(b"w"), "size": 5_000, "pointerSize": 134}
    big = {"type": "file", "path": "a/model.bin", "oid": "9" * 40, "size": 5_000, "lfs": pointer, "xetHash": "e" * 64}
    hub.answers[hub.first] = Answer([{"type": "directory", "path": "a", "oid": "0" * 40, "size": 0}, big, SMALL])
    assert hub.listing() == {
        "a/model.bin": ListedFile(Etag(lfs_sha256(b"w")), 5_000),
        "config.json": ListedFile(Etag(git_sha1(b"{}")), 2),
    }
    assert "authorization" not in hub.asked[0][1]


def test_all_pages_are_read(hub: Hub) -> None:
    second = f"{hub.first}&cursor=abc%3D"
    hub.answers[hub.first] = Answer([SMALL], headers={"Link": f'<{hub.url}{second}>; rel="next"'})
    hub.answers[second] = Answer([{**SMALL, "path": "b.json"}])
    assert set(hub.listing()) == {"config.json", "b.json"}


def test_a_token_is_sent_when_it_is_given(hub: Hub) -> None:
    hub.answers[hub.first] = Answer([SMALL])
    hub.listing(token="hf_operator")
    assert hub.asked[0][1]["authorization"] == "Bearer hf_operator"


def test_a_renamed_repo_is_found_where_it_is_and_gets_no_token_there(hub: Hub) -> None:
    elsewhere = hub.first.replace("org/name", "new/name")
    hub.answers[hub.first] = Answer({}, 307, {"Location": elsewhere})
    hub.answers[elsewhere] = Answer([SMALL])
    assert set(hub.listing(token="hf_operator")) == {"config.json"}
    assert "authorization" not in hub.asked[1][1]


@pytest.mark.parametrize(
    "link", ["http://127.0.0.1:9/api/x", "https://evil.example/x", "file:///etc/passwd"], ids=["port", "host", "file"]
)
def test_a_next_page_that_lies_elsewhere_is_not_fetched(hub: Hub, link: str) -> None:
    hub.answers[hub.first] = Answer([SMALL], headers={"Link": f'<{link}>; rel="next"'})
    with pytest.raises(HubUnreachable, match="lies at"):
        hub.listing()


def test_pages_without_an_end_end(hub: Hub) -> None:
    hub.answers[hub.first] = Answer([SMALL], headers={"Link": f'<{hub.url}{hub.first}>; rel="next"'})
    with pytest.raises(HubUnreachable):
        hub.listing()
    second = f"{hub.first}&cursor=2"
    hub.answers[hub.first].headers["Link"] = f'<{second}>; rel="next"'
    hub.answers[second] = Answer([], headers={"Link": f'<{hub.first}&cursor=3>; rel="next"'})
    with pytest.raises(HubUnreachable, match="without an end"):
        hub.listing()
    hub.answers[second] = Answer([{**SMALL, "path": "b.json"}])
    with pytest.raises(HubUnreachable, match="without an end"):
        hub.listing(limits=TreeLimits(files=1))


def test_a_page_that_is_too_long_is_not_read(hub: Hub) -> None:
    hub.answers[hub.first] = Answer([SMALL])
    with pytest.raises(HubUnreachable, match="more than 20 bytes"):
        hub.listing(limits=TreeLimits(page_bytes=20))


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in to the hotel</html>",
        {"error": "x"},
        [1],
        [{"type": "file"}],
        [{**SMALL, "path": "../x"}],
        [{**SMALL, "oid": "short"}],
        [{**SMALL, "size": "many"}],
        [{**SMALL, "size": float("inf")}],
        [{**SMALL, "path": 5}],
        [{**SMALL, "size": -1}],
        [{**SMALL, "size": 1 << 60}],
        [SMALL, {**SMALL, "path": "config.json/x"}],
        [{**SMALL, "path": "/".join(["d" * 200] * 11)}],
    ],
    ids=lambda body: str(body)[:30],
)
def test_an_answer_that_makes_no_sense_is_none(hub: Hub, body: object) -> None:
    hub.answers[hub.first] = Answer(body)
    with pytest.raises(HubUnreachable):
        hub.listing()


def test_a_tracker_of_ours_is_not_the_hub(hub: Hub) -> None:
    """What it knows in part would be told to be the whole."""
    hub.answers[hub.first] = Answer([SMALL], headers={"X-Llmpt-Version": "0.1.0"})
    with pytest.raises(HubUnreachable, match="a tracker of ours"):
        hub.listing()


def test_a_refusal_keeps_the_hubs_own_words(hub: Hub) -> None:
    headers = {"X-Error-Code": "GatedRepo", "Retry-After": "17"}
    hub.answers[hub.first] = Answer({"error": "Access is restricted"}, 403, headers)
    with pytest.raises(HubNo) as caught:
        hub.listing()
    no = caught.value
    assert (no.status, no.code, no.message, no.retry_after_s) == (403, "GatedRepo", "Access is restricted", 17)
    hub.answers[hub.first] = Answer(b"<html>", 429, {"Retry-After": "Mon, 1 Jan"})
    with pytest.raises(HubNo, match="the Hub answered 429") as caught:
        hub.listing()
    assert caught.value.retry_after_s is None


def test_whoever_is_to_stop_asks_for_no_further_page(hub: Hub) -> None:
    with pytest.raises(HubUnreachable, match="stopped"):
        hub.listing(stopped=lambda: True)
    assert hub.asked == []


def test_a_hub_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(HubUnreachable):
        fetch_tree("http://127.0.0.1:9", REPO, COMMIT)


def test_the_tests_own_hub_is_read_as_the_hub() -> None:
    with FakeHub() as hub:
        commit = hub.add("org/name", {"model.bin": b"w", "a/b/config.json": b"{}"}, repo_type="dataset")
        assert fetch_tree(hub.url, REPO, commit) == {
            "model.bin": ListedFile(Etag(lfs_sha256(b"w")), 1),
            "a/b/config.json": ListedFile(Etag(git_sha1(b"{}")), 2),
        }
