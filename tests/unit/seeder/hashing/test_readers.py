"""The hashing pool: real worker processes, small blobs."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.disk.inventory import FileStamp
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
    gone = blob(tmp_path, b"gone")
    gone.path.unlink()
    pool.plan([*good, rotten, gone])
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


def test_a_new_plan_replaces_what_waits(pool: HashingPool, tmp_path: Path) -> None:
    blobs = [blob(tmp_path, os.urandom(1000 + i)) for i in range(20)]
    pool.plan(blobs)
    pool.plan(blobs[-1:])
    hashed = {result.blob for result in collect(pool, 5)}
    assert blobs[-1] in hashed
    assert len(hashed) == 5  # four were in work already


def test_a_worker_that_dies_costs_only_what_it_had_in_work(pool: HashingPool, tmp_path: Path) -> None:
    huge = sparse_terabyte(tmp_path)
    pool.plan([huge])
    eventually(lambda: (p := pool.progress()) and p.bytes_done > 0, timeout_s=30, what="the first bytes read")
    for worker in multiprocessing.active_children():
        worker.kill()
    (hashed,) = collect(pool, 1)
    assert hashed.unreadable is not None
    small = blob(tmp_path, b"small")
    pool.plan([small])
    assert [result.blob for result in collect(pool, 1)] == [small]


def sparse_terabyte(folder: Path) -> BlobFile:
    """Make a blob that takes hours to hash."""
    path = folder / ("ab" * 32)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    return BlobFile(Etag(path.name), path, FileStamp.of(path.stat()))


def test_ending_cuts_off_what_is_in_work(tmp_path: Path) -> None:
    huge = sparse_terabyte(tmp_path)
    with HashingPool(workers=1) as pool:
        pool.plan([huge])
        eventually(lambda: (p := pool.progress()) and p.bytes_done > 0, timeout_s=30, what="the first bytes read")
    assert pool.collect() == []
