"""Hashing new blobs, many at once and out of the way of all else.

Worker processes (one per core, started when there is work and ended when there is none) read each blob once at low
priority, a batch at a time. The owner says what is to be read and collects results; nothing here decides anything but the
order: repos take turns.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from llmpt.core.metainfo import Metainfo
from llmpt.disk.torrents import HashingStopped
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.hashing.turns import BatchLimits, Turns
from llmpt_seeder.hashing.worker import Failure, Outcome, hash_batch, start_worker

log = logging.getLogger("llmpt.seeder")

MAX_UNCOLLECTED = 20_000  # files; while the owner does other things no more than that is read ahead


@dataclass(frozen=True, slots=True)
class Hashed:
    """What came of reading one blob: its metainfo; or why it is not what its etag says; or why it could not be read."""

    blob: BlobFile
    metainfo: Metainfo | None = None
    mismatch: str | None = None
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class HashingProgress:
    """How far the hashing of all that is new has come; `current` is one of the etags in work."""

    blobs_done: int
    blobs_total: int
    bytes_done: int
    bytes_total: int
    current: str | None


class Hasher(Protocol):
    """What the service needs: say what is to be read; collect what is done."""

    def add(self, blobs: Iterable[tuple[BlobFile, Hashable]]) -> None:
        """Have files read, unless they are waiting or in work already; each comes with what takes turns: its repo."""

    def drop(self, blob: BlobFile) -> None:
        """Read a file no more; if it is in work, its result comes all the same."""

    def collect(self) -> list[Hashed]:
        """Return what was finished since the last call."""

    def progress(self) -> HashingProgress | None:
        """Return how far it is; None when there is nothing to do. May be called from any thread."""


class HashingPool:
    """The real `Hasher`; a context manager. `on_done` is called, from another thread, whenever something is finished."""

    def __init__(
        self, *, on_done: Callable[[], None] = lambda: None, workers: int | None = None, limits: BatchLimits = BatchLimits()
    ) -> None:
        self._on_done = on_done
        self._workers = workers or usable_cores()
        self._context = multiprocessing.get_context("spawn")
        self._cancelled = self._context.Event()
        self._counter = self._context.Value("Q", 0)
        self._pool: ProcessPoolExecutor | None = None
        self._paused = False  # no batch is given to the pool: it broke, or ends
        self._lock, self._submitting = threading.Lock(), threading.Lock()
        self._waiting = Turns(limits)
        self._in_work: dict[Path, BlobFile] = {}  # up to when it is collected
        self._in_work_bytes = self._batches = 0
        self._finished: SimpleQueue[tuple[list[BlobFile], Future[list[Outcome]]]] = SimpleQueue()
        self._blobs_done = self._bytes_done = 0

    def __enter__(self) -> HashingPool:
        return self

    def __exit__(self, *exc: object) -> None:
        self._cancelled.set()
        with self._lock:
            self._waiting.clear()
        self._end_pool()

    def add(self, blobs: Iterable[tuple[BlobFile, Hashable]]) -> None:
        with self._lock:
            for blob, turn in blobs:
                if self._in_work.get(blob.path) != blob:
                    self._waiting.add(blob, turn)
        self._submit()

    def drop(self, blob: BlobFile) -> None:
        with self._lock:
            self._waiting.drop(blob)

    def collect(self) -> list[Hashed]:
        results: list[Hashed] = []
        while True:
            try:
                batch, future = self._finished.get_nowait()
            except Empty:
                break
            with self._lock:
                for blob in batch:
                    if self._in_work.get(blob.path) is blob:
                        del self._in_work[blob.path]
                    self._in_work_bytes -= blob.size
            if _is_lost(future) and len(batch) > 1:
                self._try_one_by_one(batch)
                continue
            outcomes = _outcomes(batch, future)
            results += outcomes
            self._blobs_done += len(batch)
            self._bytes_done += sum(blob.size for blob in batch)
        if self._paused:
            self._end_pool()
        self._submit()
        with self._lock:
            idle = not self._waiting.files and not self._in_work
        if idle:
            self._end_pool()
            self._blobs_done = self._bytes_done = self._counter.value = 0
        return results

    def progress(self) -> HashingProgress | None:
        with self._lock:
            left, left_bytes = len(self._in_work) + self._waiting.files, self._in_work_bytes + self._waiting.size
            if not left:
                return None
            total = self._bytes_done + left_bytes
            read = min(max(self._counter.value, self._bytes_done), total)
            current = next(iter(self._in_work.values()), None)
            return HashingProgress(
                self._blobs_done, self._blobs_done + left, read, total, current.etag.value if current else None
            )

    def _submit(self) -> None:
        """Keep the workers busy, with a small stock in front of them, so that what is added later has its turn soon."""
        if not self._submitting.acquire(blocking=False):
            return  # the other thread, or a caller of ours, goes on
        try:
            while batch := self._next_batch():
                # Not under our lock: a pool that breaks calls us back under its own.
                self._start(batch).add_done_callback(partial(self._done, batch))
        finally:
            self._submitting.release()

    def _next_batch(self) -> list[BlobFile]:
        with self._lock:
            if self._batches >= 2 * self._workers or len(self._in_work) >= MAX_UNCOLLECTED or self._paused:
                return []
            batch = [] if self._cancelled.is_set() else self._waiting.next_batch()
            if batch:
                self._in_work.update((blob.path, blob) for blob in batch)
                self._in_work_bytes += sum(blob.size for blob in batch)
                self._batches += 1
            return batch

    def _start(self, batch: list[BlobFile]) -> Future[list[Outcome]]:
        try:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._workers, mp_context=self._context, initializer=start_worker, initargs=(self._cancelled, self._counter)
                )
            return self._pool.submit(hash_batch, [(str(blob.path), blob.etag.value, blob.stamp) for blob in batch])
        except (BrokenProcessPool, OSError, RuntimeError) as error:  # also: no process or thread can be started now
            self._paused = True
            future: Future[list[Outcome]] = Future()
            future.set_exception(error)
            return future

    def _done(self, batch: list[BlobFile], future: Future[list[Outcome]]) -> None:
        with self._lock:
            self._batches -= 1
            self._paused = self._paused or _is_lost(future)
        self._finished.put((batch, future))
        self._submit()  # on the pool's own thread: its workers need not wait for the owner
        self._on_done()

    def _try_one_by_one(self, batch: list[BlobFile]) -> None:
        """One of them may be what ended a worker: only that one is to blame."""
        with self._lock:
            for blob in batch:
                self._waiting.add(blob, batch[0].path, alone=True)

    def _end_pool(self) -> None:
        self._paused = True  # its last words start no other pool
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        self._paused = False


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_lost(future: Future[Any]) -> bool:
    """Whether a batch was not read to its end, through no fault of its files."""
    return future.cancelled() or isinstance(future.exception(), BrokenProcessPool)


def _outcomes(batch: list[BlobFile], future: Future[list[Outcome]]) -> list[Hashed]:
    if future.cancelled():
        return []
    try:
        return [_hashed(blob, outcome) for blob, outcome in zip(batch, future.result(), strict=True)]
    except HashingStopped:
        return []
    except (OSError, RuntimeError) as error:
        return [Hashed(blob, unreadable=getattr(error, "strerror", None) or str(error)) for blob in batch]
    except Exception as error:
        log.exception("a bug of llmpt: a batch of files could not be read")
        return [Hashed(blob, unreadable=type(error).__name__) for blob in batch]


def _hashed(blob: BlobFile, outcome: Outcome) -> Hashed:
    if isinstance(outcome, Failure):
        return Hashed(blob, mismatch=outcome.reason) if outcome.mismatch else Hashed(blob, unreadable=outcome.reason)
    return Hashed(blob, metainfo=Metainfo(blob.etag, *outcome))
