"""A publisher says of a commit what is not so, for a real library, a real tracker, and a Hub that knows better."""

from __future__ import annotations

import hashlib
import random
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.repo import RepoRef
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from tests.contract.conftest import HUB_VERSIONS
from tests.support.environments import environment
from tests.support.holder import Holder, holder
from tests.support.hub import FakeHub, Mode
from tests.support.lan import BIG
from tests.support.machine import Machine
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually

_RANDOM = random.Random(5)
FILES = {"config.json": b'{"is": "right"}', "notes.txt": b"n" * 900, "model.safetensors": _RANDOM.randbytes(BIG + 10)}
PROGRAM = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1]))
"""


@dataclass
class World:
    """A tracker that takes what a publisher of `wrong/*` says, and a Hub."""

    tracker: TrackerProcess
    hub: FakeHub
    publisher: Holder

    def lines(self, repo: str) -> dict[str, dict[str, Any]]:
        """What is so, as a publisher says it."""
        files = self.hub.repos["model", repo].commits[self.commit(repo)]
        return {
            path: {"path": path, "size": file.size, "etag": file.etag, "lfs": file.lfs, "here": False}
            for path, file in files.items()
        }

    def commit(self, repo: str) -> str:
        return self.hub.repos["model", repo].commit_of("main") or ""

    def publish(self, repo: str, lines: dict[str, dict[str, Any]], *, commit: str = "") -> None:
        """Publish the listing of a commit, and that the LAN may answer for it."""
        body = {"repo_type": "model", "repo_id": repo, "commit": commit or self.commit(repo), "refs": ["main"], "complete": True}
        assert self.publisher.send("POST", "/api/v1/publish", {**body, "files": list(lines.values())})[0] == 200
        rows = [{"repo_type": "model", "repo_id": repo, "shown": "public", "age_s": 0}]
        assert self.publisher.send("PUT", f"/api/v1/seeders/{repo[6:]}/repos", {"hub": self.hub.url, "repos": rows})[0] == 200
        assert Catalogue(TrackerClient(self.tracker.url)).manifest(RepoRef("model", repo), "main").open

    def machine(self, version: str | None = None) -> Machine:
        python = None if version is None else environment(version)
        return Machine("ann", tracker=self.tracker.url, hub=self.hub.url, python=python)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with FakeHub() as hub, TrackerProcess(tmp_path_factory.mktemp("wrong") / "data") as tracker:
        yield World(tracker, hub, holder(tracker, "publish", "wrong/*", name="wrong"))


def contradictions(cache: Path) -> list[str]:
    """Name the blobs of a cache whose content is not what their name says."""
    found = []
    for path in cache.glob("models--*/blobs/*"):
        content = path.read_bytes()
        whole = hashlib.sha256(content) if len(path.name) == 64 else hashlib.sha1(b"blob %d\0" % len(content) + content)
        if not path.name.endswith(".incomplete") and whole.hexdigest() != path.name:
            found.append(path.name)
    return found


def altered(world: World, repo: str, path: str, what: str) -> dict[str, dict[str, Any]]:
    """Make a repo on the Hub; return what is so but for one file."""
    world.hub.add(repo, FILES)
    lines = world.lines(repo)
    if what == "added":
        return {**lines, path: {**lines["config.json"], "path": path, "etag": "cd" * 20}}
    lines[path][what] = {"etag": "ab" * (len(lines[path]["etag"]) // 2), "size": lines[path]["size"] - 1}[what]
    return lines


@pytest.mark.parametrize(
    ("path", "what", "version", "mode"),
    [
        pytest.param("config.json", "etag", None, Mode(hides_etags=True), id="small-hash"),
        pytest.param("model.safetensors", "etag", None, Mode(), id="large"),
        pytest.param("config.json", "etag", HUB_VERSIONS[0], Mode(), id="small", marks=pytest.mark.slow),
        pytest.param("model.safetensors", "etag", None, Mode(hides_etags=True), id="large-hash", marks=pytest.mark.slow),
        pytest.param("config.json", "size", None, Mode(), id="size", marks=pytest.mark.slow),
        pytest.param("model.safetensors", "size", HUB_VERSIONS[0], Mode(), id="large-size", marks=pytest.mark.slow),
        pytest.param("more.json", "added", None, Mode(), id="added", marks=pytest.mark.slow),
    ],
)
def test_no_file_enters_a_cache_under_another_etag_than_its_own(
    world: World, request: pytest.FixtureRequest, path: str, what: str, version: str | None, mode: Mode
) -> None:
    repo = f"wrong/{request.node.callspec.id}"
    world.publish(repo, altered(world, repo, path, what))
    world.hub.mode = mode
    try:
        with world.machine(version) as ann:
            for loud in (True, False):
                ran = ann.run("-c", PROGRAM, repo, check=what != "added" or not loud)
                assert contradictions(ann.cache) == []
                assert (f"llmpt: the LAN's answers for {repo} are not used any more" in ran.stderr) is loud, ran.stderr
                assert ("EntryNotFoundError" in ran.stderr) is (what == "added" and loud)
            folder = Path(ran.stdout.splitlines()[-1])
            assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    finally:
        world.hub.mode = Mode()


def test_a_branch_that_moves_while_the_lan_answers_for_its_commit_is_followed_and_nobody_is_blamed(world: World) -> None:
    repo = "wrong/moved"
    world.hub.add(repo, FILES)
    world.publish(repo, world.lines(repo))
    program = """
