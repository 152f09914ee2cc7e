"""What is seeded, by the swarm engine: what is published and good, until it is gone, changed, or no longer shared."""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable, Iterable, Mapping

from llmpt.core.blob import Etag
from llmpt.swarm.types import Given, SeededBlob
from llmpt_seeder.cache.contents import BlobFile, Problem
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
        self._size = 0
        self._to_withdraw: set[Etag] = set()
        self._to_seed: set[Etag] = set()
        self._unsafe: dict[Etag, BlobFile] = {}
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

    def mark(self, etags: Iterable[Etag]) -> None:
        """Say of which blobs something changed: these are looked at by the next `withdraw` and `seed`."""
        marked = set(etags)
        self._to_withdraw.update(etag for etag in marked if etag in self.files)
        self._to_seed.update(marked)

    def withdraw(self, view: View, good: Mapping[Etag, VerifiedBlob]) -> None:
        """Seed no more what is not good, or not in the view; what cannot be looked at for now is not gone."""
        failing = self._engine.unreadable()
        for etag in list(self._to_withdraw | failing):
            file, chosen = self.files.get(etag), good.get(etag)
            is_chosen = file is not None and chosen is not None and chosen.file.path == file.path
            if file is not None and not (is_chosen and etag not in failing):
                unchanged = _is_unchanged(file, unseen=True)
                if unchanged and not is_chosen and view.unknown:
                    continue  # it is looked at again
                if not (unchanged and is_chosen):
                    log.info("withdrawn: %s (%s)", etag, "no longer shared" if unchanged else "its file is gone or changed")
                    self._engine.withdraw(etag)
                    self._drop(etag)
                    self._to_seed.add(etag)
            self._to_withdraw.discard(etag)

    def seed(self, good: Mapping[Etag, VerifiedBlob], *, has_torrent: Callable[[BlobFile], bool]) -> None:
        """Seed what is good and has a torrent, unless its file went away since the last look."""
        for etag in list(self._to_seed):
            blob = good.get(etag)
            self._unsafe.pop(etag, None)
            seeded = self.files.get(etag)
            if blob is not None and seeded is not None and seeded.path == blob.file.path:
                if seeded.stamp.is_same(blob.file.stamp):
                    self.files[etag] = blob.file
                    self._to_seed.discard(etag)
                    continue
                self._drop(etag)  # the file that was read before is still open
            if blob is not None and etag not in self.files and has_torrent(blob.file):
                given = self._engine.seed(SeededBlob(etag, blob.file.size, blob.root, blob.file.path, blob.file.stamp))
                if given is Given.CHANGED:
                    continue  # it is looked at again
                if given is Given.UNSAFE:
                    self._unsafe[etag] = blob.file
                else:
                    self.files[etag] = blob.file
                    self._size += blob.file.size
            self._to_seed.discard(etag)

    def problems(self) -> list[Problem]:
        """Return what is wrong with what is remembered over a restart, and what cannot be seeded safely."""
        problems = self._state.problems()
        if self._unsafe:
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            reason = (
                f"{len(self._unsafe)} blobs are given over HTTP only: others may write where they lie, so that each has to be"
                f" kept open to be given by BitTorrent, and no more than {limit} files may be open: raise LimitNOFILE, or nofile"
            )
            problems.append(Problem("BitTorrent", reason))
        return problems

    def report(self) -> dict[str, object]:
        """Return what a heartbeat says of it. May be called from any thread."""
        totals = self._engine.totals()
        return {
            "port": self._engine.port,
            "blobs": len(self.files),
            "bytes": self._size,
            "uploaded_bytes": totals.uploaded_bytes,
            "upload_rate_bytes_s": totals.upload_rate_bytes_s,
        }

    def _drop(self, etag: Etag) -> None:
        self._size -= self.files.pop(etag).size


def _is_unchanged(file: BlobFile, *, unseen: bool) -> bool:
    """Whether a file is the one that was read; `unseen` stands for one that cannot be looked at for now."""
    try:
        return file.stamp.is_same(stamp_of(file.path))
    except OSError:
        return unseen
