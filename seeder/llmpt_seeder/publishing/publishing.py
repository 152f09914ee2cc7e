"""What the tracker is told of the caches: torrents first, then the manifests that name their blobs; and what it knows by now."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from llmpt.core.blob import Etag
from llmpt_seeder.cache.contents import BlobFile, Problem
from llmpt_seeder.cache.view import View
from llmpt_seeder.errors import InDoubt
from llmpt_seeder.hashing.verification import Verification, VerifiedBlob
from llmpt_seeder.hub.listings import HubListings
from llmpt_seeder.life import WORK, Life
from llmpt_seeder.publishing.manifest import Manifests
from llmpt_seeder.publishing.publisher import Publisher
from llmpt_seeder.publishing.tracker_link import TrackerLink, Welcome

log = logging.getLogger("llmpt.seeder")


class Publishing:
    """Publishes what is new. A file of `min_blob_bytes` has a torrent, and is out when that is published; a smaller one is out
    when it is good. The tracker says from which size on; what was set here counts until it does."""

    def __init__(
        self,
        link: TrackerLink,
        listings: HubListings,
        verification: Verification,
        publisher: Publisher,
        *,
        min_blob_bytes: int,
        life: Life,
    ) -> None:
        self._link, self._listings, self._verification, self._life = link, listings, verification, life
        self.min_blob_bytes = max(min_blob_bytes, 1)  # an empty file has no torrent (BEP 52)
        self._publisher = publisher
        self._manifests = Manifests(listings)
        self._welcome: Welcome | None = None
        self._all_told: tuple[object, ...] | None = None

    def meet_tracker(self) -> Welcome | None:
        """Return what the heartbeats brought since the last time, None for nothing new. At a tracker with another database
        everything is published anew."""
        welcome = self._link.welcome
        if welcome is None or welcome == self._welcome:
            return None
        if self._publisher.use_instance(welcome.instance_id):
            self._all_told = None
            log.info("the tracker's database is new to us: everything is published there")
        if welcome.min_blob_bytes is not None:
            self.min_blob_bytes = max(welcome.min_blob_bytes, 1)
        self._welcome = welcome
        return welcome

    def publish(self, view: View, good: Mapping[Etag, VerifiedBlob]) -> list[Etag]:
        """Publish what is new; return the etags whose torrents were taken. Nothing is sent while the tracker is away.

        Raises `TrackerError` when it cannot be used at all.
        """
        if not self._link.is_up:
            return []
        taken = self._publisher.publish_torrents(etag for etag, blob in good.items() if self._is_big(blob.file))
        told = view.snapshots, good, self._listings.version, self.min_blob_bytes
        if told != self._all_told:
            self._publish_manifests(view, good, told)
        return taken

    def is_out(self, file: BlobFile) -> bool:
        """Whether others may have a good file by now. May be called from any thread."""
        return not self._is_big(file) or file.etag in self._publisher.torrents

    def has_torrent(self, file: BlobFile) -> bool:
        """Whether a good file is to be seeded."""
        return self._is_big(file) and file.etag in self._publisher.torrents

    def problems(self) -> list[Problem]:
        """Return what is odd about the manifests, and what the tracker refused."""
        return [*self._manifests.problems, *self._publisher.problems()]

    def hurry(self) -> None:
        """Tell the tracker at once how the seeder is."""
        self._link.hurry()

    def _publish_manifests(self, view: View, good: Mapping[Etag, VerifiedBlob], told: tuple[object, ...]) -> None:
        def find(etag: Etag) -> BlobFile | None:
            """Return the good file of a blob that manifests may name, None without one; raise `InDoubt` when that may change."""
            blob = good.get(etag)
            if blob is not None and self.is_out(blob.file):
                return blob.file
            if not self._publisher.refuses(etag) if blob is not None else self._verification.is_in_doubt(view, etag):
                raise InDoubt
            return None

        for manifest in self._manifests.of(view, find):
            self._life.beat(WORK)
            if self._life.stop.is_set():
                return
            self._publisher.publish_manifest(manifest)
        self._all_told = None if self._manifests.in_doubt or self._publisher.problems() else told

    def _is_big(self, file: BlobFile) -> bool:
        return file.size >= self.min_blob_bytes
