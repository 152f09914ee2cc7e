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
from llmpt_seeder.publishing.manifest import Manifest, PublishLimits
from llmpt_seeder.state import SeederState

log = logging.getLogger("llmpt.seeder")

RETRY_REFUSED_S = 600.0


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
        self._refused: dict[str, _Refusal] = {}
        self._load()

    def _load(self) -> None:
        self.torrents = self._state.published_torrents()
        self._manifests = self._state.published_manifests()

    def use_instance(self, instance_id: str) -> bool:
        """Say which tracker instance is spoken to; at another one everything is published anew. Return whether it is."""
        if not self._state.use_instance(instance_id):
            return False
        self._refused.clear()
        self._load()
        return True

    def problems(self) -> list[Problem]:
        return [Problem(what, f"the tracker refused it: {refusal.reason}") for what, refusal in self._refused.items()]

    def refuses(self, etag: Etag) -> bool:
        """Whether the tracker did not take the torrent of this blob, the last time it was offered."""
        return etag.value in self._refused

    def publish_torrents(self, etags: Iterable[Etag]) -> list[Etag]:
        """Publish the torrents of those `etags` that are new; return the ones that the tracker took."""
        new = [etag for etag in etags if etag not in self.torrents and not self._is_set_aside(etag.value, etag.value)]
        taken: list[Etag] = []
        for batch in self._batches(new):
            taken += self._send(batch)
        return taken

    def publish_manifest(self, manifest: Manifest) -> bool:
        """Publish what is told of a commit; return whether it was new."""
        digest, key = manifest.digest, (manifest.repo, manifest.commit)
        if self._manifests.get(key) == digest or self._is_set_aside(manifest.name, digest):
            return False
        try:
            for body in manifest.bodies(self._limits):
                self._post(body)
        except TrackerRefused as error:
            if error.code == "unknown_etag":
                # Its database may be an older one than we remember (a backup): offer these torrents again.
                self._withdraw_claims([line.etag for line in manifest.lines if line.here])
            self._set_aside(manifest.name, digest, error)
            return False
        self._refused.pop(manifest.name, None)
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

    def _send(self, batch: list[tuple[Etag, str]]) -> list[Etag]:
        """Publish one batch; when it is refused, its halves, down to the torrent that is to blame."""
        try:
            self._post({"torrents": [text for _, text in batch]})
        except TrackerRefused as error:
            if len(batch) == 1:
                self._set_aside(batch[0][0].value, batch[0][0].value, error)
                return []
            if not is_about_the_item(error):
                raise
            middle = len(batch) // 2
            return self._send(batch[:middle]) + self._send(batch[middle:])
        etags = [etag for etag, _ in batch]
        for etag in etags:
            self._refused.pop(etag.value, None)
        self._state.keep_published(etags)
        self.torrents.update(etags)
        log.info("published %d torrents", len(etags))
        return etags

    def _withdraw_claims(self, etags: list[Etag]) -> None:
        known = [etag for etag in etags if etag in self.torrents]
        self._state.drop_published(known)
        self.torrents.difference_update(known)

    def _is_set_aside(self, name: str, digest: str) -> bool:
        refusal = self._refused.get(name)
        return refusal is not None and refusal.digest == digest and self._clock() < refusal.retry_at

    def _set_aside(self, name: str, digest: str, error: TrackerRefused) -> None:
        if not is_about_the_item(error):
            raise error
        log.warning("the tracker refused %s: %s", name, error)
        # After `unknown_etag` the torrents go first, and the manifest follows at the next look.
        wait_s = 0.0 if error.code == "unknown_etag" and name not in self._refused else RETRY_REFUSED_S
        self._refused[name] = _Refusal(digest, str(error), self._clock() + wait_s)


def is_about_the_item(error: TrackerRefused) -> bool:
    """Say whether a refusal is about what was sent, not about its sender or the tracker's state."""
    return 400 <= error.status < 500 and error.status not in (401, 403, 404, 408, 429)
