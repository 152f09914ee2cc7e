"""What the tracker is told of the caches: torrents first, then the manifests that name their blobs; and what it knows by now."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from itertools import chain

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerRefused
from llmpt_seeder.cache.contents import BlobFile, Problem
from llmpt_seeder.cache.view import Commit, View
from llmpt_seeder.errors import InDoubt
from llmpt_seeder.hashing.verification import Verification
from llmpt_seeder.hub.listings import HubListings
from llmpt_seeder.life import WORK, Life
from llmpt_seeder.publishing.manifests import Manifests
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
        self._to_offer: dict[Etag, None] = {}
        self._welcome: Welcome | None = None
        self._agreed: tuple[str, int] | None = None  # the digest of what the tracker had, and what we had said, when both agreed
        self._compared: Welcome | None = None
        self._look_for_gone = True

    def meet_tracker(self) -> Welcome | None:
        """Return what the heartbeats brought since the last time, None for nothing new; then everything is to be marked: a
        tracker with another database is told all of it, and the size from which on a file has a torrent may be another."""
        welcome = self._link.welcome
        if welcome is None or welcome == self._welcome:
            return None
        if self._publisher.use_instance(welcome.instance_id):
            log.info("the tracker's database is new to us: everything is published there")
        self._publisher.is_named = welcome.holdings is not None
        self._look_for_gone = True
        if welcome.min_blob_bytes is not None:
            self.min_blob_bytes = max(welcome.min_blob_bytes, 1)
        self._welcome = welcome
        return welcome

    def mark(self, etags: Collection[Etag], commits: Iterable[Commit]) -> None:
        """Say what changed: the rest was told, or refused."""
        self._to_offer.update(dict.fromkeys(etags))
        self._manifests.mark(etags, commits)

    def publish(self, view: View) -> None:
        """Publish what is new. Nothing is sent while the tracker is away.

        Raises `TrackerError` when it cannot be used at all.
        """
        if not self._link.is_up:
            return
        self._offer_again(view)
        self._compare(view)
        good = self._verification.good
        self._publisher.publish_torrents(etag for etag in self._to_offer if etag in good and self._is_big(good[etag].file))
        self._to_offer.clear()
        for manifest in self._manifests.due(view, self._find):
            self._life.beat(WORK)
            if self._life.stop.is_set():
                return
            self._publisher.publish_manifest(manifest)
        self._withdraw_gone(view)

    def take_taken(self) -> list[Etag]:
        """Return the etags whose torrents the tracker took since the last call."""
        return self._publisher.take_taken()

    def is_out(self, file: BlobFile) -> bool:
        """Whether others may have a good file by now. May be called from any thread."""
        return not self._is_big(file) or file.etag in self._publisher.torrents

    def has_torrent(self, file: BlobFile) -> bool:
        """Whether a good file is to be seeded."""
        return self._is_big(file) and file.etag in self._publisher.torrents

    def problems(self) -> Iterator[Problem]:
        """Yield what is odd about the manifests, and what the tracker refused."""
        return chain(self._manifests.problems(), self._publisher.problems())

    def hurry(self) -> None:
        """Tell the tracker at once how the seeder is."""
        self._link.hurry()

    def _compare(self, view: View) -> None:
        """Find out what the tracker has lost, or has on our word without our saying, if it may have; once for a heartbeat."""
        welcome = self._link.welcome
        if welcome is None or welcome is self._compared or welcome.holdings is None:
            return
        if (welcome.holdings, self._publisher.said) == self._agreed:
            return
        try:
            told = self._link.holdings()
        except TrackerRefused as error:
            log.info("what the tracker has is not known: %s", error)
            return
        lost = self._publisher.compare(told)
        self.mark((), lost.intersection(view.snapshots))
        self._look_for_gone, self._compared = True, welcome
        self._agreed = None if lost else (told.digest, self._publisher.said)

    def _withdraw_gone(self, view: View) -> None:
        """Withdraw the commits of which nothing is here any more."""
        self._look_for_gone |= self._manifests.take_gone()
        if not self._look_for_gone or self._life.stop.is_set():
            return
        empty, claimed = self._manifests.empty, self._publisher.claimed()
        self._publisher.withdraw(place for place in claimed if place in empty or view.lacks(place))
        self._look_for_gone = view.unknown or not view.whole

    def _offer_again(self, view: View) -> None:
        for item in self._publisher.to_offer_again():
            if isinstance(item, Etag) and item in view.blobs:
                self.mark({item}, ())
            elif not isinstance(item, Etag) and item in view.snapshots:
                self.mark((), {item})
            else:
                self._publisher.forget_refusal(item)

    def _find(self, etag: Etag) -> BlobFile | None:
        """Return the good file of a blob that manifests may name, None without one; raise `InDoubt` when that may change."""
        blob = self._verification.good.get(etag)
        if blob is not None and self.is_out(blob.file):
            return blob.file
        if not self._publisher.refuses(etag) if blob is not None else self._verification.is_in_doubt(etag):
            raise InDoubt
        return None

    def _is_big(self, file: BlobFile) -> bool:
        return file.size >= self.min_blob_bytes
