"""Is a file what its etag says?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from llmpt.core.blob import READ_BYTES, Etag, EtagHasher
from llmpt.core.errors import ContentMismatch
from llmpt.disk.opening import open_file
from llmpt.disk.stamp import FileStamp


def verify_file(path: Path, etag: Etag, size: int, *, on_read: Callable[[], None] | None = None) -> FileStamp:
    """Read `path` once; raise `ContentMismatch` unless its content is what `etag` and `size` (bytes) say.

    Return the stamp that the file had before it was read, whatever the path names by now. `on_read` is called after every few
    megabytes, so that a waiting caller can be told.
    """
    descriptor = open_file(path)
    try:
        stamp = FileStamp.of(os.fstat(descriptor))
        seen = _read(descriptor, etag, size, on_read)
    finally:
        os.close(descriptor)
    if seen is not None:
        raise ContentMismatch(f"{path}: {seen} bytes whose content is not that of etag {etag} ({size} bytes)")
    return stamp


def verify_open(descriptor: int, etag: Etag, size: int) -> None:
    """Do the same with the file that is open as `descriptor`, whatever its path is by now."""
    seen = _read(descriptor, etag, size, None)
    if seen is not None:
        raise ContentMismatch(f"what was written for etag {etag} is not on the disk: {seen} bytes with another content")


def _read(descriptor: int, etag: Etag, size: int, on_read: Callable[[], None] | None) -> int | None:
    """Read the whole; return None when it is right, else how many bytes it has."""
    hasher = EtagHasher(etag, size)
    buffer = memoryview(bytearray(READ_BYTES))
    while count := os.preadv(descriptor, [buffer], hasher.seen):
        hasher.update(buffer[:count])
        if on_read is not None:
            on_read()
    return None if hasher.matches() else hasher.seen
