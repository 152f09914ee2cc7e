"""The hashing pool: real worker processes, small blobs."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.disk.stamp import FileStamp
from llmpt.disk.torrents import create_torrent
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.hashing.readers import Hashed, HashingPool
from tests.support.cache_builder import git_sha1, lfs_sha256
from tests.support.waiting import eventually


def blob(folder: Path, data: bytes, *, lfs: bool = True) -> BlobFile:
    etag = lfs_sha256(data) if lfs else git_sha1(data)
    path = folder / etag
    path.write_bytes(data)
    return BlobFile(Etag(etag), path, FileStamp.of(path.stat()))


@pytest.fixture
def done() -> threading.Event:
    return threading.Event()


@pytest.fixture
def pool(done: threading.Event) -> Iterator[HashingPool]:
    with HashingPool(on_done=done.set, workers=2) as pool:
        yield pool


def plan(pool: HashingPool, *blobs: BlobFile) -> None:
    pool.add((blob, "one repo") for blob in blobs)


def collect(pool: HashingPool, count: int) -> list[Hashed]:
    found: list[Hashed] = []

    def enough() -> bool:
        found.extend(pool.collect())
        return len(found) >= count

    eventually(enough, timeout_s=30, what=f"{count} hashed blobs")
    return found


def test_every_planned_blob_comes_back_hashed_or_with_a_reason(pool: HashingPool, tmp_path: Path, done: threading.Event) -> None:
    good = [blob(tmp_path, os.urandom(100_000 + i), lfs=i % 2 == 0) for i in range(6)]
    rotten = blob(tmp_path, b"right")
    rotten.path.write_bytes(b"wrong")
    rotten = replace(rotten, stamp=FileStamp.of(rotten.path.stat()))
    gone = blob(tmp_path, b"gone")
    gone.path.unlink()
    plan(pool, *good, rotten, gone)
    progress = pool.progress()
    assert progress is not None
    assert (progress.blobs_total, progress.bytes_total) == (8, sum(b.size for b in good) + 9)
    results = {hashed.blob.etag: hashed for hashed in collect(pool, 8)}
    assert all(results[b.etag].metainfo == create_torrent(b.path) for b in good)
    assert "not what its etag" in (results[rotten.etag].mismatch or "")
    assert str(tmp_path) not in (results[rotten.etag].mismatch or "")
    assert results[gone.etag].unreadable == "No such file or directory"
    assert done.is_set()
    assert pool.progress() is None


def test_what_is_dropped_before_its_turn_is_not_read(pool: HashingPool, tmp_path: Path) -> None:
    huge = [sparse_terabyte(tmp_path, name) for name in ("aa", "bb", "cc", "dd")]  # two in work, and two in front of the workers
    plan(pool, *huge)
    small = blob(tmp_path, b"small")
    plan(pool, small)
    pool.drop(small)
    progress = pool.progress()
    assert progress is not None
    assert (progress.blobs_total, progress.bytes_total) == (4, 4 << 40)


def test_what_waits_or_is_in_work_is_not_added_again(pool: HashingPool, tmp_path: Path) -> None:
    blobs = [blob(tmp_path, os.urandom(1000 + i)) for i in range(20)]
    plan(pool, *blobs)
    plan(pool, *blobs)
    assert sorted(result.blob.path for result in collect(pool, 20)) == sorted(blob.path for blob in blobs)
    assert pool.progress() is None


def test_a_worker_that_dies_costs_only_what_it_had_in_work(pool: HashingPool, tmp_path: Path) -> None:
    huge = sparse_terabyte(tmp_path)
    plan(pool, huge)
    eventually(lambda: (p := pool.progress()) and p.bytes_done > 0, timeout_s=30, what="the first bytes read")
    for worker in multiprocessing.active_children():
        worker.kill()
    (hashed,) = collect(pool, 1)
    assert hashed.unreadable is not None
    small = blob(tmp_path, b"small")
    plan(pool, small)
    assert [result.blob for result in collect(pool, 1)] == [small]


def test_a_worker_that_dies_costs_none_of_the_small_files_of_its_batch(pool: HashingPool, tmp_path: Path) -> None:
    stopped = [fifo(tmp_path, name) for name in ("aa", "bb")]  # one for each worker: it waits for a writer
    good = [blob(tmp_path, os.urandom(1000 + i)) for i in range(20)]
    plan(pool, stopped[0], *good[:10])
    pool.add((file, "another repo") for file in [stopped[1], *good[10:]])
    eventually(lambda: len(multiprocessing.active_children()) == 2, timeout_s=30, what="two workers")
    for worker in multiprocessing.active_children():
        worker.kill()
    for file in stopped:
        file.path.unlink()
    results = {hashed.blob.path: hashed for hashed in collect(pool, 22)}
    assert all(results[file.path].metainfo is not None for file in good)
    assert all(results[file.path].unreadable is not None for file in stopped)


def fifo(folder: Path, name: str) -> BlobFile:
    path = folder / (name * 32)
    os.mkfifo(path)
    return BlobFile(Etag(path.name), path, FileStamp.of(path.stat()))


def sparse_terabyte(folder: Path, name: str = "ab") -> BlobFile:
    """Make a blob that takes hours to hash."""
    path = folder / (name * 32)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    return BlobFile(Etag(path.name), path, FileStamp.of(path.stat()))


def test_ending_cuts_off_what_is_in_work(tmp_path: Path) -> None:
    huge = sparse_terabyte(tmp_path)
    with HashingPool(workers=1) as pool:
        plan(pool, huge)
        eventually(lambda: (p := pool.progress()) and p.bytes_done > 0, timeout_s=30, what="the first bytes read")
    assert pool.collect() == []
