"""Listings that the Hub itself gave, of commits of which the cache holds none.

A commit is immutable: its listing is asked for once and remembered for ever. Only a repo that the Hub shows without a token is
asked for as often as it takes; of one that is shared because its operator named it the Hub is asked once a day, without one. All
this happens on a thread of its own, so that a Hub that cannot be reached holds up nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from llmpt.core.breaker import Breaker
from llmpt.core.repo import RepoRef
from llmpt.hub.asking import HubNo, HubUnreachable
from llmpt.hub.visibility import ASK_AGAIN_S
from llmpt_seeder.cache.listing import Listing

log = logging.getLogger("llmpt.seeder")

LOOK_EVERY_S = 30.0
ANSWERS = (401, 403, 404, 410)  # what else the Hub says is about itself, or about us

Commit = tuple[RepoRef, str]


@dataclass(frozen=True, slots=True)
class HubListing:
    """What came of asking: the listing, or None when the Hub gave none; and when (seconds since 1970)."""

    files: Listing | None
    asked_at: float


class ListingMemory(Protocol):
    """Where the answers are kept."""

    def hub_listing(self, repo: RepoRef, commit: str) -> HubListing | None: ...

    def keep_hub_listing(self, repo: RepoRef, commit: str, listing: HubListing) -> object: ...

    def hub_gave_nothing_at(self, repo: RepoRef) -> float | None:
        """Return when the Hub was last asked for a listing of the repo in vain."""


class HubListings:
    """Owns what the Hub was asked. `fetch` asks it anonymously, `hub` says when it is left alone; `on_news` is called, on our
    thread, when a listing has come."""

    def __init__(
        self,
        *,
        memory: ListingMemory,
        fetch: Callable[[RepoRef, str], Listing],
        hub: Breaker,
        clock: Callable[[], float],
        on_news: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self._memory, self._fetch, self._hub, self._clock = memory, fetch, hub, clock
        self._on_news, self._stop = on_news, stop
        self._due = threading.Event()
        self._lock = threading.Lock()
        self._wanted: dict[Commit, bool] = {}
        self._known: dict[Commit, HubListing | None] = {}
        self._news: set[Commit] = set()

    def want(self, wanted: Mapping[Commit, bool]) -> None:
        """Say of which commits a listing is needed, and whether the Hub shows their repos without a token."""
        with self._lock:
            self._wanted = dict(wanted)
            self._known = {commit: known for commit, known in self._known.items() if commit in self._wanted}
        self._due.set()

    def take_news(self) -> set[Commit]:
        """Return the commits of which the Hub said something since the last call."""
        with self._lock:
            news, self._news = self._news, set()
            return news

    def of(self, repo: RepoRef, commit: str) -> Listing | None:
        """Return the Hub's listing of a commit, as far as it has given one."""
        known = self._remembered((repo, commit))
        return known.files if known else None

    def ask(self) -> bool:
        """Ask for the next listing that is wanted and due; return whether there was one."""
        with self._lock:
            wanted = sorted(self._wanted.items(), key=lambda item: not item[1])
        for commit, public in wanted:
            if not self._hub.allows() or self._stop.is_set():
                return False
            if self._is_due(commit, public):
                self._ask(commit, public)
                return True
        return False

    def keep(self, repo: RepoRef, commit: str, files: Listing | None) -> None:
        """Remember what the Hub said of a commit: its listing, or (None) nothing. May be called from any thread."""
        listing = HubListing(files, self._clock())
        self._memory.keep_hub_listing(repo, commit, listing)
        with self._lock:
            self._known[repo, commit] = listing
            self._news.add((repo, commit))
        if files is not None:
            log.info("the Hub lists %d files of %s@%s", len(files), repo, commit[:12])
            self._on_news()

    def step(self) -> float:
        """Ask for what is wanted and due; return in how many seconds to look again."""
        self._due.clear()
        while self.ask():
            pass
        return LOOK_EVERY_S

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to ask for, at most so long."""
        self._due.wait(timeout_s)

    def hurry(self) -> None:
        """Look again now: there is something to ask, or to stop for."""
        self._due.set()

    def _is_due(self, commit: Commit, public: bool) -> bool:
        known = self._remembered(commit)
        if known is not None and (known.files is not None or self._is_recent(known.asked_at)):
            return False
        if public:
            return True
        asked_at = self._memory.hub_gave_nothing_at(commit[0])
        return asked_at is None or not self._is_recent(asked_at)

    def _is_recent(self, asked_at: float) -> bool:
        """Whether that was a short while ago; a time from the future, before the clock was set back, counts as old."""
        return 0 <= self._clock() - asked_at < ASK_AGAIN_S

    def _ask(self, commit: Commit, public: bool) -> None:
        repo, revision = commit
        files: Listing | None = None
        answered = True
        try:
            files = self._fetch(repo, revision)
        except (HubNo, HubUnreachable) as error:
            answered = isinstance(error, HubNo) and error.status in ANSWERS
            log.log(logging.INFO if answered else logging.DEBUG, "no listing of %s@%s: %s", repo, revision[:12], error)
            if not answered:
                self._hub.failed(error)
        if answered:
            self._hub.succeeded()
        if answered or not public:  # else it is asked again when the Hub can be
            self.keep(repo, revision, files)

    def _remembered(self, commit: Commit) -> HubListing | None:
        with self._lock:
            if commit in self._known:
                return self._known[commit]
        known = self._memory.hub_listing(*commit)
        with self._lock:
            return self._known.setdefault(commit, known)
