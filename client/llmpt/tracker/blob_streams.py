"""A stretch of a blob over plain HTTP as it comes, unverified: a hash is of a whole file.

streams = BlobStreams(BlobHttp("http://server:8000", stall_timeout_s=5))
for data in streams.part(etag, size, 0, 1 << 20): ...
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError
from llmpt.tracker.blobs import BlobHttp, Broke, NotOverHttp

log = logging.getLogger("llmpt")

FRUITLESS_TRIES = 3
PAUSE_S = 0.2


class Stretch:
    """Bytes of a blob as they come, the first of which are here; closing it ends the transfer.

    Iterating raises `NotOverHttp` where no seeder goes on.
    """

    def __init__(self, parts: Generator[bytes, None, None]) -> None:
        self._parts = parts
        self._first = next(parts, b"")
        self._count: Callable[[int], object] = lambda _size: None

    def counted(self, count: Callable[[int], object]) -> Stretch:
        """Have `count` called with the size of whatever is read from here on; return itself."""
        self._count = count
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data, self._first = self._first or next(self._parts), b""
        self._count(len(data))
        return data

    def close(self) -> None:
        self._parts.close()


class BlobStreams:
    """Stretches of the blobs that the seeders of one tracker have. Safe to share among threads."""

    def __init__(self, blobs: BlobHttp) -> None:
        self._blobs = blobs

    def part(self, etag: Etag, size: int, start: int, stop: int) -> Stretch:
        """Return the bytes [start, stop) of a blob of `size` bytes. Raises `NotOverHttp`: they are to be had elsewhere."""
        return Stretch(self._steadily(etag, size, start, stop))

    def _steadily(self, etag: Etag, size: int, at: int, stop: int) -> Generator[bytes, None, None]:
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
