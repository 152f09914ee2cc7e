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
from llmpt_seeder.cache.contents import Problem
from llmpt_seeder.cache.view import Commit
from llmpt_seeder.publishing.manifest import Manifest, PublishLimits
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
    """Owns what was published where. `post` sends one body to `POST /api/v1/publish`."""

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
        self.torrents = self._state.published_torrents()
        self._manifests = self._state.published_manifests()

    def use_instance(self, instance_id: str) -> bool:
        """Say which tracker instance is spoken to; at another one everything is published anew. Return whether it is."""
        if not self._state.use_instance(instance_id):
            return False
        self._refused.clear()
        self._next_retry_at = float("inf")
        self._lost.clear()
        self.torrents, self._manifests = set(), {}
        return True

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
        for batch in self._batches(new):
            self._send(batch)

    def take_taken(self) -> list[Etag]:
        """Return the etags whose torrents the tracker took since the last call."""
        taken, self._taken = self._taken, []
        return taken

    def publish_manifest(self, manifest: Manifest) -> bool:
        """Publish what is told of a commit; return whether it was new."""
        digest, key = manifest.digest, (manifest.repo, manifest.commit)
        if self._manifests.get(key) == digest or self._is_set_aside(key, digest):
            return False
        try:
            for body in manifest.bodies(self._limits):
                self._post(body)
        except TrackerRefused as error:
            if error.code == "unknown_etag":
                # Its database may be an older one than we remember (a backup): offer these torrents again.
                self._withdraw_claims([line.etag for line in manifest.lines if line.here])
            self._set_aside(key, digest, error)
            return False
        self._refused.pop(key, None)
        self._manifests[key] = digest
        self._state.keep_manifest(*key, digest)
        here = sum(line.here for line in manifest.lines)
        known = f"{here} of {len(manifest.lines)} files here" if manifest.complete else f"{here} files, the listing is not known"
        log.info("published %s@%s: %s, refs %s", *key, known, ",".join(manifest.refs) or "none")
        return True

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
            self._post({"torrents": [text for _, text in batch]})
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
