"""Degraded beats down: what is seeded stays seeded, whatever the state's disk, the state's file or one blob says."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.core.repo import RepoRef
from llmpt_seeder.life import Life, what_is_wrong
from tests.support.cache_builder import CacheBuilder, lfs_sha256
from tests.support.small_disk import SmallDisk, small_disk
from tests.unit.seeder.fakes import Bench

BIG = bytes(range(256)) * 8
OTHER = bytes(reversed(range(256))) * 9
THIRD = BIG + OTHER


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", kib=512) as disk:
        yield disk


@pytest.fixture
def full_bench(disk: SmallDisk, cache: CacheBuilder) -> Iterator[Bench]:
    """A bench whose state lies on a disk of its own, with one blob that is published and seeded."""
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    with Bench(disk.root / "seeder.db", cache.root) as bench:
        bench.work()
        assert bench.engine.etags() == {lfs_sha256(BIG)}
        yield bench


def test_what_is_read_on_a_full_disk_is_published_when_there_is_room(
    disk: SmallDisk, cache: CacheBuilder, full_bench: Bench
) -> None:
    disk.fill()
    repo = cache.repo("org/other")
    commit = repo.commit({"one.bin": OTHER, "two.bin": THIRD}, lfs={"one.bin", "two.bin"})
    for _ in range(3):
        full_bench.work()
    read = list(full_bench.hasher.read)
    assert full_bench.engine.etags() == {lfs_sha256(BIG)}
    assert "cannot be written" in full_bench.problems()
    disk.free()
    full_bench.work()
    assert full_bench.engine.etags() == {lfs_sha256(data) for data in (BIG, OTHER, THIRD)}
    assert full_bench.tracker.paths(repo.ref, commit) == ["one.bin", "two.bin"]
    assert sorted(full_bench.hasher.read) == sorted(set(read) | set(full_bench.hasher.read)), "a file was read twice"
    assert full_bench.problems() == "[]"


@pytest.mark.parametrize("tracker", ["the same", "another", "away"])
def test_a_seeder_that_starts_on_a_full_disk_seeds_what_it_knows(disk: SmallDisk, full_bench: Bench, tracker: str) -> None:
    full_bench.state.close()
    disk.fill()
    if tracker == "another":
        full_bench.tracker.start_over()
    full_bench.tracker.up = tracker != "away"
    seeder_id = full_bench.state.seeder_id
    full_bench.restart()
    full_bench.work()
    assert full_bench.hasher.read == []
    assert full_bench.engine.etags() == {lfs_sha256(BIG)}
    assert full_bench.state.seeder_id == seeder_id
    assert "seeder.db" in full_bench.problems()


def test_a_hub_whose_answer_cannot_be_kept_is_not_asked_at_each_look(disk: SmallDisk, cache: CacheBuilder) -> None:
    asked: list[str] = []

    def ask(repo: RepoRef) -> tuple[bool, str]:
        asked.append(repo.id)
        return True, "public"

    with Bench(disk.root / "seeder.db", cache.root, ask=ask) as bench:
        bench.patterns = ()
        bench.restart()
        disk.fill()
        cache.repo("org/model").commit({"config.json": b"{}"})
        for _ in range(3):
            bench.work()
        assert asked == ["org/model"]


@pytest.mark.parametrize("kind", ["garbage", "an etag that is none", "another program's"])
def test_a_state_that_is_damaged_is_set_aside_and_made_anew(cache: CacheBuilder, bench: Bench, kind: str) -> None:
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    bench.state.close()
    if kind == "garbage":
        bench.database.write_bytes(b"garbage" * 1000)
    else:
        with sqlite3.connect(bench.database) as sql:
            if kind == "an etag that is none":
                sql.execute("INSERT INTO published_torrents VALUES ('../../etc/passwd')")
            else:
                sql.execute("DROP TABLE facts")
                sql.execute("CREATE TABLE facts (something TEXT)")
        sql.close()
    bench.restart()
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(BIG)}
    assert "set aside as" in bench.problems()
    assert bench.database.with_name("seeder.db.bad").exists()


def test_a_file_that_cannot_be_looked_at_after_it_was_read_keeps_no_other_back(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG, "other.bin": OTHER, "third.bin": THIRD}, lfs={"model.bin", "other.bin", "third.bin"})
    bench.hasher.held = True
    bench.work()
    first = bench.hasher.planned[0]
    bench.hasher.held = False
    bench.hasher.on_read = lambda path: _make_loop(path) if path == first.path else None
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(data) for data in (BIG, OTHER, THIRD)} - {first.etag.value}


def _make_loop(path: Path) -> None:
    """Make of a file what `stat` fails at."""
    path.unlink()
    path.symlink_to(path.name)


def test_the_signs_of_life_go_on_on_a_full_disk(disk: SmallDisk) -> None:
    now = [1000.0]
    life = Life(disk.root / "seeder.alive", clock=lambda: now[0])
    life.beat("work")
    disk.fill()
    now[0] += 500
    life.beat("work")
    assert what_is_wrong(disk.root / "seeder.alive", now=now[0]) is None
    disk.free()
    now[0] += 500
    life.beat("work")
    assert json.loads((disk.root / "seeder.alive").read_text())["beats"] == {"work": now[0]}
