"""Which blobs are here for sure: those of which a file was read and found right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from llmpt.core.blob import Etag
from llmpt.disk.inventory import Inventory
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.cache.view import View
from llmpt_seeder.hashing.knowledge import Good, Knowledge
from llmpt_seeder.hashing.readers import Hasher, HashingProgress


@dataclass(frozen=True, slots=True)
class VerifiedBlob:
    """A file that holds its blob; `root` is the 32-byte pieces root (nothing for an empty file)."""

    file: BlobFile
    root: bytes


class Verification:
    """Has the hasher read what is new, and knows what came of it."""

    def __init__(self, hasher: Hasher, inventory: Inventory, *, clock: Callable[[], float]) -> None:
        self._hasher = hasher
        self._knowledge = Knowledge(inventory, clock=clock)

    def of(self, view: View, *, preferred: Mapping[Etag, BlobFile]) -> dict[Etag, VerifiedBlob]:
        """Return, for each etag of which a file is known to be right, that file (the preferred one, if it is), and have one
        file read of each of the others."""
        for hashed in self._hasher.collect():
            self._knowledge.learn(hashed)
        good: dict[Etag, VerifiedBlob] = {}
        for etag, files in view.blobs.items():
            for file in files:
                known = self._knowledge.of(file)
                if isinstance(known, Good) and (etag not in good or preferred.get(etag) == file):
                    good[etag] = VerifiedBlob(file, known.root)
        self._hasher.plan(list(self._unread(view, good)))
        return good

    def is_in_doubt(self, view: View, etag: Etag) -> bool:
        """Whether a file that should hold the blob has not been read yet."""
        return any(self._knowledge.of(file) is None for file in view.blobs.get(etag, ()))

    def reason(self, file: BlobFile) -> str | None:
        """Return what is wrong with a file, if it is known to be."""
        return self._knowledge.reason(file)

    def progress(self) -> HashingProgress | None:
        """Return how far the hasher is; None when it has nothing to do. May be called from any thread."""
        return self._hasher.progress()

    def _unread(self, view: View, good: Mapping[Etag, VerifiedBlob]) -> Iterator[BlobFile]:
        """Yield one file to read for each etag of which no good file is known, in the order of the cache."""
        for etag, files in view.blobs.items():
            if etag not in good:
                unread = next((file for file in files if self._knowledge.of(file) is None), None)
                if unread is not None:
                    yield unread
