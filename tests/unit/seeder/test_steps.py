"""What a step of the seeder costs follows from what changed, not from what there is: counted in calls, not in seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt_seeder.hashing.readers import Hashed
from tests.support.cache_builder import CacheBuilder, RepoBuilder, commit_id
from tests.unit.seeder.fakes import Bench

FEW, MANY = 5, 25  # repos
FILES = 10


@pytest.fixture
def benches(tmp_path: Path) -> Iterator[dict[int, tuple[Bench, RepoBuilder]]]:
    """A seeder with few repos and one with many, in which all is done, each with its last repo."""
    with ExitStack() as stack:
        found = {}
        for repos in (FEW, MANY):
            cache = CacheBuilder(tmp_path / f"hub-{repos}")
            built = [a_repo(cache, number) for number in range(repos)]
            bench = stack.enter_context(Bench(tmp_path / f"{repos}.db", cache.root))
            bench.work()
            found[repos] = bench, built[-1]
        yield found


def a_repo(cache: CacheBuilder, number: int) -> RepoBuilder:
    repo = cache.repo(f"org/model-{number}")
    files = {f"f{n}": f"{number}/{n}".encode().ljust(1200 if n % 2 else 20, b".") for n in range(FILES)}
    for revision in ("old", "new"):
        repo.commit({**files, revision: f"{number}".encode()}, commit=commit_id((number, revision)), lfs=files)
    return repo


def calls(do: Callable[[], object]) -> int:
    """Return how many functions are called, Python's own included."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


def test_a_step_with_nothing_new_costs_the_same_however_much_there_is(benches: dict[int, tuple[Bench, RepoBuilder]]) -> None:
    costs = {}
    for repos, (bench, _) in benches.items():
        bench.caches.look()
        costs[repos] = calls(bench.service.reconcile)
    assert costs[MANY] == costs[FEW]


def test_one_new_blob_costs_the_same_however_much_there_is(benches: dict[int, tuple[Bench, RepoBuilder]]) -> None:
    costs = {}
    for repos, (bench, repo) in benches.items():
        commit = commit_id((repos - 1, "new"))
        repo.link(commit, "added", repo.blob(b"added".ljust(1500), lfs=True))
        bench.caches.look()
        costs[repos] = sum(calls(bench.service.reconcile) for _ in range(3))
        assert "added" in bench.tracker.paths(repo.ref, commit)
    commits = 2 * (MANY - FEW)
    assert costs[MANY] - costs[FEW] <= 10 * commits  # each is asked whether a changed etag concerns it


def test_a_refused_manifest_costs_nothing_until_it_is_offered_again(benches: dict[int, tuple[Bench, RepoBuilder]]) -> None:
    costs = {}
    for repos, (bench, repo) in benches.items():
        commit = commit_id((repos - 1, "new"))
        bench.tracker.refuse = lambda body, commit=commit: "no" if body.get("commit") == commit else None  # type: ignore[misc]
        repo.link(commit, "added", repo.blob(b"added", lfs=True))
        bench.work()
        offers = len(bench.tracker.bodies)
        costs[repos] = calls(bench.service.reconcile)
        assert "the tracker refused it: no" in bench.problems()
        bench.now += 601
        bench.service.reconcile()
        assert len(bench.tracker.bodies) == offers + 1
    assert costs[MANY] == costs[FEW]


def test_blobs_that_cannot_be_read_cost_no_more_than_what_is_told_of_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    costs = {}
    for repos in (FEW * 2, FEW * 4):
        cache = CacheBuilder(tmp_path / f"hub-{repos}")
        for number in range(repos):
            a_repo(cache, number)
        with Bench(tmp_path / f"{repos}.db", cache.root) as bench:

            def refuse(bench: Bench = bench) -> list[Hashed]:
                planned, bench.hasher.planned = bench.hasher.planned, []
                return [Hashed(blob, unreadable="Input/output error") for blob in planned]

            bench.hasher.collect = refuse  # type: ignore[method-assign]
            bench.work()
            assert sum("Input/output error" in record.message for record in caplog.records) <= 10
            caplog.clear()
            costs[repos] = calls(bench.service.reconcile)
            problems = bench.service.report()["problems"]
            assert isinstance(problems, list)
            assert len(problems) == 100
    assert len(set(costs.values())) == 1


@pytest.mark.parametrize("what", ["engine.unreadable", "state.keep_published", "state.metainfo", "state.transaction"])
def test_after_steps_that_failed_nothing_is_forgotten(
    benches: dict[int, tuple[Bench, RepoBuilder]], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, repo = benches[FEW]
    etag = Etag(repo.blob(b"added".ljust(1500), lfs=True))
    repo.link(commit_id((FEW - 1, "new")), "added", etag.value)
    bench.caches.look()
    part, name = what.split(".")
    with monkeypatch.context() as patch:
        patch.setattr(getattr(bench, part), name, fail)
        for _ in range(3):
            with suppress(OSError):
                bench.service.reconcile()
        assert etag not in bench.engine.blobs
    for _ in range(2):
        bench.service.reconcile()
    assert etag in bench.engine.blobs
    assert "added" in bench.tracker.paths(repo.ref, commit_id((FEW - 1, "new")))


def fail(*_: object, **__: object) -> None:
    raise OSError("no space left")
