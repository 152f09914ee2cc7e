"""Which blobs are here for sure: those of which a file was read and found right."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from llmpt.core.blob import Etag
from llmpt.core.errors import StateUnavailable
from llmpt.disk.inventory import Inventory
from llmpt_seeder.cache.contents import BlobFile, Problem
from llmpt_seeder.cache.view import View
from llmpt_seeder.hashing.knowledge import Bad, Good, Knowledge
from llmpt_seeder.hashing.readers import Hashed, Hasher, HashingProgress
from llmpt_seeder.hashing.rechecks import RecheckPace, Rechecks

log = logging.getLogger("llmpt.seeder")

DATABASE = "LLMPT_DATA/seeder.db"
RETRY_CHANGED_S = 30.0  # a file that was another one when it had been read, if no look finds that


@dataclass(frozen=True, slots=True)
class VerifiedBlob:
    """A file that holds its blob; `root` is the 32-byte pieces root (nothing for an empty file)."""

    file: BlobFile
    root: bytes


class Verification:
    """Has the hasher read what is new, and knows what came of it.

    `good`: for each etag of which a file is known to be right, that file; it stays the same as long as it is right. May be
    asked from any thread.
    """

    def __init__(
        self, hasher: Hasher, inventory: Inventory, *, clock: Callable[[], float], pace: RecheckPace = RecheckPace()
    ) -> None:
        self._hasher, self._clock = hasher, clock
        self._rechecks = Rechecks(pace)
        self._knowledge = Knowledge(inventory, clock=clock)
        self._read: deque[Hashed] = deque()
        self._due: dict[Etag, None] = {}
        self._unread: dict[Etag, BlobFile] = {}  # what the hasher was given, or will be
        self._wrong: dict[Etag, tuple[tuple[BlobFile, str], ...]] = {}
        self._given_back: set[Etag] = set()  # the hasher does not have these any more
        self._retry_at: dict[Etag, float] = {}
        self._next_retry_at = float("inf")
        self.good: dict[Etag, VerifiedBlob] = {}

    def judge(self, view: View, etags: Iterable[Etag]) -> list[Etag]:
        """Take in what was read, and judge these etags and those anew; return the ones of which the answer is another.

        One file is read of each etag that has no good one, in their order.
        """
        self._due.update(dict.fromkeys(etags))
        self._take_in_what_was_read()
        self._due.update(dict.fromkeys(self._to_retry()))
        changed: list[Etag] = []
        to_read: list[tuple[BlobFile, object]] = []
        for etag in self._due:
            before = self._answer(etag)
            unread = self._judge(etag, view.blobs.get(etag, ()))
            if unread is not None:
                to_read.append((unread, view.repo_of(etag)))
            if self._answer(etag) != before:
                changed.append(etag)
        self._due.clear()
        to_read += ((file, Rechecks) for file in self._rechecks.due())
        self._hasher.add(to_read)
        return changed

    def is_in_doubt(self, etag: Etag) -> bool:
        """Whether no file is known to hold the blob, and one that should has not been read yet."""
        return etag in self._unread

    def problems(self) -> list[Problem]:
        """Say how much is read and not stored yet, so that it does not count."""
        count = len(self._read)
        return [Problem(DATABASE, f"cannot be written: {count} blobs are read, and shared as soon as it can be")] if count else []

    def wrong(self) -> Iterator[tuple[BlobFile, str]]:
        """Yield the files that do not hold what they should, or cannot be read, each with the reason."""
        return (pair for pairs in self._wrong.values() for pair in pairs)

    def renumbered(self) -> tuple[BlobFile, int] | None:
        """Return one of the files whose inode number is another than when they were read, and how many there are."""
        return self._rechecks.example()

    def progress(self) -> HashingProgress | None:
        """Return how far the hasher is; None when it has nothing to do. May be called from any thread."""
        return self._hasher.progress()

    def _take_in_what_was_read(self) -> None:
        """Let nothing go before it is known: the inventory may fail, and is asked again at the next step.

        Until then no more is taken from the hasher, which stops by itself.
        """
        if not self._read:
            self._read.extend(self._hasher.collect())
        if not self._read:
            return
        results = list(self._read)
        try:
            outdated = self._knowledge.learn(results)
        except StateUnavailable as error:
            log.info("%d blobs are read, and not known before that is stored: %s", len(results), error)
            return
        self._read.clear()
        for hashed in outdated:  # a look will find another file there
            self._retry(hashed.blob.etag, self._clock() + RETRY_CHANGED_S)
        others = {hashed.blob.etag for hashed in outdated}
        etags = dict.fromkeys(hashed.blob.etag for hashed in results if hashed.blob.etag not in others)
        self._given_back.update(etags)
        self._due.update(etags)

    def _judge(self, etag: Etag, files: tuple[BlobFile, ...]) -> BlobFile | None:
        """Note what is known of an etag's files; return the one that is to be read from now on."""
        known = [(file, self._knowledge.of(file)) for file in files]
        good = [VerifiedBlob(file, found.root) for file, found in known if isinstance(found, Good)]
        unread = next((file for file, found in known if found is None), None) if not good else None
        wrong = tuple((file, found.reason) for file, found in known if isinstance(found, Bad))
        if good:
            last = self.good.get(etag)
            stays = (blob for blob in good if last is not None and blob.file.path == last.file.path)
            chosen = self.good[etag] = next(stays, good[0])
            self._rechecks.note(etag, chosen.file if self._knowledge.is_renumbered(chosen.file) else None)
        else:
            self.good.pop(etag, None)
            self._rechecks.note(etag, None)
        if wrong:
            self._wrong[etag] = wrong
        else:
            self._wrong.pop(etag, None)
        for _, found in known:
            if isinstance(found, Bad) and found.retry_at is not None:
                self._retry(etag, found.retry_at)
        waiting = self._unread.pop(etag, None)
        if unread is not None and waiting is not None and waiting.path == unread.path and waiting.stamp.is_same(unread.stamp):
            unread = waiting  # only its inode's number is another at each look
        if unread is not None:
            self._unread[etag] = unread
        if waiting is not None and waiting != unread:
            self._hasher.drop(waiting)
        is_given = unread == waiting and etag not in self._given_back
        self._given_back.discard(etag)
        return None if is_given else unread

    def _answer(self, etag: Etag) -> object:
        good = self.good.get(etag)
        return (good.file.path, good.file.size) if good is not None else etag in self._unread

    def _retry(self, etag: Etag, at: float) -> None:
        self._retry_at[etag] = min(at, self._retry_at.get(etag, at))
        self._next_retry_at = min(at, self._next_retry_at)

    def _to_retry(self) -> list[Etag]:
        now = self._clock()
        if now < self._next_retry_at:
            return []
        due = [etag for etag, at in self._retry_at.items() if at <= now]
        for etag in due:
            del self._retry_at[etag]
            self._given_back.add(etag)
        self._next_retry_at = min(self._retry_at.values(), default=float("inf"))
        return due
