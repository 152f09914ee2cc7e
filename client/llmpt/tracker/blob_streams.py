"""A stretch of a blob over plain HTTP as it comes, unverified: a hash is of a whole file.

streams = BlobStreams(BlobHttp("http://server:8000", stall_timeout_s=5))
for data in streams.part(etag, size, 0, 1 << 20): ...
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError
from llmpt.tracker.blobs import BlobHttp, Broke, NotOverHttp

log = logging.getLogger("llmpt")

FRUITLESS_TRIES = 3
PAUSE_S = 0.2


class BlobStreams:
    """Stretches of the blobs that the seeders of one tracker have. Safe to share among threads."""

    def __init__(self, blobs: BlobHttp) -> None:
        self._blobs = blobs

    def part(self, etag: Etag, size: int, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes [start, stop) of a blob of `size` bytes. Raises `NotOverHttp`, at once or where no seeder goes on."""
        parts = self._steadily(etag, size, start, stop)
        first = next(parts, b"")
        return itertools.chain((first,), parts)

    def _steadily(self, etag: Etag, size: int, at: int, stop: int) -> Iterator[bytes]:
        fruitless, is_first = 0, True
        while at < stop:
            before = at
            try:
                for data in self._blobs.stream(etag, size, at, stop):
                    at += len(data)
                    is_first = False
                    yield data
            except (Broke, TrackerError) as error:
                fruitless = 0 if at > before else fruitless + 1
                if is_first or fruitless >= FRUITLESS_TRIES:
                    raise NotOverHttp(str(error), at) from None
                log.debug("%s: %s at byte %d; the tracker is asked again", etag, error, at)
                time.sleep(PAUSE_S)
