"""A sample of what the LAN says of commits, held against a Hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmpt.agent.sharing.sample import NAME, Doubt, Sample, Sampling
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerUnavailable
from llmpt.core.repo import Commit, RepoPath, RepoRef
from llmpt.host.loops import Health
from llmpt.link import answered
from llmpt.link.answered import Answered
from llmpt.tracker.catalogue import File, Manifest
from tests.support.hub import FakeHub, Mode

ORG = RepoRef("model", "org/name")
CONTENT = {"config.json": b"{}", "model.safetensors": b"x" * 99}


class World:
    """A Hub, a tracker that says the same, and a host on which the LAN has answered for a commit."""

    def __init__(self, hub: FakeHub, home: Path) -> None:
        self.hub, self.environ = hub, {"HOME": str(home)}
        self.commit = hub.add("org/name", CONTENT)
        files = hub.repos["model", "org/name"].commits[self.commit]
        self.files = tuple(File(RepoPath(path), file.size, Etag(file.etag)) for path, file in files.items())
        self.told: list[Doubt] = []
        self.health = Health()
        self.tracker_is_up = True
        answered.note(self.environ, Answered(hub.url, ORG, self.commit))

    def manifest(self, repo: RepoRef, commit: str) -> Manifest:
        if not self.tracker_is_up:
            raise TrackerUnavailable("no answer")
        return Manifest(repo, Commit(commit), (), True, self.files, open=True)

    def check(self, path: str = "config.json") -> None:
        folder = answered.folder(self.environ)
        assert folder is not None

        def choose(files: object) -> File:
            return next(file for file in self.files if file.path.value == path)

        sampling = Sampling(choose=choose)
        Sample(folder, manifest=self.manifest, tell=self.told.append, health=self.health, sampling=sampling).check()

    @property
    def is_trusted(self) -> bool:
        return not answered.distrusted(self.environ, self.hub.url, ORG)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with FakeHub() as hub:
        yield World(hub, tmp_path)


@pytest.mark.parametrize("path", list(CONTENT))
def test_what_the_hub_says_too_is_looked_at_once_a_day_by_two_questions_without_a_token(world: World, path: str) -> None:
    for _ in range(3):
        world.check(path)
        answered.note(world.environ, Answered(world.hub.url, ORG, world.commit))
    assert world.is_trusted
    said = [(request.method, request.path, request.authorized) for request in world.hub.requests]
    assert said == [("HEAD", path, False), ("GET", f"/api/models/org/name/revision/{world.commit}", False)]
    assert (world.told, world.health.troubles()) == ([], [])


@pytest.mark.parametrize("path", list(CONTENT))
@pytest.mark.parametrize("what", ["etag", "size", "file"])
def test_a_difference_is_loud_and_the_repo_is_not_trusted_any_more(
    world: World, caplog: pytest.LogCaptureFixture, path: str, what: str
) -> None:
    wrong = {"etag": {"etag": Etag("a" * 40)}, "size": {"size_bytes": 7}, "file": {"path": RepoPath("lost.txt")}}[what]
    world.files = tuple(replace(file, **wrong) if file.path.value == path else file for file in world.files)  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR):
        world.check("lost.txt" if what == "file" else path)
    assert not world.is_trusted
    (doubt,) = world.told
    assert doubt.of == Answered(world.hub.url, ORG, world.commit)
    assert "org/name are not used any more" in caplog.text
    (trouble,) = world.health.troubles()
    assert trouble.name == NAME
    assert doubt.words in trouble.error


@pytest.mark.parametrize("what", ["all", "one", "added", "commit"])
def test_what_the_lan_leaves_out_or_makes_up_is_found_whichever_file_is_taken(world: World, what: str) -> None:
    more = replace(world.files[0], path=RepoPath("more.py"))
    world.files = {"all": (), "one": world.files[:1], "added": (*world.files, more), "commit": world.files}[what]
    if what == "commit":
        repo = world.hub.repos["model", "org/name"]
        repo.commits = {"e" * 40: repo.commits[world.commit]}
        repo.refs = {"main": "e" * 40}
    world.check()
    assert not world.is_trusted
    (doubt,) = world.told
    assert doubt.path == {"all": "config.json", "one": "model.safetensors", "added": "more.py", "commit": ""}[what]


def test_a_file_that_a_program_doubts_is_the_one_that_is_looked_at(world: World) -> None:
    answered.doubt(world.environ, Answered(world.hub.url, ORG, world.commit, "model.safetensors"), "it differs")
    world.check()
    assert world.hub.requests[0].path == "model.safetensors"


def test_a_repo_that_the_hub_shows_no_longer_says_nothing_of_the_commit(world: World) -> None:
    world.hub.repos["model", "org/name"].gated = True
    world.check()
    assert world.is_trusted


@pytest.mark.parametrize("mode", [Mode(fail_status=504), Mode(fail_status=429, retry_after_s=9)], ids=["504", "429"])
def test_a_hub_that_fails_is_asked_another_time(world: World, mode: Mode) -> None:
    world.hub.mode = mode
    world.check()
    world.hub.mode = Mode()
    world.tracker_is_up = False
    world.check()
    world.tracker_is_up = True
    world.files = tuple(replace(file, etag=Etag("a" * 40)) for file in world.files)
    world.check()
    assert not world.is_trusted


def test_what_was_found_is_shown_after_a_restart_until_its_note_is_removed(world: World) -> None:
    files, world.files = world.files, tuple(replace(file, etag=Etag("a" * 40)) for file in world.files)
    world.check()
    world.files, world.health = files, Health()
    world.check()
    assert len(world.health.troubles()) == 1
    folder = answered.folder(world.environ)
    assert folder is not None
    for path in folder.glob("*.wrong"):
        path.unlink()
    world.check()
    assert world.is_trusted
    assert world.health.troubles() == []
