"""Is a file what its etag says?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llmpt.core.blob import READ_BYTES, Etag, EtagHasher
from llmpt.core.errors import ContentMismatch


def verify_file(path: Path, etag: Etag, size: int, *, on_read: Callable[[], None] | None = None) -> None:
    """Read `path` once; raise `ContentMismatch` unless its content is what `etag` and `size` (bytes) say.

    `on_read` is called after every few megabytes, so that a waiting caller can be told.
    """
    hasher = EtagHasher(etag, size)
    buffer = bytearray(READ_BYTES)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(view[:count])
            if on_read is not None:
                on_read()
    if not hasher.matches():
        raise ContentMismatch(f"{path}: {hasher.seen} bytes whose content is not that of etag {etag} ({size} bytes)")
