"""From a file to its torrent: one read that yields the etag check and the Merkle tree (DESIGN D2).

metainfo = create_torrent(Path("blobs/53aa51…"))
Path("model.torrent").write_bytes(metainfo.encode(announce="http://server:6969/announce"))
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from llmpt.core.blob import READ_BYTES, Etag, EtagHasher
from llmpt.core.errors import ContentMismatch
from llmpt.core.merkle import BLOCK_BYTES
from llmpt.core.metainfo import Metainfo


class Cancelled(Exception):
    """The caller asked to stop hashing."""


def create_torrent(
    path: Path,
    *,
    etag: Etag | None = None,
    on_progress: Callable[[int], None] | None = None,
    cancelled: threading.Event | None = None,
) -> Metainfo:
    """Read the blob at `path` once; return its metainfo.

    `etag` is what the content must be; by default the file's name, as in a Hub cache. `on_progress` is called with the
    number of bytes of each step. Raises `ContentMismatch` when the content is not what the etag says or changes
    underway, `InvalidName` when the name is no etag, `OSError` when it cannot be read, `Cancelled` when told to stop.
    """
    etag = etag or Etag(path.name)
    with path.open("rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        leaves, matches = _hash(file.fileno(), EtagHasher(etag, before.st_size), on_progress, cancelled)
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ContentMismatch(f"{path} changed while it was read")
    if not matches:
        raise ContentMismatch(f"{path}: the content is not what its etag {etag} says; delete it and download it again")
    return Metainfo.from_leaves(etag, before.st_size, leaves)


def _hash(
    fd: int,
    hasher: EtagHasher,
    on_progress: Callable[[int], None] | None,
    cancelled: threading.Event | None,
) -> tuple[bytes, bool]:
    """Hash the open file: the etag on a second thread (hashlib lets go of the GIL), the leaves on this one."""
    buffers = [memoryview(bytearray(READ_BYTES)) for _ in range(2)]
    leaves: list[bytes] = []
    with ThreadPoolExecutor(1, thread_name_prefix="etag") as other:
        pending = None
        while True:
            if cancelled is not None and cancelled.is_set():
                raise Cancelled
            buffer = buffers[0]
            count = os.readv(fd, [buffer])
            if count == 0:
                break
            # A short read in the middle would shift the blocks: fill up to a whole buffer, or the end of the file.
            while count < READ_BYTES and (more := os.readv(fd, [buffer[count:]])):
                count += more
            if pending is not None:
                pending.result()
            pending = other.submit(hasher.update, buffer[:count])
            for start in range(0, count, BLOCK_BYTES):
                leaves.append(sha256(buffer[start : min(start + BLOCK_BYTES, count)]).digest())
            buffers.reverse()
            if on_progress is not None:
                on_progress(count)
        if pending is not None:
            pending.result()
    return b"".join(leaves), hasher.matches()
