"""What the LAN knows of repos: the manifests of commits, and where refs point, asked of the tracker once and kept for a while.

A commit never changes, so its manifest is kept for as long as there is room, and asked for again only because the answer to
"may the LAN answer for it?" can change. A ref is kept for some seconds: all files that one call downloads come from one commit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import TrackerError, TrackerRefused, TrackerUnavailable
from llmpt.core.repo import RepoRef
from llmpt.hook.questions.turns import Turns
from llmpt.link.silence import TrackerSilence
from llmpt.tracker.catalogue import File, Manifest

log = logging.getLogger("llmpt")

REF_S = 10.0
COMMIT_S = 300.0
NOT_KNOWN_S = 10.0
MOST_FILES = 50_000  # some 25 MB; the latest manifest is kept whatever it holds
MOST_ENTRIES = 1000
QUIET = Pauses(first_s=5.0, longest_s=60.0, times_cost=30.0)  # a tracker that swallows questions is waited for once
TURN_S = 10.0
DEAR_S = 0.5  # what costs less may be found out by each program


class Manifests(Protocol):
    """Where manifests come from: `llmpt.tracker.catalogue.Catalogue`."""

    def manifest(self, ref: RepoRef, revision: str) -> Manifest: ...
    def refreshed_manifest(self, ref: RepoRef, revision: str) -> Manifest: ...


@dataclass(frozen=True, slots=True)
class Known:
    """What the LAN knows of one revision.

    manifest: of its commit
    files: the same by path
    """

    manifest: Manifest
    files: Mapping[str, File] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", {file.path.value: file for file in self.manifest.files})

    @property
    def commit(self) -> str:
        return self.manifest.commit.value

    @property
    def answers(self) -> bool:
        """Whether the LAN may answer for it: all of it is known, and anyone here may have it."""
        return self.manifest.complete and self.manifest.open


@dataclass(frozen=True, slots=True)
class _Remembered:
    known: Known | None
    until: float


_Key = tuple[RepoRef, str]


class Knowledge:
    """Asks `manifests`; safe to share among threads. A tracker that does not answer is left alone for a while."""

    def __init__(
        self, manifests: Manifests, *, silence: TrackerSilence | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`silence` is what this user's other programs know of the tracker's."""
        self._manifests, self._silence, self._clock = manifests, silence, clock
        self._breaker = Breaker(QUIET, clock=clock)
        self._entries: dict[_Key, _Remembered] = {}  # the latest last; replaced as a whole
        self._turns = Turns()

    def at_hand(self, repo: RepoRef, revision: str) -> bool:
        """Whether `of_commit` and `of_name` would answer without asking anyone."""
        return self._entry((repo, revision)) is not None or not self._breaker.allows()

    def of_commit(self, repo: RepoRef, commit: str) -> Known | None:
        """Return what the LAN knows of a commit; None: nothing, or it does not say."""
        return self._look_up((repo, commit), self._manifests.manifest)

    def of_name(self, repo: RepoRef, name: str) -> Known | None:
        """Return the commit at which the LAN last saw a ref, and what it knows of that; None likewise."""
        return self._look_up((repo, name), self._manifests.refreshed_manifest)

    def _look_up(self, key: _Key, ask: Callable[[RepoRef, str], Manifest]) -> Known | None:
        if (entry := self._entry(key)) is not None:
            return entry.known
        with self._turns.take(key, wait_s=TURN_S):
            if (entry := self._entry(key)) is not None:
                return entry.known
            return self._ask(key, ask) if self.may_ask() else None

    def may_ask(self) -> bool:
        """Whether the tracker is not left alone now, by this program or all of this user's."""
        if self._breaker.allows() and self._silence is not None and (left_s := self._silence.left_s()) > 0:
            self._breaker.failed(TrackerUnavailable("it did not answer another program"), retry_after_s=left_s)
        return self._breaker.allows()

    def _ask(self, key: _Key, ask: Callable[[RepoRef, str], Manifest]) -> Known | None:
        asked_at = self._clock()
        try:
            known = Known(ask(*key))
        except TrackerRefused as error:
            log.debug("%s@%s: not answered by the LAN: %s", *key, error)
            self._breaker.succeeded()
            self._keep(key, None, NOT_KNOWN_S)
            return None
        except TrackerError as error:
            log.debug("%s@%s: the Hub is asked, since %s", *key, error)
            self.failed(error, cost_s=self._clock() - asked_at)
            return None
        self._breaker.succeeded()
        repo, revision = key
        if revision != known.commit:
            self._keep(key, known, REF_S)
        self._keep((repo, known.commit), known, COMMIT_S if known.answers else NOT_KNOWN_S)
        return known

    def failed(self, error: TrackerError, *, cost_s: float) -> None:
        """Leave the tracker alone for a while, after it has not answered within `cost_s` seconds."""
        left_s = self._breaker.failed(error, cost_s=cost_s)
        if self._silence is not None and cost_s >= DEAR_S:
            self._silence.note(left_s)

    def _entry(self, key: _Key) -> _Remembered | None:
        entry = self._entries.get(key)
        return entry if entry is not None and entry.until > self._clock() else None

    def _keep(self, key: _Key, known: Known | None, for_s: float) -> None:
        now = self._clock()
        entries = {found: entry for found, entry in self._entries.items() if entry.until > now and found != key}
        entries[key] = _Remembered(known, now + for_s)
        while len(entries) > 2 and (len(entries) > MOST_ENTRIES or _files(entries.values()) > MOST_FILES):
            del entries[next(iter(entries))]
        self._entries = entries


def _files(entries: Iterable[_Remembered]) -> int:
    return sum({id(entry.known): len(entry.known.files) for entry in entries if entry.known is not None}.values())
