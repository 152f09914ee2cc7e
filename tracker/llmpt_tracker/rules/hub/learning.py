"""What the catalogue knows, or learns from upstream when it is asked for it.

Upstream is asked at once for what the catalogue lacks; for what it has, at most once in LLMPT_REF_TTL: a ref may have moved, and
a commit that is known in part may become known as a whole. A whole commit never changes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from llmpt.core.repo import RepoRef
from llmpt_tracker.errors import RefusedAsHub, UpstreamRefused
from llmpt_tracker.rules.hub.revisions import HubRevision
from llmpt_tracker.rules.hub.upstream import AskedUpstream

T = TypeVar("T")

MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class LearningTimings:
    """How long things take, in seconds.

    again_s: before upstream is asked again for what the catalogue has
    grows_within_s: for so long a request waits until a file begins to come in: clients give up after 10, and a seeder that
        was silent is asked again after 5
    poll_s: between two looks at whether it does
    """

    again_s: float = 60.0
    grows_within_s: float = 6.0
    poll_s: float = 0.2


class Learning:
    """Looks things up, and has upstream asked where that may help. Used by many threads; one for each application."""

    def __init__(self, *, timings: LearningTimings = LearningTimings(), monotonic: Callable[[], float] = time.monotonic) -> None:
        self.timings = timings
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._asked: dict[tuple[RepoRef, str | None], float] = {}

    def look_up(
        self,
        upstream: AskedUpstream | None,
        look: Callable[[], T],
        repo: RepoRef,
        revision: str | None,
        revision_of: Callable[[T], HubRevision | None],
    ) -> T:
        """Return what `look` finds. `revision_of` says in which revision that is; None: no matter.

        Raises what `look` raises, or upstream's own no as `RefusedAsHub`.
        """
        if upstream is None:
            return look()
        try:
            found = look()
        except RefusedAsHub as no:
            if no.code not in ("RepoNotFound", "RevisionNotFound"):
                raise
            self._learn(upstream, repo, revision)
            return look()
        at = revision_of(found)
        if at is None or (at.complete and at.commit == revision) or not self._due(repo, revision):
            return found
        try:
            self._learn(upstream, repo, revision)
        except RefusedAsHub:
            return found  # what is here is here
        return look()

    def _learn(self, upstream: AskedUpstream, repo: RepoRef, revision: str | None) -> None:
        try:
            upstream.learn(repo, revision)
        except UpstreamRefused as no:
            raise RefusedAsHub(no.status, no.code, str(no), retry_after_s=no.retry_after_s) from None

    def _due(self, repo: RepoRef, revision: str | None) -> bool:
        now = self._monotonic()
        with self._lock:
            if now - self._asked.get((repo, revision), float("-inf")) < self.timings.again_s:
                return False
            if len(self._asked) >= MAX_REMEMBERED:
                self._asked.clear()
            self._asked[repo, revision] = now
            return True
