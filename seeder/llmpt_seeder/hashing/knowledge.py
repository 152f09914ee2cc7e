"""What is known of the content of files: good with a root, bad for a reason, unreadable for now, or never read.

The inventory remembers it over restarts; here it is at hand for every look at the cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

from llmpt.core.blob import Etag, EtagHasher
from llmpt.disk.inventory import Inventory
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.hashing.readers import Hashed

log = logging.getLogger("llmpt.seeder")

RETRY_UNREADABLE_S = 300.0
MOST_SAID = 10  # of what was read at once


@dataclass(frozen=True, slots=True)
class Good:
    """The file holds its blob; `root` is the 32-byte pieces root (nothing for an empty file)."""

    root: bytes


@dataclass(frozen=True, slots=True)
class Bad:
    """The file does not hold what its etag says, or could not be read; `retry_at` (seconds since 1970) if that may pass."""

    reason: str
    retry_at: float | None = None


class Knowledge:
    """Owns the answers; writes through to the inventory."""

    def __init__(self, inventory: Inventory, *, clock: Callable[[], float]) -> None:
        self._inventory, self._clock = inventory, clock
        self._known: dict[tuple[Etag, FileStamp], Good | Bad] = {}
        self._read_as: dict[Path, tuple[Etag, FileStamp]] = {}
        inventory.note_ctimes()
        for blob in inventory.blobs():
            if blob.root is not None:
                self._known[blob.etag, blob.stamp] = Good(blob.root)
            elif blob.problem is not None:
                self._known[blob.etag, blob.stamp] = Bad(blob.problem)
            self._read_as[blob.path] = blob.etag, blob.stamp

    def of(self, blob: BlobFile) -> Good | Bad | None:
        """Return what is known of the file as it is now; None when it has to be read."""
        if blob.size == 0:
            return Good(b"") if EtagHasher(blob.etag, 0).matches() else Bad("it is empty, and its etag says otherwise")
        known = self._recall(blob)
        if isinstance(known, Bad) and known.retry_at is not None and self._clock() >= known.retry_at:
            return None
        return known

    def learn(self, results: Iterable[Hashed]) -> list[Hashed]:
        """Take in what came of reading files; return the results of those that are others by now, which say nothing.

        Nothing is known before it is stored: when the inventory raises, all of it can be taken in again.
        """
        outdated: list[Hashed] = []
        learned: dict[tuple[Etag, FileStamp], Good | Bad] = {}
        paths: dict[tuple[Etag, FileStamp], Path] = {}
        with self._inventory.transaction() as sql:
            for hashed in results:
                if _is_another(hashed.blob):
                    outdated.append(hashed)
                else:
                    learned[hashed.blob.etag, hashed.blob.stamp] = self._store(sql, hashed)
                    paths[hashed.blob.etag, hashed.blob.stamp] = hashed.blob.path
        for (etag, stamp), path in paths.items():
            if (before := self._renumbered(etag, path, stamp)) is not None:
                self._known.pop((etag, before), None)
            self._read_as[path] = etag, stamp
        self._known.update(learned)
        _say((paths[key], known) for key, known in learned.items() if isinstance(known, Bad))
        return outdated

    def is_renumbered(self, blob: BlobFile) -> bool:
        """Whether the file is known by its path, its size and its times only: it had another inode when it was read."""
        return (blob.etag, blob.stamp) not in self._known and self._renumbered(blob.etag, blob.path, blob.stamp) is not None

    def _recall(self, blob: BlobFile) -> Good | Bad | None:
        known = self._known.get((blob.etag, blob.stamp))
        if known is None and (before := self._known.pop((blob.etag, blob.stamp.without_ctime), None)) is not None:
            known = self._known[blob.etag, blob.stamp] = before  # an earlier version read it; it was not seen at first
        if known is None and (stamp := self._renumbered(blob.etag, blob.path, blob.stamp)) is not None:
            known = self._known.get((blob.etag, stamp))
        return known

    def _renumbered(self, etag: Etag, path: Path, stamp: FileStamp) -> FileStamp | None:
        """Return the stamp with which the file was read, if its inode's number is all that changed."""
        read_etag, read = self._read_as.get(path, (None, None))
        return read if read is not None and read_etag == etag and read.is_renumbered(stamp) else None

    def _store(self, sql: Connection, hashed: Hashed) -> Good | Bad:
        blob = hashed.blob
        if hashed.metainfo is not None:
            self._inventory.put_good(sql, blob.path, blob.stamp, hashed.metainfo)
            return Good(hashed.metainfo.root)
        if hashed.mismatch is not None:
            self._inventory.put_bad(sql, blob.etag, blob.path, blob.stamp, hashed.mismatch)
            return Bad(hashed.mismatch)
        return Bad(f"cannot be read ({hashed.unreadable})", self._clock() + RETRY_UNREADABLE_S)


def _say(found: Iterable[tuple[Path, Bad]]) -> None:
    """Log what is wrong with files: some of them by name, however many there are."""
    every = list(found)
    for path, bad in every[:MOST_SAID]:
        log.warning("not shared%s: %s: %s", "" if bad.retry_at is None else " for now", path, bad.reason)
    if len(every) > MOST_SAID:
        log.warning("not shared: %d other files, for the like; the server's page names more", len(every) - MOST_SAID)


def _is_another(blob: BlobFile) -> bool:
    try:
        return not blob.stamp.is_same(stamp_of(blob.path))
    except OSError:
        return False  # it cannot be looked at for now; what was read of it stands for what it was then


def stamp_of(path: Path) -> FileStamp | None:
    """Return the file's stamp; None when it is gone. A file that cannot be looked at for another reason raises `OSError`."""
    try:
        return FileStamp.of(path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return None
