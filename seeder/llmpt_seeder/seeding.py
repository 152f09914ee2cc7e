"""What is seeded, by the swarm engine: what is published and good, until it is gone, changed, or no longer shared."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from llmpt.core.blob import Etag
from llmpt.swarm.types import SeededBlob
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.cache.view import View
from llmpt_seeder.engine import Engine
from llmpt_seeder.hashing.knowledge import stamp_of
from llmpt_seeder.hashing.verification import VerifiedBlob
from llmpt_seeder.publishing.tracker_link import Welcome
from llmpt_seeder.state import SeederState

log = logging.getLogger("llmpt.seeder")


class Seeding:
    """Owns what is seeded: `files`, by etag. It begins with the announce URL of its last life."""

    def __init__(self, engine: Engine, state: SeederState) -> None:
        self._engine, self._state = engine, state
        self._welcome: Welcome | None = None
        self.files: dict[Etag, BlobFile] = {}
        if announce_url := state.fact("announce_url"):
            engine.set_announce_url(announce_url)

    def announce_at(self, welcome: Welcome) -> None:
        """Follow what a heartbeat brought: another announce URL, a restarted announcer."""
        self._engine.set_announce_url(welcome.announce_url)
        self._state.keep_fact("announce_url", welcome.announce_url)
        last, self._welcome = self._welcome, welcome
        if (last is None or last.boot_id != welcome.boot_id) and self.files:
            log.info(
                "%s: announcing %d blobs", "the tracker has started anew" if last else "the tracker is there", len(self.files)
            )
            self._engine.reannounce()

    def knows_any(self, etags: Iterable[Etag]) -> bool:
        """Whether one of these is seeded already."""
        return any(etag in self.files for etag in etags)

    def reannounce(self) -> None:
        """Announce all again, now."""
        self._engine.reannounce()

    def withdraw(self, view: View, good: Mapping[Etag, VerifiedBlob]) -> None:
        """Seed no more what is not good, or not in the view; what cannot be looked at for now is not gone."""
        failing = self._engine.unreadable()
        for etag, file in list(self.files.items()):
            chosen = good.get(etag)
            is_chosen = chosen is not None and chosen.file == file
            if is_chosen and etag not in failing:
                continue
            unchanged = _is_unchanged(file, unseen=True)
            if unchanged and (view.unknown or is_chosen):
                continue
            log.info("withdrawn: %s (%s)", etag, "no longer shared" if unchanged else "its file is gone or changed")
            self._engine.withdraw(etag)
            del self.files[etag]

    def seed(self, blobs: Mapping[Etag, VerifiedBlob]) -> None:
        """Seed these, unless their files went away since the last look."""
        for etag, blob in blobs.items():
            if etag not in self.files and _is_unchanged(blob.file, unseen=False):
                self._engine.seed(SeededBlob(etag, blob.file.size, blob.root, blob.file.path))
                self.files[etag] = blob.file

    def report(self) -> dict[str, object]:
        """Return what a heartbeat says of it. May be called from any thread."""
        totals, seeded = self._engine.totals(), list(self.files.values())
        return {
            "port": self._engine.port,
            "blobs": len(seeded),
            "bytes": sum(file.size for file in seeded),
            "uploaded_bytes": totals.uploaded_bytes,
            "upload_rate_bytes_s": totals.upload_rate_bytes_s,
        }


def _is_unchanged(file: BlobFile, *, unseen: bool) -> bool:
    """Whether a file is the one that was read; `unseen` stands for one that cannot be looked at for now."""
    try:
        return stamp_of(file.path) == file.stamp
    except OSError:
        return unseen
