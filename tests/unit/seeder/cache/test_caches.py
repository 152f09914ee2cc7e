"""Several caches: each is looked at by itself, and together they are one."""

from __future__ import annotations

import os
import shutil

import pytest

from llmpt.core.repo import RepoRef
from tests.support.cache_builder import CacheBuilder, commit_id, lfs_sha256
from tests.unit.seeder.fakes import Bench

BIG = bytes(range(256)) * 8
OTHER = bytes(reversed(range(256))) * 9


@pytest.fixture
def mirror(bench: Bench) -> CacheBuilder:
    return CacheBuilder(bench.mirror)


def test_a_second_cache_that_is_not_there_is_no_problem(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(BIG)}
    assert bench.problems() == "[]"


def test_what_lies_in_both_caches_is_seeded_from_the_first(cache: CacheBuilder, mirror: CacheBuilder, bench: Bench) -> None:
    mirror.repo("org/a").commit({"model.bin": BIG}, lfs={"model.bin"})
    repo = cache.repo("org/b")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    assert bench.engine.seeded_at == [repo.blob_path(lfs_sha256(BIG))]


def test_the_parts_of_a_commit_in_two_caches_are_one_manifest(cache: CacheBuilder, mirror: CacheBuilder, bench: Bench) -> None:
    commit = cache.repo("org/model").commit({"a.bin": BIG}, lfs={"a.bin"}, refs=["main"])
    mirror.repo("org/model").commit({"b.bin": OTHER}, lfs={"b.bin"}, refs=["v1"], commit=commit)
    bench.work()
    assert bench.tracker.paths(RepoRef("model", "org/model"), commit) == ["a.bin", "b.bin"]
    assert bench.tracker.manifests["model", "org/model", commit]["refs"] == ["main", "v1"]
    bodies = len(bench.tracker.bodies)
    bench.work()
    assert len(bench.tracker.bodies) == bodies


@pytest.mark.parametrize("newer", ["cache", "mirror"])
def test_a_branch_points_where_it_was_last_seen_to(cache: CacheBuilder, mirror: CacheBuilder, bench: Bench, newer: str) -> None:
    commits = {}
    for name, builder in (("cache", cache), ("mirror", mirror)):
        repo = builder.repo("org/model")
        commits[name] = repo.commit({"f": name.encode()}, commit=commit_id(name))
        seconds = 2_000_000_000 if name == newer else 1_000_000_000
        os.utime(repo.folder / "refs" / "main", (seconds, seconds))
    bench.work()
    refs = {name: bench.tracker.manifests["model", "org/model", commit]["refs"] for name, commit in commits.items()}
    assert refs == {name: ["main"] if name == newer else [] for name in commits}


def test_one_repo_is_looked_at_again_and_all_else_counts_as_it_was_seen(
    cache: CacheBuilder, mirror: CacheBuilder, bench: Bench
) -> None:
    bench.work()
    cache.repo("org/a").commit({"a.bin": BIG}, lfs={"a.bin"})
    fetched, other = mirror.repo("org/b"), mirror.repo("org/c")
    fetched.commit({"b.bin": OTHER}, lfs={"b.bin"})
    other.commit({"c.bin": OTHER + b"c"}, lfs={"c.bin"})
    bench.wake.clear()
    bench.service.look_at(bench.mirror, fetched.ref)
    assert bench.wake.is_set()
    look_where_asked(bench)
    assert bench.engine.etags() == {lfs_sha256(OTHER)}
    bench.service.look_at(bench.mirror, other.ref)
    look_where_asked(bench)
    assert bench.engine.etags() == {lfs_sha256(OTHER), lfs_sha256(OTHER + b"c")}
    shutil.rmtree(fetched.folder)
    bench.service.look_at(bench.mirror, fetched.ref)
    look_where_asked(bench)
    assert bench.engine.etags() == {lfs_sha256(OTHER + b"c")}
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(BIG), lfs_sha256(OTHER + b"c")}


def look_where_asked(bench: Bench) -> None:
    bench.caches.look_where_asked()
    for _ in range(3):
        bench.service.reconcile()


def test_a_rotten_file_of_the_second_cache_is_named_from_that_cache_on(mirror: CacheBuilder, bench: Bench) -> None:
    repo = mirror.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    repo.blob_path(lfs_sha256(BIG)).write_bytes(b"x" + BIG[1:])
    bench.work()
    assert repr(f"models--org--model/blobs/{lfs_sha256(BIG)}") in bench.problems()
