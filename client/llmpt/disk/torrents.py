"""From a file to its torrent: one read that yields the etag check and the Merkle tree.

metainfo = create_torrent(Path("blobs/53aa51…"))
Path("model.torrent").write_bytes(metainfo.encode(announce="http://server:6969/announce"))
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue

from llmpt.core.blob import Etag, EtagHasher
from llmpt.core.errors import ContentMismatch, LlmptError
from llmpt.core.merkle import BLOCK_BYTES, PieceHasher
from llmpt.core.metainfo import Metainfo, piece_length_for
from llmpt.disk.opening import open_file
from llmpt.disk.stamp import FileStamp

# Small enough to stay in a core's second-level cache between the two hashes, and to let them run side by side.
STEP_BYTES = 1 << 20
BUFFERS = 8


class HashingStopped(LlmptError):
    """The caller asked to stop hashing."""


class FileChanged(LlmptError):
    """The path names another file than the one that was meant."""


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
    underway, `InvalidName` when the name is no etag, `MetainfoError` for a file of no bytes, `OSError` when it cannot be
    read, `HashingStopped` when told to stop.
    """
    return read_torrent(path, etag=etag, on_progress=on_progress, cancelled=cancelled)[0]


def read_torrent(
    path: Path,
    *,
    etag: Etag | None = None,
    expected: FileStamp | None = None,
    on_progress: Callable[[int], None] | None = None,
    cancelled: threading.Event | None = None,
) -> tuple[Metainfo, FileStamp]:
    """Do the same; return, too, the stamp that the file had before it was read, whatever the path names by now.

    With `expected` it must be the file of that stamp, and no link; else `FileChanged`, before it is read.
    """
    etag = etag or Etag(path.name)
    descriptor = open_file(path, follow=expected is None)
    try:
        before = os.fstat(descriptor)
        if expected is not None and not expected.is_same(FileStamp.of(before)):
            raise FileChanged(f"{path} is another file than a moment ago")
        content = EtagHasher(etag, before.st_size)
        tree = PieceHasher(before.st_size, piece_length_for(before.st_size))
        if before.st_size <= STEP_BYTES:
            _hash_at_once(descriptor, content, tree, on_progress, cancelled)
        else:
            _hash(descriptor, content, tree, on_progress, cancelled)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ContentMismatch(f"{path} changed while it was read")
    if not content.matches():
        raise ContentMismatch(f"{path}: the content is not what its etag {etag} says; delete it and download it again")
    return Metainfo(etag, before.st_size, *tree.finish()), FileStamp.of(before)


class _Buffer:
    """Room for one step, cut into blocks once (slicing memory views costs more than one thinks)."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(STEP_BYTES))
        self.blocks = [self.view[i : i + BLOCK_BYTES] for i in range(0, STEP_BYTES, BLOCK_BYTES)]

    def leaves(self, count: int) -> bytes:
        whole, rest = divmod(count, BLOCK_BYTES)
        digests = [sha256(block).digest() for block in (self.blocks if count == STEP_BYTES else self.blocks[:whole])]
        if rest:
            digests.append(sha256(self.blocks[whole][:rest]).digest())
        return b"".join(digests)


def _hash(
    fd: int,
    content: EtagHasher,
    tree: PieceHasher,
    on_progress: Callable[[int], None] | None,
    cancelled: threading.Event | None,
) -> None:
    """Feed the open file to both: read and etag on this thread, the tree on another (hashlib lets go of the GIL)."""
    free: SimpleQueue[_Buffer] = SimpleQueue()
    full: SimpleQueue[tuple[_Buffer, int] | None] = SimpleQueue()
    made = 0

    def grow_tree() -> None:
        while (item := full.get()) is not None:
            buffer, count = item
            tree.add(buffer.leaves(count))
            free.put(buffer)

    other = threading.Thread(target=grow_tree, name="merkle", daemon=True)
    other.start()
    try:
        while True:
            if cancelled is not None and cancelled.is_set():
                raise HashingStopped("told to stop")
            if made < BUFFERS and free.empty():
                buffer, made = _Buffer(), made + 1
            else:
                buffer = free.get()
            count = _fill(fd, buffer.view)
            if count == 0:
                break
            full.put((buffer, count))
            content.update(buffer.view if count == STEP_BYTES else buffer.view[:count])
            if on_progress is not None:
                on_progress(count)
    finally:
        full.put(None)
        other.join()


def _hash_at_once(
    fd: int,
    content: EtagHasher,
    tree: PieceHasher,
    on_progress: Callable[[int], None] | None,
    cancelled: threading.Event | None,
) -> None:
    """Do the same for a file of one step: a thread and buffers would cost more than its bytes."""
    if cancelled is not None and cancelled.is_set():
        raise HashingStopped("told to stop")
    data = bytearray()
    while len(data) <= content.size and (part := os.read(fd, STEP_BYTES)):
        data += part
    content.update(data)
    view = memoryview(data)
    tree.add(b"".join(sha256(view[at : at + BLOCK_BYTES]).digest() for at in range(0, len(data), BLOCK_BYTES)))
    if on_progress is not None:
        on_progress(len(data))


def _fill(fd: int, view: memoryview) -> int:
    """Read until `view` is full or the file ends: a short read in the middle would shift the blocks."""
    count = os.readv(fd, [view])
    while 0 < count < len(view) and (more := os.readv(fd, [view[count:]])):
        count += more
    return count
