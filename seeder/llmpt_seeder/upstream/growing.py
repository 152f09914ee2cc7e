"""Files that come in just now: hashed as they grow, and given to clients that cannot wait for the whole.

Each try of a fetch is a `GrowingBlob` of its own: when it breaks off, a client that was reading it is cut off, and asks again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch
from llmpt.core.files import FileId, real_path
from llmpt.disk.growth import unfinished
from llmpt.disk.opening import open_file
from llmpt.disk.prefix import PrefixHasher
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.blobs.sources import FileState, OpenBlob


class GrowingBlob:
    """One try to fetch a blob of `size` bytes into `blobs`, a folder of the cache. One thread writes, many read."""

    def __init__(self, etag: Etag, size: int, blobs: Path) -> None:
        self.etag, self.size = etag, size
        self.state = FileState.GROWING
        self.path: Path | None = None
        self.stamp: FileStamp | None = None
        self.bytes = 0
        self._blobs = blobs
        self._hasher: PrefixHasher | None = None
        self._stack = ExitStack()
        self._closing = threading.Lock()  # no descriptor is another file's while it is copied

    def look(self) -> int:
        """See how far the file is, and hash what is new; return its bytes."""
        if self.path is None:
            self._find()
        if self.path is None or self._hasher is None:
            return 0
        try:
            self.bytes = min(self.path.stat().st_size, self.size)
        except OSError:  # it has been renamed: the fetch is about to end
            return self.bytes
        self._hasher.advance(self.bytes)
        return self.bytes

    def finish(self, file: Path) -> None:
        """Verify the whole of `file`; raise `ContentMismatch` or `OSError` when it is not what it should be."""
        try:
            real = real_path(file)
            whole = self._stack.enter_context(PrefixHasher(real, self.etag, self.size))
            facts = os.fstat(whole.descriptor)
            if self._hasher is None or FileId.of(os.fstat(self._hasher.descriptor)) != FileId.of(facts):
                self._hasher = whole  # not the file that was seen to grow
            self._hasher.finish(on_read=lambda: None)
            self.stamp = FileStamp.of(os.fstat(whole.descriptor))
            if self.stamp.size != self.size:
                raise ContentMismatch(f"{self.stamp.size} bytes instead of {self.size}")
        except (ContentMismatch, OSError):
            self.fail()
            raise
        with self._closing:
            self.path, self.bytes, self.state = real, self.size, FileState.WHOLE
            self._stack.close()

    def fail(self) -> None:
        """No client is sent any more of it."""
        with self._closing:
            if self.state is FileState.GROWING:
                self.state = FileState.FAILED
                self._stack.close()

    def _find(self) -> None:
        for entry in unfinished(self._blobs, self.etag.value):
            try:
                hasher = self._stack.enter_context(PrefixHasher(Path(entry.path), self.etag, self.size))
            except OSError:  # it has gone, or is no file
                continue
            if self._is_ours(os.fstat(hasher.descriptor)):
                self._hasher, self.path = hasher, Path(entry.path)
                return

    def _is_ours(self, facts: os.stat_result) -> bool:
        """Whether our own fetch writes it: its owner is ours, or what a server makes of ours, which made the folder, too."""
        return facts.st_nlink == 1 and facts.st_uid in (os.geteuid(), self._blobs.stat().st_uid)

    def open(self) -> int | None:
        """Return a descriptor of the file that grows, or has grown; None: it cannot be had now."""
        try:
            with self._closing:
                if self.state is FileState.GROWING and self._hasher is not None:
                    return os.dup(self._hasher.descriptor)
            return open_file(self.path, follow=False) if self.state is FileState.WHOLE and self.path is not None else None
        except OSError:
            return None


class GrowingBlobs:
    """What comes in, and what has just come in: a source of the blob server. Its methods are called by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._growing: dict[Etag, GrowingBlob] = {}

    def begin(self, growing: GrowingBlob) -> None:
        """Note a try; an earlier one of the same blob is over."""
        with self._lock:
            before = self._growing.pop(growing.etag, None)
            self._growing[growing.etag] = growing
        if before is not None:
            before.fail()

    def of(self, etag: Etag) -> GrowingBlob | None:
        """Return the last try to fetch a blob."""
        with self._lock:
            return self._growing.get(etag)

    def forget(self, known: Callable[[Etag], bool]) -> None:
        """Let go of what has broken off, and of what others know of by now."""
        with self._lock:
            over = [etag for etag, one in self._growing.items() if _is_over(one, known)]
            for etag in over:
                del self._growing[etag]

    def open(self, etag: Etag) -> OpenBlob | None:
        """Open what there is of a blob, for one client."""
        growing = self.of(etag)
        if growing is None or growing.state is FileState.FAILED:
            return None
        file = _GrowingFile(growing)
        if growing.state is FileState.WHOLE and not file.is_right():
            file.close()
            return None
        return file


def _is_over(growing: GrowingBlob, known: Callable[[Etag], bool]) -> bool:
    if growing.state is FileState.WHOLE:
        return known(growing.etag)
    return growing.state is FileState.FAILED


class _GrowingFile:
    """A growing as one client reads it; opened when its first byte is there."""

    def __init__(self, growing: GrowingBlob) -> None:
        self._growing = growing
        self._descriptor: int | None = None

    @property
    def size(self) -> int:
        return self._growing.size

    @property
    def state(self) -> FileState:
        return self._growing.state

    def is_right(self) -> bool:
        """Whether the file is the one that was found to be whole."""
        return self._open() and FileStamp.of(os.fstat(self.fileno())).is_same(self._growing.stamp)

    def available(self) -> int:
        if not self._open():
            return 0
        return self.size if self._growing.state is FileState.WHOLE else min(os.fstat(self.fileno()).st_size, self.size)

    def fileno(self) -> int:
        assert self._descriptor is not None  # noqa: S101  nothing is read before something is there
        return self._descriptor

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> bool:
        if self._descriptor is None:
            self._descriptor = self._growing.open()
        return self._descriptor is not None
