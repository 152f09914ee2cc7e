"""The etag check of a file that is still arriving: its verified beginning is hashed while the rest comes.

With the last byte of ten gigabytes on disk, only what was not hashed yet is read, not the whole file again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from llmpt.core.blob import READ_BYTES, Etag, EtagHasher
from llmpt.core.errors import ContentMismatch
from llmpt.disk.opening import open_file

SLICE_BYTES = 16 << 20  # a hundredth of a second: a program that waits for the transfer is not kept waiting


class PrefixHasher:
    """Reads the file at `path`, no link, which others write, or the one that is open as that descriptor; a context manager.

    `hashed_bytes` is how far it has come.
    """

    def __init__(self, path: Path | int, etag: Etag, size: int, *, slice_bytes: int = SLICE_BYTES) -> None:
        self._path, self._slice_bytes = path, slice_bytes
        self._hasher = EtagHasher(etag, size)
        self._buffer = memoryview(bytearray(READ_BYTES))

    def __enter__(self) -> PrefixHasher:
        path = self._path
        self._descriptor = os.dup(path) if isinstance(path, int) else open_file(path, follow=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)

    @property
    def descriptor(self) -> int:
        """What the file is read from."""
        return self._descriptor

    @property
    def hashed_bytes(self) -> int:
        return self._hasher.seen

    def advance(self, verified_bytes: int) -> bool:
        """Hash a slice of the first `verified_bytes` of the file, which will not change; True when more of them are left."""
        end = min(verified_bytes, self.hashed_bytes + self._slice_bytes)
        while self.hashed_bytes < end:
            if self._read(end - self.hashed_bytes) == 0:
                return False  # not to be seen yet: the next time
        return self.hashed_bytes < verified_bytes

    def finish(self, *, on_read: Callable[[], None]) -> None:
        """Hash the rest; raise `ContentMismatch` unless the whole is what the etag says. `on_read` is called now and then."""
        while self._read(len(self._buffer)):
            on_read()
        if not self._hasher.matches():
            raise ContentMismatch(f"{self.hashed_bytes} bytes whose content is not that of etag {self._hasher.etag}")

    def _read(self, limit: int) -> int:
        count = os.preadv(self._descriptor, [self._buffer[:limit]], self.hashed_bytes)
        self._hasher.update(self._buffer[:count])
        return count
