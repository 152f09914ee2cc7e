"""From a revision that a client wants to its commit and listing, published: what is known of it before a byte is fetched."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from llmpt.core.errors import InvalidName
from llmpt.core.repo import HubAnswer, RepoRef, check_commit
from llmpt.hub.asking import HubNo
from llmpt_seeder.cache.listing import Listing
from llmpt_seeder.hub.listings import HubListings
from llmpt_seeder.publishing.manifest import Line, Manifest
from llmpt_seeder.publishing.visibility import Visibilities
from llmpt_seeder.sharing import Sharing
from llmpt_seeder.upstream.hub import Revision, UpstreamHub

log = logging.getLogger("llmpt.seeder")

MAX_REMEMBERED = 10_000


class Lookup:
    """Asks the Hub, remembers in `listings`, and publishes by `publish`. `instance` names the tracker's database: at another one
    everything is published anew. Its methods may be called from any thread."""

    def __init__(
        self,
        hub: UpstreamHub,
        *,
        sharing: Sharing,
        listings: HubListings,
        visibilities: Visibilities,
        publish: Callable[[Mapping[str, object]], object],
        instance: Callable[[], str],
    ) -> None:
        self._hub, self._sharing, self._listings, self._visibilities = hub, sharing, listings, visibilities
        self._publish, self._instance = publish, instance
        self._published: dict[tuple[str, RepoRef, str], tuple[str, ...]] = {}  # the refs with which a commit was told last

    def learn(self, repo: RepoRef, revision: str) -> tuple[str, Listing]:
        """Return the commit that a revision is now, and its listing; the catalogue has both when this returns.

        Raises `HubNo`, `HubUnreachable`, and `TrackerError` when the tracker does not take it.
        """
        self._allowed(repo)
        try:
            found = self._hub.revision(repo, revision)
        except HubNo as no:
            self._visibilities.note_no(repo, no)
            raise
        words = "public on the Hub" if found.public else "gated or private on the Hub"
        self._visibilities.note(repo, HubAnswer(found.public, words, time.time()))
        files = self._listings.of(repo, found.commit)
        if files is None:
            files = self._hub.listing(repo, found.commit)
            self._listings.keep(repo, found.commit, files)
        self._tell(repo, found, files)
        return found.commit, files

    def known(self, repo: RepoRef, revision: str) -> tuple[str, Listing]:
        """Return the same, and do not ask the Hub when `revision` is a commit whose listing is known."""
        self._allowed(repo)
        try:
            files = self._listings.of(repo, check_commit(revision))
        except InvalidName:
            files = None
        return (revision, files) if files is not None else self.learn(repo, revision)

    def _allowed(self, repo: RepoRef) -> None:
        excluded = self._sharing.exclusion(repo)
        if excluded is not None:
            raise HubNo(403, "", f"{repo} is not fetched here: {excluded}", None)

    def _tell(self, repo: RepoRef, found: Revision, files: Listing) -> None:
        commit, refs = found.commit, found.refs
        key = (self._instance(), repo, commit)
        if self._published.get(key) == refs:
            return
        lines = tuple(Line(path, file.etag, file.size, False) for path, file in sorted(files.items()))
        for body in Manifest(repo, commit, refs, lines, complete=True, card=found.card).bodies():
            self._publish(body)
        log.info("%s@%s: %d files listed by upstream, refs %s", repo, commit[:12], len(files), ",".join(refs) or "none")
        if len(self._published) >= MAX_REMEMBERED:
            self._published.clear()
        for other in [one for one in self._published if one[:2] == key[:2] and not set(refs).isdisjoint(self._published[one])]:
            del self._published[other]  # a ref has moved away from there, and may come back
        self._published[key] = refs
