"""Blobs that lie on this machine and were not downloaded by the agent: `llmpt seed` offers them, `llmpt unseed` takes back.

What the catalogue does not list is not taken: where it was published, the rule of what may be shared was applied.
What it lists is read once and held against its etag, because files change.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llmpt.agent.directory import Directory
from llmpt.core.blob import Etag
from llmpt.core.errors import LlmptError
from llmpt.disk.verification import verify_file
from llmpt.link.answers import Ok, Progress, Refused

if TYPE_CHECKING:
    from llmpt.agent.seeding.seeds import Seeds  # loads libtorrent

log = logging.getLogger("llmpt.agent")

PROGRESS_INTERVAL_S = 0.5


class Cancelled(LlmptError):
    """No program waits for the answer any more."""


class Offers:
    """Takes blobs into `seeds`, and out of them."""

    def __init__(self, directory: Directory, seeds: Seeds) -> None:
        self._directory, self._seeds = directory, seeds

    def seed(self, etag: Etag, path: Path, emit: Callable[[Progress], None], cancelled: Callable[[], bool]) -> Ok | Refused:
        """Verify the file at `path` and seed it; return the terminal message. `emit` is told that the check goes on."""
        try:
            found = self._directory.lookup(etag)
            if found.metainfo is None:
                return Refused("not in the tracker's catalogue")
            if self._seeds.find(etag) is None:
                stamp = verify_file(path, etag, found.metainfo.size, on_read=_ticker(emit, cancelled))
                self._seeds.add(found.metainfo, path, read_as=stamp)
        except OSError as error:
            return Refused(f"{path}: {error.strerror or error}")
        except LlmptError as error:
            return Refused(str(error))
        seeded = self._seeds.find(etag)
        if seeded is None:
            return Refused(dict(self._seeds.withheld()).get(path, "the agent does not seed it; its log says why"))
        log.info("%s is seeded from %s, as asked", etag, seeded.path)
        return Ok(path=seeded.path)

    def unseed(self, etags: Iterable[Etag]) -> Ok:
        """Seed these no longer, also after a restart; the files stay."""
        return Ok(count=sum(self._seeds.withdraw(etag) for etag in etags))


def _ticker(emit: Callable[[Progress], None], cancelled: Callable[[], bool]) -> Callable[[], None]:
    last = time.monotonic()

    def tick() -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_INTERVAL_S:
            last = time.monotonic()
            if cancelled():
                raise Cancelled("cancelled")
            emit(Progress())

    return tick
