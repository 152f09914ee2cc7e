"""The cache that is fetched into, and its quota: what was not wanted for longest goes first.

Wanted is what a client asked for, over HTTP or from the swarm, and what is fetched: from before its first byte on, so that
nothing goes that has just come. What several clients wanted of late does not go for what one alone wants (up to three quarters
of the quota are theirs), and a client for which half of the quota is used drops its own first. Each byte counts once, promised
or written. Only blobs of this cache are ever removed, and with each the links of its repo's snapshots that lead to it.
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
from pathlib import Path

from rich.filesize import decimal

from llmpt.core.blob import Etag
from llmpt.core.errors import SettingError
from llmpt.core.files import real_path
from llmpt.core.repo import RepoRef
from llmpt.disk.growth import unfinished
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.errors import FetchFailed
from llmpt_seeder.upstream.growing import GrowingBlobs
from llmpt_seeder.upstream.ledger import Coming, Ledger, LyingFile, left, used
from llmpt_seeder.upstream.wants import SEVERAL, WantedMemory, Wants

log = logging.getLogger("llmpt.seeder")

# Left on the disk for others: a twentieth of it, within these bounds.
LEAST_SPARE_BYTES, MOST_SPARE_BYTES = 16 << 20, 10 << 30
MAY_PASS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTCONN)  # of a disk, or of a mount
OF_SEVERAL, OF_ONE = 3 / 4, 1 / 2  # of the quota
LEFT_UNASKED = 10  # without a quota that was set, this part of the disk is left free


class Shelf:
    """Owns the cache at `root`, and what comes into it just now (`growing`); 0 as `quota_bytes` is no limit, and None what leaves
    a tenth of the disk free. `uploaded` says how many bytes of each blob the swarm took; `let_go` is told of the blobs that are
    removed, and by which path. Nothing is dropped of the repos that are `pinned` (folded).

    Its methods may be called from any thread.
    """

    def __init__(
        self,
        root: Path,
        *,
        quota_bytes: int | None,
        memory: WantedMemory,
        clock: Callable[[], float],
        uploaded: Callable[[], Mapping[Etag, int]] = dict,
        let_go: Callable[[Etag, Path], None] = lambda _etag, _path: None,
    ) -> None:
        self.root, self._real_root, self.growing = root, real_path(root), GrowingBlobs()
        self._quota_bytes, self._uploaded, self._let_go = quota_bytes, uploaded, let_go
        self._wants = Wants(memory, clock)
        self._lock = threading.Lock()  # of what lies here
        self._ledger = Ledger(root)
        self._coming: dict[Etag, Coming] = {}
        self._sent: dict[Etag, int] = {}
        self.pinned: Collection[RepoRef] = ()

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
        self._wants.forget_but(file.etag for file in self._ledger.look())

    def want(self, etag: Etag) -> None:
        """Note that a client wants a blob."""
        self._wants.note(etag)

    def asked_by(self, etag: Etag, asker: str) -> None:
        """Note which client gets a blob, if it is one of this cache."""
        self._wants.note_asker(etag, asker)

    def noting(self, find: Callable[[Etag], BlobFile | None]) -> Callable[[Etag], BlobFile | None]:
        """Return `find`, and note that what it finds here is wanted."""

        def noted(etag: Etag) -> BlobFile | None:
            blob = find(etag)
            if blob is not None and blob.path.is_relative_to(self._real_root):
                self.want(etag)
            return blob

        return noted

    @contextmanager
    def room(self, etag: Etag, size: int, folder: Path | None = None, askers: Iterable[str] = ()) -> Iterator[None]:
        """Hold `size` bytes for a blob that is about to come into `folder`; drop others until it fits. What comes, and what has
        just come, is not dropped. `askers` are clients that want it. Raises `FetchFailed` in words."""
        self._wants.note(etag, askers)
        coming = Coming(etag, size, folder, self._wants.askers(etag))
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

    def etags(self) -> frozenset[Etag]:
        """Return which blobs lie here, as far as they were wanted once."""
        return self._wants.etags()

    def keep(self) -> None:
        """Write down what was wanted, so that it is known after a restart."""
        self._wants.keep()

    def _clear(self, blobs: Path, stem: str = "") -> None:
        for entry in unfinished(blobs, stem):
            try:
                Path(entry.path).unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be removed: %s", entry.path, error.strerror)

    def _make_room(self, new: Coming) -> None:
        coming, lying = [*self._coming.values(), new], self._ledger.look()
        try:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)  # it may have been full, or away, at the start
            disk = shutil.disk_usage(self.root)
            quota = self._quota_bytes
            if quota is None:
                quota = max(1, sum(file.written for file in lying) + disk.free - disk.total // LEFT_UNASKED)
            if quota:
                if new.size > quota:
                    words = (
                        "LLMPT_MIRROR_QUOTA, which is" if self._quota_bytes else "what may lie there (see LLMPT_MIRROR_QUOTA):"
                    )
                    raise FetchFailed(f"{decimal(new.size)} can never fit into {words} {decimal(quota)}", final=True)
                self._keep_quota(lying, coming, quota)
                disk = shutil.disk_usage(self.root)
        except OSError as error:
            raise FetchFailed(f"LLMPT_MIRROR_CACHE cannot be used: {error.strerror}", final=True) from error
        spare = min(max(disk.total // 20, LEAST_SPARE_BYTES), MOST_SPARE_BYTES)
        if disk.free < left(coming, lying) + spare:
            raise FetchFailed(
                f"the disk of LLMPT_MIRROR_CACHE is full: {decimal(new.size)} do not fit into {decimal(disk.free)}, "
                f"of which {decimal(spare)} are left for others",
                final=True,
            )

    def _keep_quota(self, lying: list[LyingFile], coming: list[Coming], quota: int) -> None:
        """Drop what is needed for the last that comes, and no more, and nothing when that would not do."""
        over = used(lying, coming) - quota
        if over <= 0:
            return
        new = coming[-1]
        comes = {one.etag for one in coming}
        pinned = {repo.folder for repo in self.pinned}
        ours = (one for one in lying if one.finished and one.etag not in comes)
        may_go = [one for one in ours if one.folder.parent.name.lower() not in pinned]
        several = self._wanted_by_several(may_go, int(quota * OF_SEVERAL))
        kept = several if len(new.askers) < SEVERAL else set()
        own = self._own(new, may_go, coming, int(quota * OF_ONE))
        if kept and sum(file.bytes for file in may_go if file.etag not in kept) < over:
            raise FetchFailed(
                f"no room for {decimal(new.size)} that one machine wants: what lies here was wanted by several of late",
                final=True,
            )
        for victims in self._by_want([file for file in may_go if file.etag not in kept], over, first=own, last=several):
            over -= sum(file.bytes for file in self._drop(victims))
            if over <= 0:
                return
        held = "by files that come just now" + (", and by pinned repos" if pinned else "")
        raise FetchFailed(f"LLMPT_MIRROR_QUOTA is used up {held}: no room for {decimal(new.size)}")

    def _wanted_by_several(self, files: Iterable[LyingFile], most_bytes: int) -> set[Etag]:
        """Return what several clients wanted of late, of the last wanted so much as is theirs."""
        kept: set[Etag] = set()
        for file in sorted(files, key=lambda file: -self._wants.last(file.etag)):
            if file.etag in kept:
                continue
            if self._wants.is_wanted_by_several(file.etag) and file.bytes <= most_bytes:
                kept.add(file.etag)
                most_bytes -= file.bytes
        return kept

    def _own(self, new: Coming, files: Iterable[LyingFile], coming: Collection[Coming], most_bytes: int) -> set[Etag]:
        """Return what one client alone wanted, if it is the one that wants `new`, and all of that is more than one may have."""
        if len(new.askers) != 1:
            return set()
        own = {file.etag: file.bytes for file in files if self._wants.askers(file.etag) == new.askers}
        comes = sum(one.size for one in coming if one.askers == new.askers)
        return set(own) if sum(own.values()) + comes > most_bytes else set()

    def _by_want(
        self, files: list[LyingFile], over: int, *, first: Collection[Etag], last: Collection[Etag]
    ) -> Iterator[list[LyingFile]]:
        """Yield what goes, the least wanted first, but before all what is `first`, and after all what is `last`:
        at once as much as is `over`, then (some could not be removed) one by one."""
        if sum(file.bytes for file in files) < over:
            return
        for etag, sent in self._uploaded().items():
            if sent > self._sent.get(etag, 0):
                self.want(etag)
            self._sent[etag] = sent
        files.sort(key=lambda file: (file.etag not in first, file.etag in last, self._wants.last(file.etag), file.etag.value))
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
        self._wants.forget(file.etag for file in gone)
        return gone


def _unlink_links(snapshots: Path, names: Collection[str]) -> None:
    for folder, _, files in os.walk(snapshots):
        for name in files:
            link = Path(folder, name)
            try:
                if link.is_symlink() and link.readlink().name in names:
                    link.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be removed: %s", link, error.strerror)
