"""What waits to be read: repos take turns, with one batch each, so that none waits for all of another's files."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from llmpt_seeder.cache.contents import BlobFile


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much a worker is given at once; a file that is bigger goes alone.

    files: small ones cost a fraction of a millisecond each, about as much as it costs to hand over a batch
    size: bytes
    """

    files: int = 256
    size: int = 16 << 20


class Turns:
    """A queue of files for each turn. `files` are waiting, of `size` bytes. For one thread at a time."""

    def __init__(self, limits: BatchLimits = BatchLimits()) -> None:
        self._limits = limits
        self._queues: dict[Hashable, dict[Path, BlobFile]] = {}
        self._turns: dict[Path, Hashable] = {}
        self._alone: set[Path] = set()
        self.size = 0

    @property
    def files(self) -> int:
        return len(self._turns)

    def add(self, blob: BlobFile, turn: Hashable, *, alone: bool = False) -> None:
        """Let a file wait, in the place of an earlier one of that path; `alone`: with no other in its batch."""
        self.drop(blob)
        self._queues.setdefault(turn, {})[blob.path] = blob
        self._turns[blob.path] = turn
        self.size += blob.size
        if alone:
            self._alone.add(blob.path)

    def drop(self, blob: BlobFile) -> None:
        """Let the file of that path wait no more, if it did."""
        if blob.path not in self._turns:
            return
        turn = self._turns.pop(blob.path)
        queue = self._queues[turn]
        self.size -= queue.pop(blob.path).size
        self._alone.discard(blob.path)
        if not queue:
            del self._queues[turn]

    def next_batch(self) -> list[BlobFile]:
        """Return what is to be read next, of the repo whose turn it is; nothing when nothing waits."""
        turn = next(iter(self._queues), None)
        if turn is None:
            return []
        queue = self._queues.pop(turn)
        batch: list[BlobFile] = []
        size = 0
        for path, blob in queue.items():
            alone = path in self._alone
            if batch and (alone or size + blob.size > self._limits.size or len(batch) >= self._limits.files):
                break
            batch.append(blob)
            size += blob.size
            if alone:
                break
        for blob in batch:
            del queue[blob.path], self._turns[blob.path]
            self._alone.discard(blob.path)
        self.size -= size
        if queue:
            self._queues[turn] = queue  # behind the others
        return batch

    def clear(self) -> None:
        """Let nothing wait any more."""
        self._queues.clear()
        self._turns.clear()
        self._alone.clear()
        self.size = 0