import os, sys, time
from huggingface_hub import HfApi, hf_hub_download
print(HfApi().repo_info(sys.argv[1]).sha, flush=True)
while not os.path.exists("moved"):
    time.sleep(0.01)
print(open(hf_hub_download(sys.argv[1], "config.json")).read())
"""
    with world.machine() as ann, ann.start("-c", program, repo) as running:
        assert running.stdout is not None
        assert running.stdout.readline().strip() == world.commit(repo)
        world.hub.add(repo, {**FILES, "config.json": b'{"is": "newer"}'})
        (ann.root / "moved").touch()
        out, err = running.communicate(timeout=60)
        assert out.strip() == '{"is": "newer"}'
        assert "not used any more" not in err
        assert contradictions(ann.cache) == []


@pytest.mark.slow  # an agent looks within two minutes after its start
def test_the_agent_finds_what_was_left_out_and_tells_its_user_and_the_operator(world: World) -> None:
    repo = "wrong/less"
    world.hub.add(repo, FILES)
    world.publish(repo, {path: line for path, line in world.lines(repo).items() if path != "notes.txt"})
    with world.machine() as ann:
        folder = Path(ann.run("-c", PROGRAM, repo).stdout.splitlines()[-1])
        assert not (folder / "notes.txt").exists()
        words = f"notes.txt of {world.commit(repo)[:12]} is on the Hub"
        eventually(lambda: words in ann.agent_log(), timeout_s=150, what="the agent to look")
        assert words in ann.llmpt("status")
        assert words in ann.llmpt("doctor", check=False)
        with urllib.request.urlopen(
            urllib.request.Request(world.tracker.url, headers={"Authorization": f"Bearer {world.tracker.token}"}), timeout=5
        ) as page:
            assert "notes.txt" in page.read().decode()
        assert sorted(path.name for path in ann.cache.glob("*/trees/*")) == []
        assert (Path(ann.run("-c", PROGRAM, repo).stdout.splitlines()[-1]) / "notes.txt").exists()
        world.hub.forget()
        ann.run("-c", "import sys\nfrom huggingface_hub import HfApi\nprint(HfApi().repo_info(sys.argv[1]).sha)", repo)
        assert [one.raw_path for one in world.hub.requests if "agent-harnesses" not in one.raw_path] == [f"/api/models/{repo}"]


def test_a_branch_that_a_publisher_turns_back_points_where_the_hub_says(world: World) -> None:
    repo = "wrong/older"
    world.hub.add(repo, FILES)
    lines, older = world.lines(repo), world.commit(repo)
    world.hub.add(repo, {**FILES, "config.json": b'{"is": "newer"}'})
    world.publish(repo, lines, commit=older)
    with world.machine() as ann:
        folder = Path(ann.run("-c", PROGRAM, repo).stdout.splitlines()[-1])
        assert (folder.name, (folder / "config.json").read_bytes()) == (world.commit(repo), b'{"is": "newer"}')
