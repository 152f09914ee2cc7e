"""What is asked of a Hub, and the process that runs huggingface_hub's own download, against the stand-in for the Hub."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt.hub.asking import HubNo, HubUnreachable
from llmpt.tracker.client import TrackerClient
from llmpt_seeder.cache.listing import ListedFile, Listing
from llmpt_seeder.errors import FetchFailed
from llmpt_seeder.publishing.visibility import Visibilities
from llmpt_seeder.sharing import Sharing
from llmpt_seeder.upstream import FetchProcess, Lookup, UpstreamHub, token_rule
from llmpt_seeder.upstream.process import Place
from tests.support.hub import FakeHub, Mode
from tests.support.namespaces import python_with
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually

ORG = RepoRef("model", "org/name")
MIB = 1 << 20


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as running:
        yield running


def asking(hub: FakeHub, *patterns: str, token: str | None = None) -> UpstreamHub:
    return UpstreamHub(hub.url, token=token_rule(patterns, token), stopped=lambda: False)


# The Hub, asked.


def test_a_revision_is_its_commit_its_refs_and_its_listing(hub: FakeHub) -> None:
    commit = hub.add("org/name", {"a b/c.bin": b"x" * 10, "config.json": b"{}"}, refs=("main", "v1"))
    found = asking(hub).revision(ORG, "v1")
    assert (found.commit, set(found.refs), found.public) == (commit, {"v1", "main"}, True)
    listing = asking(hub).listing(ORG, commit)
    assert {path: file.size for path, file in listing.items()} == {"a b/c.bin": 10, "config.json": 2}
    assert not any(request.authorized for request in hub.requests)


def test_what_the_hub_has_found_out_of_a_repo_is_its_card_whatever_lies_in_its_readme(hub: FakeHub) -> None:
    hub.add("org/name", {"config.json": b"{}"})
    assert asking(hub).revision(ORG, "main").card is None
    about = {"pipeline_tag": "text-generation", "library_name": "transformers", "tags": ["safetensors", "license:mit"]}
    hub.repos["model", "org/name"].about = {**about, "cardData": {"license": "mit", "tags": ["own"]}}
    assert asking(hub).revision(ORG, "main").card == {**about, "license": "mit"}


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [({"private": True}, 401, "RepoNotFound"), ({"gated": True}, 401, "GatedRepo"), (None, 401, "RepoNotFound")],
)
def test_the_no_of_the_hub_has_its_own_words(hub: FakeHub, kind: dict[str, bool] | None, status: int, code: str) -> None:
    if kind is not None:
        hub.add("org/name", {"config.json": b"{}"}, **kind)  # type: ignore[arg-type]
    with pytest.raises(HubNo) as no:
        asking(hub).revision(ORG, "main")
    assert (no.value.status, no.value.code) == (status, code)
    assert no.value.message


def test_the_servers_token_is_used_for_what_its_operator_names_and_for_nothing_else(hub: FakeHub) -> None:
    hub.add("org/name", {"config.json": b"{}"}, private=True)
    for patterns in ((), ("*",), ("*/*",), ("model*/*x",), ("other/name",)):
        with pytest.raises(HubNo):
            asking(hub, *patterns, token="secret").revision(ORG, "main")
    assert not any(request.authorized for request in hub.requests)
    found = asking(hub, "org/*", token="secret").revision(ORG, "main")
    assert not found.public
    assert all(request.authorized for request in hub.requests[-2:])


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("org/name", True),
        ("org/*", True),
        ("*/name", True),
        ("models/org/name", True),
        ("models/*", False),
        ("*", False),
        ("[a-z]*", False),
    ],
)
def test_which_patterns_name_a_repo(pattern: str, named: bool) -> None:
    assert (token_rule((pattern,), "secret")(ORG) == "secret") is named


def test_the_servers_token_does_not_follow_to_where_the_hub_sends(hub: FakeHub) -> None:
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", hub.url + self.path)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    commit = hub.add("org/name", {"config.json": b"{}"})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        first = UpstreamHub(f"http://127.0.0.1:{server.server_port}", token=lambda repo: "secret", stopped=lambda: False)
        assert first.revision(ORG, "main").commit == commit
        server.shutdown()
        thread.join()
    assert hub.requests
    assert not any(request.authorized for request in hub.requests)


def test_a_hub_that_is_not_there_is_unreachable() -> None:
    gone = UpstreamHub("http://127.0.0.1:9", token=lambda repo: None, stopped=lambda: False)
    with pytest.raises(HubUnreachable):
        gone.revision(ORG, "main")


# A tracker of another site in the place of the Hub.


def test_another_sites_tracker_is_asked_for_what_it_grants_and_gives_no_part_for_the_whole(tmp_path: Path) -> None:
    commits = {"acme/granted": "a" * 40, "acme/part": "b" * 40, "acme/other": "c" * 40}
    with TrackerProcess(tmp_path / "data", settings={"LLMPT_REQUIRE_READ_TOKEN": "1"}) as tracker:
        file = {"path": "config.json", "size": 2, "etag": "1" * 40, "lfs": False}
        for repo, commit in commits.items():
            body = {"repo_type": "model", "repo_id": repo, "commit": commit, "refs": ["main"], "files": [file]}
            TrackerClient(tracker.url, token=tracker.token).publish(body | {"complete": repo != "acme/part"})
        command = [
            sys.executable,
            "-m",
            "llmpt_tracker",
            "token",
            "create",
            "--scope",
            "read",
            "--repos",
            "acme/granted,acme/part",
        ]
        made = subprocess.run(command, env=tracker.environ, check=True, capture_output=True, text=True, timeout=60)

        def asking(*patterns: str) -> UpstreamHub:
            return UpstreamHub(tracker.url, token=token_rule(patterns, made.stdout.strip()), stopped=lambda: False)

        granted, part, other = (RepoRef("model", name) for name in commits)
        upstream = asking("acme/*")
        found = upstream.revision(granted, "main")
        assert (found.commit, found.refs, found.public) == (commits["acme/granted"], ("main",), False)
        assert upstream.listing(granted, found.commit) == {"config.json": ListedFile(Etag("1" * 40), 2)}
        with pytest.raises(HubNo, match="in part only"):
            upstream.listing(part, upstream.revision(part, "main").commit)
        for hub, wanted, status in ((upstream, other, 404), (asking(), granted, 401)):
            with pytest.raises(HubNo) as no:
                hub.revision(wanted, "main")
            assert no.value.status == status


class Memory:
    """Keeps what the Hub said."""

    def __init__(self) -> None:
        self.answers: dict[RepoRef, Any] = {}

    def hub_answer(self, repo: RepoRef) -> Any:
        return self.answers.get(repo)

    def keep_hub_answer(self, repo: RepoRef, answer: Any) -> None:
        self.answers[repo] = answer


class Kept:
    """Keeps listings."""

    def __init__(self) -> None:
        self.known: dict[tuple[RepoRef, str], Listing | None] = {}

    def of(self, repo: RepoRef, commit: str) -> Listing | None:
        return self.known.get((repo, commit))

    def keep(self, repo: RepoRef, commit: str, files: Listing | None) -> None:
        self.known[repo, commit] = files


def looking(hub: FakeHub, memory: Memory, told: list[Mapping[str, Any]], *patterns: str, instance: str = "one") -> Lookup:
    kept: Any = Kept()
    sharing = Sharing(patterns, memory=memory, ask=lambda repo: (False, ""), clock=time.time)
    visibilities = Visibilities(sharing, shared=lambda: (), tell=lambda rows: None, met=lambda: None, clock=time.time)
    return Lookup(
        asking(hub, *patterns),
        sharing=sharing,
        listings=kept,
        visibilities=visibilities,
        publish=told.append,
        instance=lambda: instance,
    )


def test_what_was_looked_up_is_published_once_as_a_whole_listing_without_bytes(hub: FakeHub) -> None:
    commit = hub.add("org/name", {"model.bin": b"x" * 10, "config.json": b"{}"})
    memory, told = Memory(), list[Mapping[str, Any]]()
    lookup = looking(hub, memory, told)
    assert lookup.learn(ORG, "main")[0] == commit
    assert lookup.learn(ORG, "main")[0] == commit
    (body,) = told
    assert (body["commit"], body["refs"], body["complete"]) == (commit, ["main"], True)
    assert [(file["path"], file["here"]) for file in body["files"]] == [("config.json", False), ("model.bin", False)]
    assert memory.answers[ORG].public
    asked = len(hub.requests)
    assert lookup.known(ORG, commit)[0] == commit
    assert len(hub.requests) == asked


def test_a_repo_that_is_excluded_is_not_even_asked_for(hub: FakeHub) -> None:
    hub.add("org/name", {"config.json": b"{}"})
    told = list[Mapping[str, Any]]()
    with pytest.raises(HubNo, match="excluded by LLMPT_REPOS") as no:
        looking(hub, Memory(), told, "!org/*").learn(ORG, "main")
    assert no.value.status == 403
    assert (hub.requests, told) == ([], [])


# The process that fetches.


@pytest.fixture
def fetching(hub: FakeHub, tmp_path: Path) -> Iterator[FetchProcess]:
    environ = {**os.environ, "HF_TOKEN": "of-the-seeder", "HF_HUB_OFFLINE": "1"}
    with FetchProcess(endpoint=hub.url, cache=tmp_path / "mirror", environ=environ) as process:
        yield process


def fetched(process: FetchProcess, commit: str, path: str, token: str | None = None) -> Path:
    fetch = process.fetch(Place(ORG, commit, path), token)
    return eventually(lambda: fetch.answer(0.1), timeout_s=40, what=f"{path} to be fetched")


def test_files_come_by_the_librarys_own_download_into_the_cache(hub: FakeHub, fetching: FetchProcess, tmp_path: Path) -> None:
    files = {"a b/model.bin": os.urandom(MIB), "empty.txt": b""}
    commit = hub.add("org/name", files)
    for path, content in files.items():
        assert fetched(fetching, commit, path).read_bytes() == content
    blob = tmp_path / "mirror" / "models--org--name" / "blobs" / hub.file("org/name", "a b/model.bin").etag
    assert blob.read_bytes() == files["a b/model.bin"]
    assert not any(request.authorized for request in hub.requests)


def test_the_no_of_the_hub_and_a_wait_are_told_at_once(hub: FakeHub, fetching: FetchProcess) -> None:
    commit = hub.add("org/name", {"model.bin": os.urandom(MIB)}, private=True)
    with pytest.raises(FetchFailed) as no:
        fetched(fetching, commit, "model.bin")
    assert (no.value.status, no.value.code, no.value.may_pass) == (401, "RepoNotFound", False)
    assert fetched(fetching, commit, "model.bin", token="secret").stat().st_size == MIB
    hub.mode = Mode(fail_status=429, retry_after_s=77)
    started = time.monotonic()
    with pytest.raises(FetchFailed) as wait:
        fetched(fetching, commit, "other.bin", token="secret")
    assert (wait.value.status, wait.value.retry_after_s, wait.value.may_pass) == (429, 77, True)
    assert time.monotonic() - started < 10


def test_when_it_is_killed_its_fetches_have_failed_and_the_next_starts_another(hub: FakeHub, fetching: FetchProcess) -> None:
    commit = hub.add("org/name", {"model.bin": os.urandom(MIB)})
    hub.mode.stall_after_bytes = 1000
    fetch = fetching.fetch(Place(ORG, commit, "model.bin"), None)
    eventually(lambda: hub.gets("model.bin"), timeout_s=30, what="the download to begin")
    fetching.end_when_idle()
    assert fetch.answer(0.1) is None
    fetching.end()
    with pytest.raises(FetchFailed) as failed:
        eventually(lambda: fetch.answer(0.1), what="its end")
    assert failed.value.may_pass
    hub.mode = Mode()
    assert fetched(fetching, commit, "model.bin").stat().st_size == MIB


def test_a_full_disk_is_said_in_words(hub: FakeHub, tmp_path: Path) -> None:
    commit = hub.add("org/name", {"model.bin": os.urandom(3 * MIB)})
    cache = tmp_path / "mirror"
    cache.mkdir()
    python = python_with(f"mount -t tmpfs -o size=2m tmpfs '{cache}'", tmp_path / "python")
    wanted = {"id": 1, "repo_type": "model", "repo_id": "org/name", "commit": commit, "path": "model.bin", "token": ""}
    with subprocess.Popen(
        [python, "-m", "llmpt_seeder.upstream.worker"],
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path), "HF_USE_P2P": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps({**wanted, "cache": str(cache), "endpoint": hub.url}) + "\n")
        worker.stdin.flush()
        answer = json.loads(worker.stdout.readline())
        worker.stdin.close()
        assert worker.wait(10) == 0  # it ends with its standard input
    assert answer == {"id": 1, "event": "failed", "message": "No space left on device", "final": True}


def test_one_file_is_broken_off_while_another_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    commit = hub.add("org/name", {"a.bin": os.urandom(2 * MIB), "b.bin": os.urandom(2 * MIB)})
    hub.mode = Mode(throttle_bytes_s=MIB)
    with FetchProcess(endpoint=hub.url, cache=tmp_path, environ=dict(os.environ)) as process:
        first, second = (process.fetch(Place(ORG, commit, path), None) for path in ("a.bin", "b.bin"))
        growing = tmp_path / ORG.folder / "blobs"
        eventually(lambda: len(list(growing.glob("*.incomplete"))) == 2, timeout_s=20, what="both to come")
        process.cancel(first)
        process.cancel(first)  # which changes nothing
        file = eventually(lambda: second.answer(0.1), timeout_s=20, what="the other one")
        assert file.name == "b.bin"
        assert first.answer(0) is None
        hub.mode = Mode()
        again = process.fetch(Place(ORG, commit, "a.bin"), None)  # the library's lock is free: its thread has ended
        file = eventually(lambda: again.answer(0.1), timeout_s=20, what="the first one, once more")
        assert file.stat().st_size == 2 * MIB
