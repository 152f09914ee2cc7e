"""Files whose inode number is another than when they were read, while path, size and times are the same.

mergerfs, SMB, exFAT and many FUSE file systems give out new numbers after a mount, or at every look. Such a file goes on being
seeded, and is read again in the background, so slowly that nobody notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt_seeder.cache.contents import BlobFile


@dataclass(frozen=True, slots=True)
class RecheckPace:
    """How slowly files are read again.

    rate_bytes_s: on average
    interval_s: between two batches
    files: of one batch
    again_s: no file is read again sooner, however often its number changes
    clock: seconds of it measure the pauses
    """

    rate_bytes_s: int = 8 << 20
    interval_s: float = 60.0
    files: int = 1000
    again_s: float = 86400.0
    clock: Callable[[], float] = time.monotonic


class Rechecks:
    """Owns the list of these files, and says which are to be read again now."""

    def __init__(self, pace: RecheckPace) -> None:
        self._pace = pace
        self._files: dict[Etag, BlobFile] = {}
        self._read_at: dict[Path, float] = {}
        self._not_before = float("-inf")

    def note(self, etag: Etag, file: BlobFile | None) -> None:
        """Say which file of a blob has another number; None: none has, or not any more."""
        if file is not None:
            self._files[etag] = file
        else:
            self._files.pop(etag, None)

    def due(self) -> list[BlobFile]:
        """Return the files that are to be read now."""
        now = self._pace.clock()
        if not self._files or now < self._not_before:
            return []
        again = now - self._pace.again_s
        self._read_at = {path: at for path, at in self._read_at.items() if at > again}
        batch: list[BlobFile] = []
        room = int(self._pace.rate_bytes_s * self._pace.interval_s)
        for file in self._files.values():
            if file.path in self._read_at:
                continue
            if batch and (file.size > room or len(batch) >= self._pace.files):
                break
            batch.append(file)
            room -= file.size
            self._read_at[file.path] = now
        size = sum(file.size for file in batch)
        self._not_before = now + max(self._pace.interval_s, size / self._pace.rate_bytes_s)
        return batch

    def example(self) -> tuple[BlobFile, int] | None:
        """Return one of the files and how many there are; None without any."""
        return (next(iter(self._files.values())), len(self._files)) if self._files else None
