"""Publishing: torrents in batches that each stand alone, then the manifests that name their etags; only what is new.

What the tracker refuses is set aside with its reason, and tried again when it changed or after a while: one bad item
blocks no other. A tracker that cannot be used at all (no answer, no right, an inner error) raises `TrackerError`.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerRefused
from llmpt.core.holdings import HeldCommit, Holdings
from llmpt_seeder.cache.contents import Problem
from llmpt_seeder.cache.view import Commit
from llmpt_seeder.publishing.manifest import Manifest, PublishLimits
from llmpt_seeder.publishing.said import Place, Said, difference
from llmpt_seeder.state import SeederState

log = logging.getLogger("llmpt.seeder")

RETRY_REFUSED_S = 600.0


Item = Etag | Commit


@dataclass(frozen=True, slots=True)
class _Refusal:
    digest: str
    reason: str
    retry_at: float


class Publisher:
    """Owns what was published where. `post` sends one body to `POST /api/v1/publish`; `is_named`: the tracker keeps apart what it
    has on whose word."""

    def __init__(
        self,
        state: SeederState,
        *,
        post: Callable[[Mapping[str, object]], Mapping[str, object]],
        clock: Callable[[], float],
        limits: PublishLimits = PublishLimits(),
    ) -> None:
        self._state, self._post, self._clock, self._limits = state, post, clock, limits
        self._refused: dict[Item, _Refusal] = {}
        self._next_retry_at = float("inf")
        self._lost: set[Etag] = set()
        self._taken: list[Etag] = []
        self._to_restore: set[Place] = set()
        self._surplus: frozenset[Place] = frozenset()
        self._seen_lost: dict[Place, HeldCommit | None] = {}
        self.is_named = False
        self.said = 0  # how often something was said of a commit
        self.torrents = self._state.published_torrents()
        self._manifests = {place: Said.parse(text) for place, text in self._state.published_manifests().items()}

    def use_instance(self, instance_id: str) -> bool:
        """Say which tracker instance is spoken to; at another one everything is published anew. Return whether it is."""
        if not self._state.use_instance(instance_id):
            return False
        self._refused.clear()
        self._next_retry_at = float("inf")
        self._lost.clear()
        self.torrents, self._manifests = set(), {}
        self._to_restore.clear()
        self._seen_lost.clear()
        return True

    def compare(self, told: Holdings) -> frozenset[Place]:
        """Hold what the tracker has on our word against what we said; return the commits that are to be said anew.

        What it lacks although it was published anew for just that is left alone: it will not have it.
        """
        found, rows = difference(self._manifests, told), {(row.repo, row.commit): row for row in told.commits}
        self._seen_lost = {place: row for place, row in self._seen_lost.items() if place in found.lost}
        new = {place for place in found.lost if place not in self._seen_lost or self._seen_lost[place] != rows.get(place)}
        if new:
            log.warning(
                "the tracker does not have %d of %d commits as they were published there (an older copy of its database?): "
                "they are published anew",
                *(len(new), len(self._manifests)),
            )
        self._seen_lost.update((place, rows.get(place)) for place in new)
        self._to_restore |= new
        self._surplus = found.surplus
        return frozenset(self._to_restore)

    def claimed(self) -> set[Place]:
        """Return the commits of which the tracker believes, or may believe, that we have something."""
        return {*self._manifests, *self._surplus}

    def problems(self) -> Iterator[Problem]:
        """Yield what the tracker refused, and why."""
        for item, refusal in self._refused.items():
            yield Problem(_name(item), f"the tracker refused it: {refusal.reason}")

    def refuses(self, etag: Etag) -> bool:
        """Whether the tracker did not take the torrent of this blob, the last time it was offered."""
        return etag in self._refused

    def to_offer_again(self) -> set[Item]:
        """Return what was refused a while ago, and the torrents that the tracker turned out to have lost."""
        items: set[Item] = set(self._lost)
        self._lost.clear()
        now = self._clock()
        if now >= self._next_retry_at:
            items.update(item for item, refusal in self._refused.items() if refusal.retry_at <= now)
            self._next_retry_at = min((r.retry_at for r in self._refused.values() if r.retry_at > now), default=float("inf"))
        return items

    def forget_refusal(self, item: Item) -> None:
        """Speak no more of what was refused, for it is not here any more."""
        self._refused.pop(item, None)

    def publish_torrents(self, etags: Iterable[Etag]) -> None:
        """Publish the torrents of those `etags` that are new."""
        new = [etag for etag in etags if etag not in self.torrents and not self._is_set_aside(etag, etag.value)]
        self._send_all(new)

    def take_taken(self) -> list[Etag]:
        """Return the etags whose torrents the tracker took since the last call."""
        taken, self._taken = self._taken, []
        return taken

    def publish_manifest(self, manifest: Manifest) -> bool:
        """Publish what is told of a commit; return whether it was new."""
        key, said = (manifest.repo, manifest.commit), Said.of(manifest, self.torrents)
        digest, before = said.digest, self._manifests.get(key)
        is_told = before is not None and before.digest == digest and key not in self._to_restore
        if is_told or self._is_set_aside(key, digest):
            return False
        try:
            if key in self._to_restore:  # its torrents may be lost as well; for a tracker that has them they are no news
                self._send_all(dict.fromkeys(line.etag for line in manifest.lines if line.here and line.etag in self.torrents))
            for body in self._signed(list(manifest.bodies(self._limits))):
                self._post(body)
        except TrackerRefused as error:
            if error.code == "unknown_etag":
                # Its database may be an older one than we remember (a backup): offer these torrents again.
                self._withdraw_claims([line.etag for line in manifest.lines if line.here])
            self._set_aside(key, digest, error)
            return False
        self.said += 1
        self._refused.pop(key, None)
        self._to_restore.discard(key)
        self._manifests[key] = said
        self._state.keep_manifest(*key, str(said))
        here = sum(line.here for line in manifest.lines)
        known = f"{here} of {len(manifest.lines)} files here" if manifest.complete else f"{here} files, the listing is not known"
        log.info("published %s@%s: %s, refs %s", *key, known, ",".join(manifest.refs) or "none")
        return True

    def withdraw(self, places: Iterable[Place]) -> None:
        """Say of these commits that we have nothing of them any more.

        A tracker that does not keep apart what it has on whose word is told nothing.
        """
        for repo, commit in places if self.is_named else ():
            nothing = {"repo_type": repo.type, "repo_id": repo.id, "commit": commit, "refs": [], "complete": False, "files": []}
            for body in self._signed([nothing]):
                self._post(body)
            self.said += 1
            log.info("withdrawn: %s@%s", repo, commit)
            self._manifests.pop((repo, commit), None)
            self._to_restore.discard((repo, commit))
            self._surplus -= {(repo, commit)}
            self._state.drop_manifest(repo, commit)

    def _signed(self, bodies: list[dict[str, object]]) -> Iterator[dict[str, object]]:
        """Yield the parts of a manifest with our name: what we had of the commit and do not name now is gone."""
        last = len(bodies) - 1
        for index, body in enumerate(bodies):
            signed = {**body, "seeder": self._state.seeder_id, "anew": index == 0, "more": index < last}
            yield signed if self.is_named else body

    def _send_all(self, etags: Iterable[Etag]) -> None:
        for batch in self._batches(list(etags)):
            self._send(batch)

    def _batches(self, etags: list[Etag]) -> Iterator[list[tuple[Etag, str]]]:
        batch: list[tuple[Etag, str]] = []
        size = 0
        for etag in etags:
            metainfo = self._state.metainfo(etag)
            if metainfo is None:
                continue
            text = base64.b64encode(metainfo.encode()).decode()
            if batch and (size + len(text) > self._limits.size or len(batch) >= self._limits.torrents):
                yield batch
                batch, size = [], 0
            batch.append((etag, text))
            size += len(text) + 4
        if batch:
            yield batch

    def _send(self, batch: list[tuple[Etag, str]]) -> None:
        """Publish one batch; when it is refused, its halves, down to the torrent that is to blame."""
        try:
            torrents = {"torrents": [text for _, text in batch]}
            self._post({**torrents, "seeder": self._state.seeder_id} if self.is_named else torrents)
        except TrackerRefused as error:
            if len(batch) == 1:
                self._set_aside(batch[0][0], batch[0][0].value, error)
                return
            if not is_about_the_item(error):
                raise
            middle = len(batch) // 2
            self._send(batch[:middle])
            self._send(batch[middle:])
            return
        etags = [etag for etag, _ in batch]
        for etag in etags:
            self._refused.pop(etag, None)
        self._state.keep_published(etags)
        self.torrents.update(etags)
        self._taken += etags
        log.info("published %d torrents", len(etags))

    def _withdraw_claims(self, etags: list[Etag]) -> None:
        known = [etag for etag in etags if etag in self.torrents]
        self._state.drop_published(known)
        self.torrents.difference_update(known)
        self._lost.update(known)

    def _is_set_aside(self, item: Item, digest: str) -> bool:
        refusal = self._refused.get(item)
        return refusal is not None and refusal.digest == digest and self._clock() < refusal.retry_at

    def _set_aside(self, item: Item, digest: str, error: TrackerRefused) -> None:
        if not is_about_the_item(error):
            raise error
        log.warning("the tracker refused %s: %s", _name(item), error)
        # After `unknown_etag` the torrents go first, and the manifest follows at the next look.
        wait_s = 0.0 if error.code == "unknown_etag" and item not in self._refused else RETRY_REFUSED_S
        retry_at = self._clock() + wait_s
        self._refused[item] = _Refusal(digest, str(error), retry_at)
        self._next_retry_at = min(self._next_retry_at, retry_at)


def _name(item: Item) -> str:
    return item.value if isinstance(item, Etag) else f"{item[0]}@{item[1]}"


def is_about_the_item(error: TrackerRefused) -> bool:
    """Say whether a refusal is about what was sent, not about its sender or the tracker's state."""
    return 400 <= error.status < 500 and error.status not in (401, 403, 404, 408, 429)
