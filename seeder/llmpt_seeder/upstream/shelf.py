"""The cache that is fetched into, and its quota: what was not wanted for longest goes first.

Wanted is what a client asked for, over HTTP or from the swarm, and what was fetched. Only blobs of this cache are ever removed,
and with each the links of its repo's snapshots that lead to it.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.filesize import decimal

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidName, SettingError
from llmpt.disk.growth import unfinished
from llmpt.disk.inventory import Inventory
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.errors import FetchFailed
from llmpt_seeder.upstream.growing import GrowingBlobs

log = logging.getLogger("llmpt.seeder")

# Left on the disk for others: a twentieth of it, within these bounds.
LEAST_SPARE_BYTES, MOST_SPARE_BYTES = 16 << 20, 10 << 30
_SCHEMA = "CREATE TABLE IF NOT EXISTS mirror_wanted (etag TEXT PRIMARY KEY, wanted_at REAL NOT NULL) WITHOUT ROWID"


class Shelf:
    """Owns the cache at `root`, and what comes into it just now (`growing`); 0 as `quota_bytes` is no limit. `uploaded` says
    how many bytes of each blob the swarm took.

    Its methods may be called from any thread.
    """

    def __init__(
        self,
        root: Path,
        *,
        quota_bytes: int,
        memory: Inventory,
        clock: Callable[[], float],
        uploaded: Callable[[], Mapping[Etag, int]] = dict,
    ) -> None:
        self.root, self.growing = root, GrowingBlobs()
        self._real_root = root.resolve()
        self._quota_bytes, self._memory, self._clock, self._uploaded = quota_bytes, memory, clock, uploaded
        self._lock = threading.RLock()
        self._coming: dict[Etag, int] = {}
        self._touched: dict[Etag, float] = {}
        self._sent: dict[Etag, int] = {}
        with memory.transaction() as sql:
            sql.execute(_SCHEMA)

    def prepare(self) -> None:
        """Make the cache ready to be written to; raise `SettingError` when it cannot be."""
        try:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
            for blobs in self.root.glob("*--*/blobs"):
                self._clear(blobs)  # of a life before
        except OSError as error:
            raise SettingError(f"LLMPT_MIRROR_CACHE={str(self.root)!r} cannot be used: {error.strerror}") from None

    def want(self, etag: Etag) -> None:
        """Note that a client wants a blob."""
        with self._lock:
            self._touched[etag] = self._clock()

    def noting(self, find: Callable[[Etag], BlobFile | None]) -> Callable[[Etag], BlobFile | None]:
        """Return `find`, and note that what it finds here is wanted."""

        def noted(etag: Etag) -> BlobFile | None:
            blob = find(etag)
            if blob is not None and blob.path.is_relative_to(self._real_root):
                self.want(etag)
            return blob

        return noted

    @contextmanager
    def room(self, etag: Etag, size: int) -> Iterator[None]:
        """Hold `size` bytes for a blob that is about to come; drop others until it fits. Raises `FetchFailed` in words."""
        with self._lock:
            self._make_room(size)
            self._coming[etag] = size
        try:
            yield
        finally:
            with self._lock:
                del self._coming[etag]

    def remove(self, etag: Etag) -> None:
        """Remove a blob, and every link to it."""
        with self._lock:
            for path, _ in self._blobs().get(etag, ()):
                self._unlink(path)

    def clear_unfinished(self, blobs: Path, etag: Etag) -> None:
        """Remove what a fetch that broke off has left in the folder `blobs`."""
        self._clear(blobs, etag.value)

    def _clear(self, blobs: Path, stem: str = "") -> None:
        for entry in unfinished(blobs, stem):
            Path(entry.path).unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        if self._quota_bytes:
            if size > self._quota_bytes:
                quota = decimal(self._quota_bytes)
                raise FetchFailed(f"{decimal(size)} can never fit into LLMPT_MIRROR_QUOTA, which is {quota}", final=True)
            blobs = self._blobs()
            used = sum(bytes_ for files in blobs.values() for _, bytes_ in files) + sum(self._coming.values())
            if used + size > self._quota_bytes:
                used = self._drop(blobs, used, size)
            if used + size > self._quota_bytes:
                raise FetchFailed(f"LLMPT_MIRROR_QUOTA is used up by files that come just now: no room for {decimal(size)}")
        disk = shutil.disk_usage(self.root)
        spare = min(max(disk.total // 20, LEAST_SPARE_BYTES), MOST_SPARE_BYTES)
        if disk.free < sum(self._coming.values()) + size + spare:
            raise FetchFailed(
                f"the disk of LLMPT_MIRROR_CACHE is full: {decimal(size)} do not fit into {decimal(disk.free)}, "
                f"of which {decimal(spare)} are left for others",
                final=True,
            )

    def _drop(self, blobs: dict[Etag, list[tuple[Path, int]]], used: int, size: int) -> int:
        for etag, sent in self._uploaded().items():
            if sent > self._sent.get(etag, 0):
                self._sent[etag] = sent
                self._touched[etag] = self._clock()
        wanted = self._wanted()
        for etag in sorted(blobs, key=lambda one: wanted.get(one, 0.0)):
            if used + size <= self._quota_bytes:
                break
            for path, bytes_ in blobs[etag]:
                log.info("dropped, to make room: %s (%s)", path.relative_to(self.root), decimal(bytes_))
                self._unlink(path)
                used -= bytes_
        return used

    def _wanted(self) -> dict[Etag, float]:
        """Return when each blob was wanted last; what is new is written down."""
        with self._memory.transaction() as sql:
            rows = [(etag.value, at) for etag, at in self._touched.items()]
            sql.executemany("INSERT OR REPLACE INTO mirror_wanted VALUES (?, ?)", rows)
            self._touched.clear()
            return {Etag(etag): at for etag, at in sql.execute("SELECT etag, wanted_at FROM mirror_wanted")}

    def keep(self) -> None:
        """Write down what was wanted, so that it is known after a restart."""
        with self._lock:
            if self._touched:
                self._wanted()

    def _blobs(self) -> dict[Etag, list[tuple[Path, int]]]:
        found: dict[Etag, list[tuple[Path, int]]] = {}
        for folder in self.root.glob("*--*/blobs"):
            for entry in os.scandir(folder):
                try:
                    etag = Etag(entry.name)
                    if entry.is_file(follow_symlinks=False):
                        found.setdefault(etag, []).append((Path(entry.path), entry.stat().st_size))
                except (InvalidName, OSError):
                    continue
        return found

    def _unlink(self, blob: Path) -> None:
        """Remove the links first: a link that leads nowhere is passed over, a blob without a link too."""
        for folder, _, names in os.walk(blob.parents[1] / "snapshots"):
            for name in names:
                link = Path(folder, name)
                if link.is_symlink() and link.readlink().name == blob.name:
                    link.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
