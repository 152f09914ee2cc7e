"""May a blob that no machine of the LAN has be fetched here for all?

Only what the Hub shows without a token: the library's own question went out without a token, or the Hub is asked without
one, once per repo, and the answer remembered for a day. No question about any other repo goes to the tracker, but the
look-up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from llmpt.agent.sharing.right import Sharing
from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import StateUnavailable
from llmpt.core.repo import HubAnswer, RepoRef
from llmpt.disk.inventory import Inventory
from llmpt.host.mounts import Mounts
from llmpt.hub.asking import HubUnreachable
from llmpt.hub.visibility import ASK_AGAIN_S, ask_hub
from llmpt.link.requests import FetchRequest

log = logging.getLogger("llmpt.agent")

QUIET = Pauses(first_s=1.0, longest_s=30.0)


@dataclass(frozen=True, slots=True)
class PublicityTimings:
    """How long the Hub is waited for.

    patience_s: by one download
    limit_s: in all, until the question counts as not answered
    """

    patience_s: float = 2.0
    limit_s: float = 15.0


class _Question:
    """One that is under way: `answered` is set when the Hub has answered, or will not."""

    def __init__(self) -> None:
        self.asked_at = time.monotonic()
        self.answered = threading.Event()


class Publicity:
    """What Hubs say of repos, remembered in `inventory`. `ask` is `ask_hub`; `clock` returns Unix time."""

    def __init__(
        self,
        inventory: Inventory,
        *,
        ask: Callable[[str, RepoRef], tuple[bool, str]] = ask_hub,
        timings: PublicityTimings = PublicityTimings(),
        clock: Callable[[], float] = time.time,
        breaker: Callable[[], Breaker] = lambda: Breaker(QUIET),
    ) -> None:
        """`breaker` makes one, for each Hub."""
        self._inventory, self._ask, self._timings = inventory, ask, timings
        self._clock, self._breaker = clock, breaker
        self._lock = threading.Lock()
        self._asking: dict[tuple[str, RepoRef], _Question] = {}
        self._hubs: dict[str, Breaker] = {}

    def why_not(self, endpoint: str, repo: RepoRef) -> str:
        """Say why `repo` is not public on the Hub at `endpoint`; nothing when it is.

        Waits `patience_s` for the Hub at most; an answer that comes later is there for the next file.
        """
        known = self._known(endpoint, repo)
        if known is None and self._hub(endpoint).allows():
            question = self._asked(endpoint, repo)
            left_s = question.asked_at + self._timings.limit_s - time.monotonic()
            if not question.answered.wait(min(self._timings.patience_s, max(left_s, 0))) and left_s <= 0:
                self._hub(endpoint).failed(HubUnreachable("no answer in time"))
                self._over(endpoint, repo, question)
            known = self._known(endpoint, repo)
        if known is None:
            return "the Hub has not said whether it is public"
        return "" if known.public else known.reason

    def _hub(self, endpoint: str) -> Breaker:
        with self._lock:
            if endpoint not in self._hubs:
                self._hubs[endpoint] = self._breaker()
            return self._hubs[endpoint]

    def _known(self, endpoint: str, repo: RepoRef) -> HubAnswer | None:
        answer = self._inventory.hub_answer(repo, endpoint=endpoint)
        return answer if answer is not None and 0 <= self._clock() - answer.asked_at < ASK_AGAIN_S else None

    def _asked(self, endpoint: str, repo: RepoRef) -> _Question:
        """Have the Hub asked, on a thread of its own, unless that is under way already; return the question."""
        with self._lock:
            question = self._asking.get((endpoint, repo))
            if question is None:
                question = self._asking[endpoint, repo] = _Question()
                threading.Thread(target=self._ask_now, args=(endpoint, repo, question), name="ask-hub", daemon=True).start()
        return question

    def _ask_now(self, endpoint: str, repo: RepoRef, question: _Question) -> None:
        try:
            public, reason = self._ask(endpoint, repo)
            self._hub(endpoint).succeeded()
            self._inventory.keep_hub_answer(repo, HubAnswer(public, reason, self._clock()), endpoint=endpoint)
            log.info("%s: %s", repo, reason)
        except HubUnreachable as error:
            self._hub(endpoint).failed(error)
            log.info("%s is not shared: %s", repo, error)
        except StateUnavailable as error:
            log.warning("%s is not shared: what the Hub said is not kept: %s", repo, error)
        finally:
            self._over(endpoint, repo, question)
            question.answered.set()

    def _over(self, endpoint: str, repo: RepoRef, question: _Question) -> None:
        with self._lock:
            if self._asking.get((endpoint, repo)) is question:
                del self._asking[endpoint, repo]


class Permission:
    """The rule for one machine. `tracker` is its URL: what a Hub-compatible endpoint of its own shows is on the LAN already."""

    def __init__(
        self,
        sharing: Sharing,
        publicity: Publicity,
        *,
        tracker: str,
        min_blob_bytes: Callable[[], int],
        mounts: Callable[[], Mounts] = Mounts.read,
    ) -> None:
        self._sharing, self._publicity, self._mounts = sharing, publicity, mounts
        self._tracker = place_of(tracker)
        self._min_blob_bytes = min_blob_bytes

    def why_not(self, request: FetchRequest) -> str:
        """Say why what `request` wants is not fetched for all; nothing when it may be."""
        if request.stem is None:
            return "this download cannot be watched"
        if request.size < self._min_blob_bytes():
            return "it is too small"
        if self._sharing.why_not:
            return self._sharing.why_not
        if (kind := self._mounts().network_kind(request.destination)) is not None:
            return f"it will lie on a network's file system ({kind})"
        if request.repo is None:
            return "its repo has no name that the Hub could have given"
        if request.anonymous or (request.endpoint and place_of(request.endpoint) == self._tracker):
            return ""
        if urlsplit(request.endpoint).scheme not in ("http", "https"):
            return "its Hub is not known"
        return self._publicity.why_not(request.endpoint.rstrip("/"), request.repo)


def place_of(url: str) -> tuple[str | None, int | None]:
    """Return host and port of a URL: two of the same place are the same server."""
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None, None
