"""The seeder at work: what the caches hold, less what is seeded, is what there is to do.

    look      scan the caches, judge each repo, and keep the result as a View        (every LLMPT_SCAN_INTERVAL)
    hash      give what was never read to the hasher, take in what came of it
    publish   the torrents that are new, then the manifests whose blobs are all known
    seed      what is published and good; withdraw what is gone, changed, or no longer shared

Each step starts from the whole picture, so that nothing has to be undone when a step could not be made. One thread does
all this; another (`TrackerLink`) sends the heartbeats, also while terabytes are hashed or a scan takes minutes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from rich.filesize import decimal

from llmpt.core.blob import Etag
from llmpt.core.errors import StateUnavailable, TrackerError
from llmpt.swarm.types import SeededBlob
from llmpt_seeder.cache.caches import Caches
from llmpt_seeder.cache.scanner import BlobFile, Problem
from llmpt_seeder.cache.view import View
from llmpt_seeder.engine import Engine
from llmpt_seeder.hashing.knowledge import Good, Knowledge, stamp_of
from llmpt_seeder.hashing.readers import Hasher
from llmpt_seeder.hub.listings import HubListings
from llmpt_seeder.publishing.manifest import InDoubt, Manifests
from llmpt_seeder.publishing.publisher import Publisher
from llmpt_seeder.publishing.tracker_link import TrackerLink, Welcome
from llmpt_seeder.sharing import Sharing
from llmpt_seeder.state import SeederState

log = logging.getLogger("llmpt.seeder")

MAX_REPORTED = 100
PROGRESS_EVERY_S = 5.0


class Service:
    """Owns the reconciliation. `wake()` makes it take its next step at once; `beat` is called while it works."""

    def __init__(
        self,
        *,
        caches: Sequence[Path],
        min_blob_bytes: int,
        scan_interval_s: float,
        state: SeederState,
        engine: Engine,
        hasher: Hasher,
        sharing: Sharing,
        listings: HubListings,
        link: TrackerLink,
        clock: Callable[[], float],
        beat: Callable[[], None],
        stop: threading.Event,
        wake: threading.Event,
    ) -> None:
        self._scan_interval_s = scan_interval_s
        self._min_blob_bytes = max(min_blob_bytes, 1)  # an empty file has no torrent (BEP 52)
        self._state, self._engine, self._hasher, self._link = state, engine, hasher, link
        self._clock, self._beat, self._stop, self._wake = clock, beat, stop, wake
        self._knowledge = Knowledge(state, clock=clock)
        self._publisher = Publisher(state, post=self._post, clock=clock)
        self._caches = Caches(caches, sharing=sharing, beat=beat, stopped=stop.is_set)
        self._asked: SimpleQueue[Path] = SimpleQueue()
        self._listings, self._manifests = listings, Manifests(listings)
        self._all_told: tuple[object, ...] | None = None
        self._verified: dict[Etag, tuple[BlobFile, bytes]] = {}
        self._seeded: dict[Etag, BlobFile] = {}
        self._welcome: Welcome | None = None
        self._problems: tuple[Problem, ...] = ()
        self._said = 0.0
        self._told = (0, True)
        if announce_url := state.fact("announce_url"):
            engine.set_announce_url(announce_url)

    def run(self) -> None:
        """Work until `stop` is set."""
        look_at = time.monotonic()
        while not self._stop.is_set():
            started = time.monotonic()
            self._wake.clear()
            if started >= look_at:
                self.look()
                ended = time.monotonic()
                # A huge cache on a slow disk is looked at less often: no more than a tenth of the time goes into that.
                look_at = ended + max(self._scan_interval_s, 9 * (ended - started))
            else:
                self.look_where_asked()
            try:
                self.reconcile()
            except StateUnavailable as error:  # a full disk: what is seeded is seeded on
                log.error("%s; trying again", error)
            now = time.monotonic()
            # A step looks at everything: with very many blobs it leaves the machine alone for as long as it took.
            if not self._stop.wait(min(now - started, 1.0)):
                self._wake.wait(max(0.0, min(look_at - now, PROGRESS_EVERY_S)))

    def look(self) -> None:
        """Scan the caches. What cannot be looked at now (a mount that failed?) stays as it is known."""
        self._caches.look()

    def look_at(self, cache: Path) -> None:
        """Have one of the caches looked at again at once, and no other. May be called from any thread."""
        self._asked.put(cache)
        self._wake.set()

    def look_where_asked(self) -> None:
        """Scan the caches that `look_at` named since the last time."""
        named: set[Path] = set()
        while True:
            try:
                named.add(self._asked.get_nowait())
            except Empty:
                break
        for cache in sorted(named):
            self._caches.look_at(cache)

    def reconcile(self) -> None:
        """Bring hashing, publishing and seeding in line with the last look; what cannot be done now is done next time."""
        self._beat()
        for hashed in self._hasher.collect():
            self._knowledge.learn(hashed)
        good = self._verified = self._good()
        self._hasher.plan(list(self._unread(good)))
        try:
            self._meet_tracker()
            if self._link.is_up:
                self._publish(good)
        except TrackerError as error:
            log.info("publishing is put off: %s", error)
        self._withdraw(good)
        self._seed(good)
        self._note_problems()
        self._say_progress()
        state = (len(self._seeded), self._hasher.progress() is None)
        if state != self._told:  # the page need not wait for the next heartbeat to see what is seeded
            self._told = state
            self._link.hurry()

    def blob(self, etag: Etag) -> BlobFile | None:
        """Return the file that holds a shared blob, verified and (if it has a torrent) published; None without one.

        May be called from any thread.
        """
        blob, _ = self._verified.get(etag, (None, b""))
        if blob is None or blob.size < self._min_blob_bytes or etag in self._publisher.torrents:
            return blob
        return None

    def report(self) -> dict[str, object]:
        """Return what a heartbeat says of us. May be called from any thread."""
        totals, seeded, progress = self._engine.totals(), list(self._seeded.values()), self._hasher.progress()
        return {
            "port": self._engine.port,
            "blobs": len(seeded),
            "bytes": sum(blob.size for blob in seeded),
            "uploaded_bytes": totals.uploaded_bytes,
            "upload_rate_bytes_s": totals.upload_rate_bytes_s,
            "hashing": asdict(progress) if progress else None,
            "problems": [asdict(problem) for problem in self._problems[:MAX_REPORTED]],
        }

    @property
    def _view(self) -> View:
        return self._caches.view

    def _good(self) -> dict[Etag, tuple[BlobFile, bytes]]:
        """Return, for each etag that a file is known to hold, that file (the one seeded now, if it can be) and its root."""
        good: dict[Etag, tuple[BlobFile, bytes]] = {}
        for etag, files in self._view.blobs.items():
            for blob in files:
                known = self._knowledge.of(blob)
                if isinstance(known, Good) and (etag not in good or self._seeded.get(etag) == blob):
                    good[etag] = (blob, known.root)
        return good

    def _unread(self, good: dict[Etag, tuple[BlobFile, bytes]]) -> Iterator[BlobFile]:
        """Yield one file to read for each etag of which no good file is known, in the order of the cache."""
        for etag, files in self._view.blobs.items():
            if etag not in good:
                unread = next((blob for blob in files if self._knowledge.of(blob) is None), None)
                if unread is not None:
                    yield unread

    def _meet_tracker(self) -> None:
        """Follow what the heartbeats brought: another announce URL, a restarted announcer, another database."""
        welcome, last = self._link.welcome, self._welcome
        if welcome is None or welcome == last:
            return
        if self._publisher.use_instance(welcome.instance_id):
            self._all_told = None
            log.info("the tracker's database is new to us: everything is published there")
        self._engine.set_announce_url(welcome.announce_url)
        self._state.keep_fact("announce_url", welcome.announce_url)
        if (last is None or last.boot_id != welcome.boot_id) and self._seeded:
            log.info(
                "%s: announcing %d blobs", "the tracker has started anew" if last else "the tracker is there", len(self._seeded)
            )
            self._engine.reannounce()
        self._welcome = welcome

    def _publish(self, good: dict[Etag, tuple[BlobFile, bytes]]) -> None:
        taken = self._publisher.publish_torrents(etag for etag, (blob, _) in good.items() if blob.size >= self._min_blob_bytes)
        if any(etag in self._seeded for etag in taken):
            self._engine.reannounce()  # its announces were refused as long as the tracker did not know the torrent
        told = self._view.snapshots, good, self._listings.version
        if told == self._all_told:
            return
        for manifest in self._manifests.of(self._view, partial(self._find, good=good)):
            self._beat()
            if self._stop.is_set():
                return
            self._publisher.publish_manifest(manifest)
        self._all_told = None if self._manifests.in_doubt or self._publisher.problems() else told

    def _post(self, body: Mapping[str, object]) -> Mapping[str, object]:
        self._beat()  # a long listing goes in many parts
        return self._link.publish(body)

    def _find(self, etag: Etag, *, good: dict[Etag, tuple[BlobFile, bytes]]) -> BlobFile | None:
        """Return the verified file of a blob that manifests may name; None without one; raise `InDoubt` when that may change."""
        if etag in good:
            blob = good[etag][0]
            if blob.size < self._min_blob_bytes or etag in self._publisher.torrents:
                return blob
            if not self._publisher.refuses(etag):
                raise InDoubt
        elif any(self._knowledge.of(blob) is None for blob in self._view.blobs.get(etag, ())):
            raise InDoubt
        return None

    def _withdraw(self, good: dict[Etag, tuple[BlobFile, bytes]]) -> None:
        failing = self._engine.unreadable()
        for etag, blob in list(self._seeded.items()):
            chosen = good.get(etag)
            if chosen is not None and chosen[0] == blob and etag not in failing:
                continue
            try:
                unchanged = stamp_of(blob.path) == blob.stamp
            except OSError:
                unchanged = True  # not to be looked at for now is not gone
            if unchanged and (self._view.unknown or (chosen is not None and chosen[0] == blob)):
                continue
            log.info("withdrawn: %s (%s)", etag, "no longer shared" if unchanged else "its file is gone or changed")
            self._engine.withdraw(etag)
            del self._seeded[etag]

    def _seed(self, good: dict[Etag, tuple[BlobFile, bytes]]) -> None:
        for etag, (blob, root) in good.items():
            if etag in self._seeded or etag not in self._publisher.torrents or blob.size < self._min_blob_bytes:
                continue
            try:
                if stamp_of(blob.path) != blob.stamp:
                    continue  # it went away since the last look
            except OSError:
                continue
            self._engine.seed(SeededBlob(etag, blob.size, root, blob.path))
            self._seeded[etag] = blob

    def _note_problems(self) -> None:
        blobs = (blob for files in self._view.blobs.values() for blob in files)
        problems = [Problem(self._caches.name(blob.path), reason) for blob in blobs if (reason := self._knowledge.reason(blob))]
        problems = [*self._caches.problems(), *problems, *self._manifests.problems, *self._publisher.problems()]
        for problem in problems:
            if problem not in self._problems and problem in self._view.problems:
                log.warning("not shared: %s: %s", problem.what, problem.reason)
        self._problems = tuple(problems)

    def _say_progress(self) -> None:
        progress, now = self._hasher.progress(), time.monotonic()
        if progress is not None and now - self._said >= PROGRESS_EVERY_S:
            self._said = now
            read, total = decimal(progress.bytes_done), decimal(progress.bytes_total)
            log.info("hashing: %d of %d blobs, %s of %s", progress.blobs_done, progress.blobs_total, read, total)
