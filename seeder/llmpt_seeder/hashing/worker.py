"""What runs in a hashing process: one batch of files after the other, at low priority."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch
from llmpt.disk.stamp import FileStamp
from llmpt.disk.torrents import FileChanged, read_torrent

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}  # the number of the system call
_BEST_EFFORT_LAST = 2 << 13 | 7

_cancelled: Any = None
_counter: Any = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no torrent of a file: it is not what its etag says (`mismatch`), or could not be read."""

    reason: str
    mismatch: bool


Outcome = tuple[int, bytes, bytes] | Failure  # size, root and layer


def start_worker(cancelled: Any, counter: Any) -> None:
    """Prepare a process. `cancelled` is an event that ends its work, `counter` counts the bytes that were read."""
    global _cancelled, _counter
    _cancelled, _counter = cancelled, counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the seeder, which then tells us
    _be_humble()
    threading.Thread(target=_die_with_parent, daemon=True).start()


def hash_batch(files: Sequence[tuple[str, str, FileStamp]]) -> list[Outcome]:
    """Read files, given with etag and stamp; return what came of each. Raises `HashingStopped` when told to stop."""
    return [_hash(path, Etag(etag), stamp) for path, etag, stamp in files]


def _hash(path: str, etag: Etag, stamp: FileStamp) -> Outcome:
    try:
        metainfo, _ = read_torrent(Path(path), etag=etag, expected=stamp, on_progress=_count, cancelled=_cancelled)
    except ContentMismatch as error:
        return Failure(str(error).removeprefix(f"{path}: "), mismatch=True)
    except (OSError, ValueError, FileChanged) as error:
        return Failure(getattr(error, "strerror", None) or str(error), mismatch=False)
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
