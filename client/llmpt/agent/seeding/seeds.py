"""The blobs that are here: what this machine seeds, remembered across restarts, dropped when a file changes.

Only what came from the swarm is seeded: the catalogue lists it, so the rule of what may be shared has been
applied where it was published. What lies on a network's file system is used and not seeded: every byte would cross the
network twice, and the machines that would want it mostly see the same files.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch, StateUnavailable
from llmpt.core.metainfo import Metainfo
from llmpt.disk.inventory import BlobOrigin, Inventory, KnownBlob
from llmpt.disk.stamp import FileStamp, stamp_of
from llmpt.disk.verification import verify_file
from llmpt.host.mounts import FolderKinds, Mounts
from llmpt.swarm import Engine, Given, SeededBlob

log = logging.getLogger("llmpt.agent")

MAX_WITHHELD = 1000
MAX_EXPECTED = 256
UNSAFE = "others may write where it lies, and no more files can be kept open (raise the limit of open files)"
LISTING_S = 5.0  # for what a slow disk says of earlier downloads


class Seeds:
    """Owns the list of seeded blobs; `inventory` keeps it on disk, `engine` serves it."""

    def __init__(self, engine: Engine, inventory: Inventory, *, mounts: Callable[[], Mounts] = Mounts.read) -> None:
        self._engine = engine
        self._inventory = inventory
        self._mounts = mounts
        self._lock = threading.Lock()
        self._blobs: dict[Etag, tuple[SeededBlob, FileStamp]] = {}
        self._expected: dict[Etag, tuple[Metainfo, FileStamp | None]] = {}
        self._withheld: dict[Path, str] = {}
        self._waiting: dict[Etag, list[KnownBlob]] = {}
        self._bringing = threading.Lock()
        self._listed = threading.Event()
        self._listed.set()  # nothing is to be restored until `restore` is called, or `will_restore`

    def will_restore(self) -> None:
        """Promise that `restore` is called: what is asked for before waits until it is known what there is."""
        self._listed.clear()

    def restore(self, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Seed again what was seeded before a restart and has not changed since; forget the rest. Until `stop` says so.

        It may take minutes, and others go on meanwhile: what is asked for is looked at first.
        """
        kinds = FolderKinds(self._mounts())
        try:
            self._inventory.note_ctimes()
            for known in self._inventory.blobs():
                self._waiting.setdefault(known.etag, []).append(known)
        finally:
            self._listed.set()
        for etag in list(self._waiting):
            if stop():
                return
            self._bring(etag, kinds)
        if self._blobs:
            log.info("seeding %d blobs of earlier downloads", len(self._blobs))

    @property
    def restoring(self) -> int:
        """How many blobs of earlier downloads wait to be looked at; 1 while that is not known."""
        return len(self._waiting) if self._listed.is_set() else 1

    def _bring(self, etag: Etag, kinds: FolderKinds) -> None:
        """Look at an earlier download now, unless that was done."""
        with self._bringing:
            for known in self._waiting.pop(etag, ()):
                if etag in self._blobs or self._withhold(known.path, kinds.of(known.path)):
                    continue
                now = _as_noted(known.path, known.stamp)
                if known.root is None or now is None:
                    self._forget(known.etag, known.path)
                    continue
                self._serve(SeededBlob(known.etag, known.stamp.size, known.root, known.path, now))

    def add(self, metainfo: Metainfo, path: Path, *, read_as: FileStamp | None = None, serving: bool = False) -> None:
        """Seed the verified blob at `path` from now on; `serving` says that the engine does already.

        `read_as` is the stamp that it had before it was verified, if it has not been moved since.
        """
        stamp = stamp_of(path)
        if stamp is None or stamp.size != metainfo.size or (read_as is not None and not read_as.is_same(stamp)):
            log.warning("%s is not there as it was left; not seeded", path)
            return
        if self._withhold(path, self._mounts().network_kind(path)):
            self._engine.withdraw(metainfo.etag)
            return
        try:
            self._inventory.remember(path, stamp, metainfo)
        except StateUnavailable as error:
            log.warning("%s is seeded until the agent ends, and not after its next start: %s", metainfo.etag, error)
        blob = SeededBlob(metainfo.etag, metainfo.size, metainfo.root, path, stamp)
        if serving:
            with self._lock:
                self._blobs[metainfo.etag] = (blob, stamp)
        else:
            self._serve(blob)

    def expect(self, metainfo: Metainfo, stamp: FileStamp) -> None:
        """The verified blob in the file of that stamp is about to be moved by the hook, which will say where it `landed`."""
        self._expect(metainfo, stamp)

    def _expect(self, metainfo: Metainfo, stamp: FileStamp | None) -> None:
        """Remember it for when it has `landed`; without a stamp the file is read then."""
        with self._lock:
            self._expected.pop(metainfo.etag, None)
            self._expected[metainfo.etag] = (metainfo, stamp)
            while len(self._expected) > MAX_EXPECTED:
                del self._expected[next(iter(self._expected))]

    def comes_from(self, etag: Etag, origin: BlobOrigin) -> None:
        """Note which repo a blob came from: when that is public no longer, the blob is seeded no longer."""
        try:
            self._inventory.note_origin(etag, origin)
        except StateUnavailable as error:
            log.warning("from which repo %s came is not noted: %s", etag, error)

    def landed(self, etag: Etag, path: Path) -> None:
        """The blob's final place is `path` (the hook or the library moved it): verify it anew if it is a copy, and seed it."""
        self._look_up(etag)
        with self._lock:
            metainfo, stamp = self._expected.pop(etag, (None, None))
            seeded = self._blobs.get(etag)
        if metainfo is None:
            metainfo, stamp = self._inventory.metainfo(etag), seeded[1] if seeded else None
        if metainfo is None:
            log.debug("%s landed at %s, but was never verified here; not seeded", etag, path)
            return
        now = stamp_of(path)
        try:
            if now is None or stamp is None or not _is_same(now, stamp, moved=seeded is None or seeded[0].path != path):
                now = verify_file(path, etag, metainfo.size)
        except (ContentMismatch, OSError) as error:
            log.warning("not seeded: %s", error)
            return
        if seeded is not None and seeded[0].path != path:
            self._forget(etag, seeded[0].path)
        self.add(metainfo, path, read_as=now)

    def find(self, etag: Etag) -> SeededBlob | None:
        """Return a blob that lies here, unchanged since it was verified; None otherwise."""
        self._look_up(etag)
        with self._lock:
            known = self._blobs.get(etag)
        if known is None:
            return None
        if not known[1].is_same(stamp_of(known[0].path)):
            self._drop(etag)
            return None
        return known[0]

    def withdraw(self, etag: Etag) -> bool:
        """Stop seeding a blob, for good; False when it was not seeded."""
        self._look_up(etag)
        with self._lock:
            known = self._blobs.pop(etag, None)
        if known is None:
            return False
        self._engine.withdraw(etag)
        self._forget(etag, known[0].path)
        return True

    def sweep(self) -> None:
        """Stop seeding what was deleted or changed."""
        self._engine.unreadable()
        with self._lock:
            etags = list(self._blobs)
        for etag in etags:
            self.find(etag)

    def all(self) -> list[SeededBlob]:
        """Return what is seeded, in the order of etags."""
        with self._lock:
            return [blob for _, (blob, _) in sorted(self._blobs.items())]

    def withheld(self) -> list[tuple[Path, str]]:
        """Return the files that are good and not seeded, each with the reason, in the order of paths."""
        with self._lock:
            return sorted((path, reason) for path, reason in self._withheld.items())

    def _withhold(self, path: Path, kind: str | None) -> bool:
        self._note_withheld(path, f"it lies on a network's file system ({kind})" if kind is not None else None)
        if kind is not None:
            log.info("%s lies on a network's file system (%s); not seeded", path, kind)
        return kind is not None

    def _note_withheld(self, path: Path, reason: str | None) -> None:
        with self._lock:
            self._withheld.pop(path, None)
            if reason is not None:
                self._withheld[path] = reason
                while len(self._withheld) > MAX_WITHHELD:
                    del self._withheld[next(iter(self._withheld))]

    def _look_up(self, etag: Etag) -> None:
        """Look at it before its turn, if it is an earlier download that waits."""
        self._listed.wait(LISTING_S)
        if etag in self._waiting:
            self._bring(etag, FolderKinds(self._mounts()))

    def _forget(self, etag: Etag, path: Path) -> None:
        """Forget it over a restart, too: one that cannot be forgotten now is looked at then."""
        try:
            self._inventory.forget(etag, path)
        except StateUnavailable as error:
            log.warning("%s is not forgotten yet: %s", path, error)

    def _serve(self, blob: SeededBlob) -> None:
        given = self._engine.seed(blob)
        if given is Given.CHANGED or blob.stamp is None:
            log.warning("%s is not there as it was left; not seeded", blob.path)
            self._forget(blob.etag, blob.path)
            return
        if given is Given.UNSAFE:
            log.warning("%s is not seeded: %s", blob.path, UNSAFE)
            self._note_withheld(blob.path, UNSAFE)
            return
        with self._lock:
            self._blobs[blob.etag] = (blob, blob.stamp)

    def _drop(self, etag: Etag) -> None:
        """Seed a file no longer that is not as it was. A program may have replaced it just now, and be about to say so."""
        metainfo = self._inventory.metainfo(etag)
        if self.withdraw(etag):
            log.info("%s was deleted or changed; no longer seeded", etag)
            if metainfo is not None:
                self._expect(metainfo, None)


def _is_same(now: FileStamp, before: FileStamp, *, moved: bool) -> bool:
    """Whether a file is as it was; being `moved` changes the ctime alone."""
    return now.without_ctime == before.without_ctime if moved else now == before


def _as_noted(path: Path, noted: FileStamp) -> FileStamp | None:
    """Return the stamp of a file that is as it was when it was read, else None; an early version noted no ctime."""
    now = stamp_of(path)
    return now if now is not None and (noted.is_same(now) or noted == now.without_ctime) else None
