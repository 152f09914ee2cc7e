"""A LAN from memory, for the router: it counts what it is asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerRefused
from llmpt.core.repo import Commit, RepoPath, RepoRef
from llmpt.hook.questions.sources import Sources
from llmpt.tracker.blobs import NotOverHttp
from llmpt.tracker.catalogue import File, Manifest
from llmpt.tracker.endpoint import EndpointReply
from llmpt.tracker.small_blobs import LARGEST_BYTES

REPO = RepoRef("model", "org/name")
FIRST, SECOND = "a" * 40, "b" * 40
SMALL = File(RepoPath("config.json"), 4, Etag("1" * 40))
LARGE = File(RepoPath("model.bin"), 5_000_000, Etag("2" * 64))


def manifest(commit: str = FIRST, *, open: bool = True, complete: bool = True, fresh: bool = False) -> Manifest:  # noqa: A002
    return Manifest(REPO, Commit(commit), (), complete, (SMALL, LARGE), open, fresh, 3 * 3600 + 5)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class MemoryLan:
    """`known`: manifests by revision. `error` is raised instead of any."""

    known: dict[str, Manifest] = field(default_factory=dict)
    error: TrackerError | None = None
    content: bytes | None = b"{}\n\n"
    asked: Counter[str] = field(default_factory=Counter)
    status: int = 200

    def manifest(self, ref: RepoRef, revision: str) -> Manifest:
        self.asked[revision] += 1
        if self.error is not None:
            raise self.error
        if ref != REPO or revision not in self.known:
            raise TrackerRefused("not here", status=404, code="not_found")
        return self.known[revision]

    refreshed_manifest = manifest

    def read(self, etag: Etag, size: int) -> bytes:
        self.asked[etag.value] += 1
        if self.content is None or size > LARGEST_BYTES:
            raise NotOverHttp("no seeder has it")
        return self.content[:size]

    def ask(self, method: str, target: str, *, program: str, part: str = "", body: bytes = b"", kind: str = "") -> EndpointReply:
        self.asked[target] += 1
        if self.error is not None:
            raise self.error
        return EndpointReply(self.status, (), b"listing")

    def standing_in_for(self, hub: str) -> MemoryLan:
        return self

    def sources(self, **changed: object) -> Sources:
        return replace(Sources(self, self, self, small_bytes=1 << 20), **changed)  # type: ignore[arg-type]
