"""What a tracker has lost comes back, and what the cache has lost is withdrawn: by what is there, not by what is remembered."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from llmpt.core.holdings import HeldCommit, HeldRef, Holdings
from llmpt.core.repo import RepoRef
from llmpt_seeder.publishing.said import Said, difference
from tests.support.cache_builder import CacheBuilder, RepoBuilder, lfs_sha256
from tests.unit.seeder.fakes import Bench, FakeTracker

BIG, OTHER = b"big" * 1000, b"other" * 1000
REPO, COMMIT = RepoRef("model", "org/model"), "1" * 40


@pytest.fixture
def model(cache: CacheBuilder, bench: Bench) -> RepoBuilder:
    """A repo that is published."""
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG, "config.json": b"{}"}, lfs={"model.bin"}, refs=["main", "v1"], commit=COMMIT, listing=True)
    bench.work()
    return repo


def manifest(bench: Bench) -> dict[str, Any]:
    return bench.tracker.manifests["model", "org/model", COMMIT]


def state_of(tracker: FakeTracker) -> Any:
    return copy.deepcopy((tracker.torrents, tracker.manifests))


def test_an_older_copy_of_the_trackers_database_is_filled_again(cache: CacheBuilder, bench: Bench, model: RepoBuilder) -> None:
    older = state_of(bench.tracker)
    cache.repo("org/new").commit({"new.bin": OTHER}, lfs={"new.bin"})
    bench.work()
    newer = state_of(bench.tracker)
    for _ in range(2):  # by the same copy, too
        bench.tracker.torrents, bench.tracker.manifests = copy.deepcopy(older)
        bench.work()
        assert state_of(bench.tracker)[0] == newer[0]
        assert bench.tracker.paths(RepoRef("model", "org/new"), cache.repo("org/new").folder.joinpath("refs/main").read_text())
        bench.work()


def lose_all(tracker: FakeTracker) -> None:
    tracker.torrents.clear()
    tracker.manifests.clear()


def lose_a_torrent(tracker: FakeTracker) -> None:
    tracker.torrents.clear()


def change(**fields: Any) -> Callable[[FakeTracker], None]:
    def lose(tracker: FakeTracker) -> None:
        tracker.manifests["model", "org/model", COMMIT].update(fields)

    return lose


def lose_a_line(tracker: FakeTracker) -> None:
    tracker.manifests["model", "org/model", COMMIT]["files"].pop()


def lose_that_it_is_here(tracker: FakeTracker) -> None:
    tracker.manifests["model", "org/model", COMMIT]["files"][0]["here"] = False


@pytest.mark.parametrize(
    "lose", [lose_all, lose_a_torrent, change(complete=False), change(refs=["main"]), lose_a_line, lose_that_it_is_here]
)
def test_a_single_thing_that_was_lost_comes_back(
    bench: Bench, model: RepoBuilder, lose: Callable[[FakeTracker], None], caplog: pytest.LogCaptureFixture
) -> None:
    before = state_of(bench.tracker)
    lose(bench.tracker)
    bench.work()
    torrents, manifests = state_of(bench.tracker)
    assert (torrents, manifests.keys()) == (before[0], before[1].keys())
    for name in ("files", "refs", "complete"):
        assert manifest(bench)[name] == before[1]["model", "org/model", COMMIT][name]
    assert "the tracker does not have 1 of 1 commits as they were published there" in caplog.text


def test_what_is_lost_while_the_seeder_is_away_comes_back_too(bench: Bench, model: RepoBuilder) -> None:
    before = state_of(bench.tracker)
    lose_all(bench.tracker)
    bench.restart()
    bench.work()
    assert state_of(bench.tracker)[0] == before[0]


def test_what_the_tracker_will_not_keep_is_not_published_for_ever(
    bench: Bench, model: RepoBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.tracker, "holdings", Holdings)
    for _ in range(5):
        bench.work()
    assert len(bench.tracker.bodies) == 2 + 2


def test_a_repo_that_was_deleted_is_withdrawn_with_its_refs(bench: Bench, model: RepoBuilder) -> None:
    shutil.rmtree(model.folder)
    bench.work()
    assert (manifest(bench)["files"], manifest(bench)["refs"]) == ([], [])
    bodies = len(bench.tracker.bodies)
    bench.work()
    assert len(bench.tracker.bodies) == bodies


@pytest.mark.parametrize("what", ["the repo", "all its blobs"])
def test_what_is_deleted_is_withdrawn_by_the_next_look_and_no_heartbeat_is_waited_for(
    bench: Bench, model: RepoBuilder, what: str
) -> None:
    bench.work()
    shutil.rmtree(model.folder / "blobs" if what == "all its blobs" else model.folder)
    bench.caches.look()
    bench.service.reconcile()
    assert manifest(bench)["files"] == []


def test_a_repo_that_comes_back_is_published_again(bench: Bench, model: RepoBuilder) -> None:
    away = model.folder.with_name("away")
    model.folder.rename(away)
    bench.work()
    away.rename(model.folder)
    bench.work()
    assert bench.tracker.paths(REPO, COMMIT) == ["config.json", "model.bin"]


def test_a_file_that_was_deleted_is_here_no_longer(bench: Bench, model: RepoBuilder) -> None:
    model.blob_path(lfs_sha256(BIG)).unlink()
    bench.work()
    assert bench.tracker.paths(REPO, COMMIT) == ["config.json"]
    assert [file["path"] for file in manifest(bench)["files"]] == ["config.json", "model.bin"]  # it stays known


def test_a_ref_that_was_deleted_is_withdrawn(bench: Bench, model: RepoBuilder) -> None:
    (model.folder / "refs/v1").unlink()
    bench.work()
    assert manifest(bench)["refs"] == ["main"]


def test_what_was_deleted_while_the_seeder_was_away_is_withdrawn(bench: Bench, model: RepoBuilder) -> None:
    shutil.rmtree(model.folder)
    bench.restart()
    bench.work()
    assert manifest(bench)["files"] == []


def test_what_a_seeder_does_not_know_to_have_published_is_withdrawn(bench: Bench, model: RepoBuilder) -> None:
    shutil.rmtree(model.folder)
    bench.state.drop_manifest(REPO, COMMIT)
    bench.restart()
    bench.work()
    assert manifest(bench)["files"] == []


def test_what_is_not_shared_any_more_is_withdrawn(bench: Bench, model: RepoBuilder) -> None:
    bench.patterns = ("!org/model", "*")
    bench.restart()
    bench.work()
    assert manifest(bench)["files"] == []


def test_a_cache_that_cannot_be_looked_at_loses_nothing(
    cache: CacheBuilder, bench: Bench, model: RepoBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.root.rename(cache.root.with_name("unmounted"))
    bench.work()
    assert bench.tracker.paths(REPO, COMMIT) == ["config.json", "model.bin"]
    bench.restart()
    bench.work()
    assert bench.tracker.paths(REPO, COMMIT) == ["config.json", "model.bin"]


def test_an_older_tracker_is_told_as_ever(cache: CacheBuilder, bench: Bench) -> None:
    bench.tracker.knows_names = False
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"}, commit=COMMIT)
    bench.work()
    shutil.rmtree(repo.folder)
    bench.work()
    assert len(bench.tracker.bodies) == 2
    assert not {"seeder", "anew", "more"} & {name for body in bench.tracker.bodies for name in body}


def told(*, here: int = 2, torrents: int = 1, refs: dict[str, str | None] | None = None) -> Holdings:
    named = {"main": COMMIT} if refs is None else refs
    held = tuple(HeldRef(REPO, name, commit) for name, commit in named.items())
    return Holdings((HeldCommit(REPO, COMMIT, False, 5, here, torrents),), held)


@pytest.mark.parametrize(
    ("has", "lost"),
    [
        (told(), False),
        (told(torrents=2), False),  # another publisher has one more
        (told(here=1), True),
        (told(here=3), True),
        (told(torrents=0), True),
        (told(refs={}), True),
        (told(refs={"main": "2" * 40}), True),
        (told(refs={"main": None}), False),  # moved by another publisher, whose word that is
        (told(refs={"main": COMMIT, "gone": COMMIT}), True),
        (Holdings(), True),
    ],
)
def test_what_is_lost_is_found_by_its_figures(has: Holdings, lost: bool) -> None:
    said = {(REPO, COMMIT): Said("digest", here=2, torrents=1, refs=("main",))}
    assert bool(difference(said, has).lost) is lost


def test_what_was_said_is_remembered_as_text() -> None:
    said = Said("digest", 2, 1, 5, ("main", "v 1"))
    assert Said.parse(str(said)) == said
    assert Said.parse("digest") == Said("digest")
