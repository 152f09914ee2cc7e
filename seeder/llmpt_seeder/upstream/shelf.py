"""The cache that is fetched into, and its quota: what was not wanted for longest goes first.

Wanted is what a client asked for, over HTTP or from the swarm, and what is fetched: from before its first byte on, so that
nothing goes that has just come. Each byte counts once, promised or written. Only blobs of this cache are ever removed, and
with each the links of its repo's snapshots that lead to it.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.filesize import decimal

from llmpt.core.blob import Etag
from llmpt.core.errors import SettingError
from llmpt.disk.growth import unfinished
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.errors import FetchFailed
from llmpt_seeder.upstream.growing import GrowingBlobs
from llmpt_seeder.upstream.ledger import Ledger, LyingFile

log = logging.getLogger("llmpt.seeder")

# Left on the disk for others: a twentieth of it, within these bounds.
LEAST_SPARE_BYTES, MOST_SPARE_BYTES = 16 << 20, 10 << 30
MAY_PASS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTCONN)  # of a disk, or of a mount
TICK_S = 1e-6  # between two wants in one moment, and after a clock that stepped back


class WantedMemory(Protocol):
    """Where it is kept when each blob was wanted last."""

    def wanted(self) -> dict[Etag, float]: ...

    def keep_wanted(self, times: Mapping[Etag, float], gone: Iterable[Etag]) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Coming:
    """A blob that comes just now: its `size`, and the `folder` that it comes into (None: whichever)."""

    etag: Etag
    size: int
    folder: Path | None

    def is_it(self, file: LyingFile) -> bool:
        return file.etag == self.etag and self.folder in (None, file.folder)


class Shelf:
    """Owns the cache at `root`, and what comes into it just now (`growing`); 0 as `quota_bytes` is no limit. `uploaded` says
    how many bytes of each blob the swarm took; `let_go` is told of the blobs that are removed, and by which path.

    Its methods may be called from any thread.
    """

    def __init__(
        self,
        root: Path,
        *,
        quota_bytes: int,
        memory: WantedMemory,
        clock: Callable[[], float],
        uploaded: Callable[[], Mapping[Etag, int]] = dict,
        let_go: Callable[[Etag, Path], None] = lambda _etag, _path: None,
    ) -> None:
        self.root, self.growing = root, GrowingBlobs()
        self._real_root = root.resolve()
        self._quota_bytes, self._memory, self._clock, self._uploaded = quota_bytes, memory, clock, uploaded
        self._let_go = let_go
        self._lock = threading.Lock()  # of what lies here
        self._ledger = Ledger(root)
        self._coming: dict[Etag, _Coming] = {}
        self._sent: dict[Etag, int] = {}
        self._noting = threading.Lock()  # of when it was wanted: never held while a disk is asked
        self._wanted = memory.wanted()
        self._newest = max(self._wanted.values(), default=0.0)
        self._untold: set[Etag] = set()

    def prepare(self) -> None:
        """Make the cache ready to be written to; raise `SettingError` when it never can be."""
        try:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            for blobs in self.root.glob("*--*/blobs"):
                self._clear(blobs)  # of a life before
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            if error.errno not in MAY_PASS:
                raise SettingError(f"LLMPT_MIRROR_CACHE={str(self.root)!r} cannot be used: {error.strerror}") from None
            log.warning("LLMPT_MIRROR_CACHE cannot be written now: %s; nothing is fetched until it can be", error.strerror)
        lying = {file.etag for file in self._ledger.look()}
        with self._noting:
            self._untold.update(etag for etag in self._wanted if etag not in lying)
            self._wanted = {etag: at for etag, at in self._wanted.items() if etag in lying}

    def want(self, etag: Etag) -> None:
        """Note that a client wants a blob."""
        with self._noting:
            self._newest = self._wanted[etag] = max(self._clock(), self._newest + TICK_S)
            self._untold.add(etag)

    def noting(self, find: Callable[[Etag], BlobFile | None]) -> Callable[[Etag], BlobFile | None]:
        """Return `find`, and note that what it finds here is wanted."""

        def noted(etag: Etag) -> BlobFile | None:
            blob = find(etag)
            if blob is not None and blob.path.is_relative_to(self._real_root):
                self.want(etag)
            return blob

        return noted

    @contextmanager
    def room(self, etag: Etag, size: int, folder: Path | None = None) -> Iterator[None]:
        """Hold `size` bytes for a blob that is about to come into `folder`; drop others until it fits. What comes, and what has
        just come, is not dropped. Raises `FetchFailed` in words."""
        self.want(etag)
        coming = _Coming(etag, size, folder)
        with self._lock:
            self._make_room(coming)
            self._coming[etag] = coming
        try:
            yield
        finally:
            self.want(etag)
            with self._lock:
                del self._coming[etag]

    def remove(self, etag: Etag) -> None:
        """Remove a blob, and every link to it; what cannot be removed is said."""
        with self._lock:
            self._drop([file for file in self._ledger.look() if file.etag == etag and file.finished])

    def clear_unfinished(self, blobs: Path, etag: Etag) -> None:
        """Remove what a fetch that broke off has left in the folder `blobs`."""
        self._clear(blobs, etag.value)

    def keep(self) -> None:
        """Write down what was wanted, so that it is known after a restart; while that cannot be written it stays to be told."""
        with self._noting:
            untold, self._untold = self._untold, set()
            times = {etag: self._wanted[etag] for etag in untold if etag in self._wanted}
        if not untold:
            return
        if not self._memory.keep_wanted(times, untold - times.keys()):
            with self._noting:
                self._untold |= untold

    def _clear(self, blobs: Path, stem: str = "") -> None:
        for entry in unfinished(blobs, stem):
            try:
                Path(entry.path).unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be removed: %s", entry.path, error.strerror)

    def _make_room(self, new: _Coming) -> None:
        coming = [*self._coming.values(), new]
        lying = self._ledger.look()
        if self._quota_bytes:
            if new.size > self._quota_bytes:
                quota = decimal(self._quota_bytes)
                raise FetchFailed(f"{decimal(new.size)} can never fit into LLMPT_MIRROR_QUOTA, which is {quota}", final=True)
            self._keep_quota(lying, coming, new.size)
        try:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)  # it may have been full, or away, at the start
            disk = shutil.disk_usage(self.root)
        except OSError as error:
            raise FetchFailed(f"LLMPT_MIRROR_CACHE cannot be used: {error.strerror}", final=True) from error
        spare = min(max(disk.total // 20, LEAST_SPARE_BYTES), MOST_SPARE_BYTES)
        if disk.free < _left(coming, lying) + spare:
            raise FetchFailed(
                f"the disk of LLMPT_MIRROR_CACHE is full: {decimal(new.size)} do not fit into {decimal(disk.free)}, "
                f"of which {decimal(spare)} are left for others",
                final=True,
            )

    def _keep_quota(self, lying: list[LyingFile], coming: list[_Coming], size: int) -> None:
        """Drop what is needed, and no more, and nothing when that would not do."""
        over = _used(lying, coming) - self._quota_bytes
        if over <= 0:
            return
        kept = {one.etag for one in coming}
        for victims in self._by_want([file for file in lying if file.finished and file.etag not in kept], over):
            over -= sum(file.bytes for file in self._drop(victims))
            if over <= 0:
                return
        raise FetchFailed(f"LLMPT_MIRROR_QUOTA is used up by files that come just now: no room for {decimal(size)}")

    def _by_want(self, files: list[LyingFile], over: int) -> Iterator[list[LyingFile]]:
        """Yield what goes, the least wanted first: at once as much as is `over`, then (some could not be removed) one by one."""
        if sum(file.bytes for file in files) < over:
            return
        for etag, sent in self._uploaded().items():
            if sent > self._sent.get(etag, 0):
                self.want(etag)
            self._sent[etag] = sent
        with self._noting:
            files.sort(key=lambda file: (self._wanted.get(file.etag, 0.0), file.etag.value))
        at_once: list[LyingFile] = []
        while files and (over > 0 or files[0].etag == at_once[-1].etag):  # an etag goes from wherever it lies
            over -= files[0].bytes
            at_once.append(files.pop(0))
        yield at_once
        for file in files:
            yield [file]

    def _drop(self, files: Collection[LyingFile]) -> list[LyingFile]:
        """Remove files, their links first: a link that leads nowhere is passed over, a blob without a link too. Return those that
        are gone."""
        gone: list[LyingFile] = []
        by_folder: dict[Path, set[str]] = {}
        for file in files:
            by_folder.setdefault(file.folder, set()).add(file.name)
        for folder, names in by_folder.items():
            _unlink_links(folder.parent / "snapshots", names)
        for file in files:
            try:
                file.path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be removed: %s", file.path, error.strerror)
                continue
            gone.append(file)
            self._let_go(file.etag, self._real_root / file.path.relative_to(self.root))
            log.info("dropped: %s (%s)", file.path.relative_to(self.root), decimal(file.bytes))
        with self._noting:
            for file in gone:
                self._wanted.pop(file.etag, None)
                self._untold.add(file.etag)
        return gone


def _used(lying: Iterable[LyingFile], coming: Collection[_Coming]) -> int:
    """Return the bytes that count: what lies there, and of what comes its size, however much of that lies there already."""
    files = list(lying)
    here = dict.fromkeys((one.etag for one in coming), 0)
    for one, file in _of(coming, files):
        here[one.etag] += file.bytes
    others = sum(file.bytes for file in files) - sum(here.values())
    return others + sum(max(one.size, here[one.etag]) for one in coming)


def _left(coming: Collection[_Coming], lying: Iterable[LyingFile]) -> int:
    """Return how many bytes of what comes the disk does not hold yet."""
    left = {one.etag: one.size for one in coming}
    for one, file in _of(coming, lying):
        left[one.etag] -= file.written
    return sum(max(0, bytes_) for bytes_ in left.values())


def _of(coming: Iterable[_Coming], lying: Iterable[LyingFile]) -> Iterator[tuple[_Coming, LyingFile]]:
    """Yield the files of what comes."""
    comes = {one.etag: one for one in coming}
    for file in lying:
        one = comes.get(file.etag)
        if one is not None and one.is_it(file):
            yield one, file


def _unlink_links(snapshots: Path, names: Collection[str]) -> None:
    for folder, _, files in os.walk(snapshots):
        for name in files:
            link = Path(folder, name)
            try:
                if link.is_symlink() and link.readlink().name in names:
                    link.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be removed: %s", link, error.strerror)
