"""Hashing new blobs, many at once and out of the way of all else.

Worker processes (one per core, started when there is work and ended when there is none) read each blob once at low
priority. The owner hands over what is to be hashed, in order, and collects results; nothing here decides anything.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch
from llmpt.core.metainfo import Metainfo
from llmpt.disk.torrents import HashingStopped, create_torrent
from llmpt_seeder.cache.contents import BlobFile

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}  # the number of the system call
_BEST_EFFORT_LAST = 2 << 13 | 7


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
    """What the service needs: give it all that is to be hashed, in order; collect what is done."""

    def plan(self, blobs: Sequence[BlobFile]) -> None:
        """Replace what waits; what is in work goes on."""

    def collect(self) -> list[Hashed]:
        """Return what was finished since the last call."""

    def progress(self) -> HashingProgress | None:
        """Return how far it is; None when there is nothing to do. May be called from any thread."""


class HashingPool:
    """The real `Hasher`; a context manager. `on_done` is called, from another thread, whenever something is finished."""

    def __init__(self, *, on_done: Callable[[], None] = lambda: None, workers: int | None = None) -> None:
        self._on_done = on_done
        self._workers = workers or usable_cores()
        self._context = multiprocessing.get_context("spawn")
        self._cancelled = self._context.Event()
        self._counter = self._context.Value("Q", 0)
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()
        self._waiting: list[BlobFile] = []
        self._in_work: dict[Path, BlobFile] = {}
        self._finished: SimpleQueue[tuple[BlobFile, Future[Any]]] = SimpleQueue()
        self._blobs_done = self._bytes_done = 0

    def __enter__(self) -> HashingPool:
        return self

    def __exit__(self, *exc: object) -> None:
        self._cancelled.set()
        with self._lock:
            self._waiting.clear()
        self._end_pool()

    def plan(self, blobs: Sequence[BlobFile]) -> None:
        with self._lock:
            self._waiting = [blob for blob in blobs if blob.path not in self._in_work]
        self._submit()

    def collect(self) -> list[Hashed]:
        results = []
        broken = False
        while True:
            try:
                blob, future = self._finished.get_nowait()
            except Empty:
                break
            result = _outcome(blob, future)
            with self._lock:
                self._in_work.pop(blob.path, None)
                self._blobs_done += 1
                self._bytes_done += blob.size
            if result is not None:
                results.append(result)
            broken = broken or isinstance(future.exception(), BrokenProcessPool)
        if broken:
            self._end_pool()
        self._submit()
        if not self._waiting and not self._in_work:
            self._end_pool()
            self._blobs_done = self._bytes_done = self._counter.value = 0
        return results

    def progress(self) -> HashingProgress | None:
        with self._lock:
            left = [*self._in_work.values(), *self._waiting]
            if not left:
                return None
            total = self._bytes_done + sum(blob.size for blob in left)
            read = min(max(self._counter.value, self._bytes_done), total)
            current = next(iter(self._in_work.values()), None)
            return HashingProgress(
                self._blobs_done, self._blobs_done + len(left), read, total, current.etag.value if current else None
            )

    def _submit(self) -> None:
        """Keep the workers busy, with a small stock in front of them, so that a new plan takes effect soon."""
        with self._lock:
            while self._waiting and len(self._in_work) < 2 * self._workers and not self._cancelled.is_set():
                blob = self._waiting.pop(0)
                self._in_work[blob.path] = blob
                if self._pool is None:
                    self._pool = ProcessPoolExecutor(
                        self._workers,
                        mp_context=self._context,
                        initializer=_start_worker,
                        initargs=(self._cancelled, self._counter),
                    )
                try:
                    future = self._pool.submit(_hash_blob, str(blob.path), blob.etag.value)
                except BrokenProcessPool as error:
                    future = Future()
                    future.set_exception(error)
                future.add_done_callback(partial(self._done, blob))

    def _done(self, blob: BlobFile, future: Future[Any]) -> None:
        self._finished.put((blob, future))
        self._on_done()

    def _end_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _outcome(blob: BlobFile, future: Future[Any]) -> Hashed | None:
    if future.cancelled():
        return None
    try:
        size, root, layer = future.result()
        return Hashed(blob, metainfo=Metainfo(blob.etag, size, root, layer))
    except HashingStopped:
        return None
    except ContentMismatch as error:
        return Hashed(blob, mismatch=str(error).removeprefix(f"{blob.path}: "))
    except (OSError, BrokenProcessPool, ValueError) as error:
        return Hashed(blob, unreadable=getattr(error, "strerror", None) or str(error))


# What follows runs in the workers.

_cancelled: Any = None
_counter: Any = None


def _start_worker(cancelled: Any, counter: Any) -> None:
    global _cancelled, _counter
    _cancelled, _counter = cancelled, counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the seeder, which then tells us
    _be_humble()
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _hash_blob(path: str, etag: str) -> tuple[int, bytes, bytes]:
    metainfo = create_torrent(Path(path), etag=Etag(etag), on_progress=_count, cancelled=_cancelled)
    return metainfo.size, metainfo.root, metainfo.layer


def _count(read_bytes: int) -> None:
    with _counter.get_lock():
        _counter.value += read_bytes


def _be_humble() -> None:
    """Take the lowest priority of both CPU and disk that still gets on when the machine is busy."""
    os.nice(19)
    number = _IOPRIO_SET.get(platform.machine()) if sys.platform == "linux" else None
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _BEST_EFFORT_LAST)  # 1: a process, 0: this one; refused is no harm


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
