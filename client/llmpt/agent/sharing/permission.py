"""May a blob that nobody of the LAN has be fetched here for everybody?

Only what the Hub shows to anybody: the library's own question went out without a token, or the Hub is asked as nobody, once
per repo, and the answer remembered for a day. No question about any other repo goes to the tracker, but for the look-up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from llmpt.agent.sharing.right import Sharing
from llmpt.core.repo import HubAnswer, RepoRef
from llmpt.disk.inventory import Inventory
from llmpt.host.mounts import Mounts
from llmpt.hub.visibility import ASK_AGAIN_S, BACK_OFF_S, HubUnreachable, ask_hub
from llmpt.link.requests import FetchRequest

log = logging.getLogger("llmpt.agent")

PATIENCE_S = 2.0


class Publicity:
    """What Hubs say of repos, remembered in `inventory`. `ask` is `ask_hub`; `clock` returns Unix time."""

    def __init__(
        self,
        inventory: Inventory,
        *,
        ask: Callable[[str, RepoRef], tuple[bool, str]] = ask_hub,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inventory, self._ask, self._clock = inventory, ask, clock
        self._lock = threading.Lock()
        self._asking: dict[tuple[str, RepoRef], threading.Event] = {}
        self._quiet_until: dict[str, float] = {}

    def why_not(self, endpoint: str, repo: RepoRef) -> str:
        """Say why `repo` is not public on the Hub at `endpoint`; nothing when it is.

        Waits `PATIENCE_S` for the Hub at most; an answer that comes later is there for the next file.
        """
        known = self._known(endpoint, repo)
        if known is None and self._clock() >= self._quiet_until.get(endpoint, 0.0):
            self._asked(endpoint, repo).wait(PATIENCE_S)
            known = self._known(endpoint, repo)
        if known is None:
            return "the Hub has not said whether it is public"
        return "" if known.public else known.reason

    def _known(self, endpoint: str, repo: RepoRef) -> HubAnswer | None:
        answer = self._inventory.hub_answer(repo, endpoint=endpoint)
        return answer if answer is not None and 0 <= self._clock() - answer.asked_at < ASK_AGAIN_S else None

    def _asked(self, endpoint: str, repo: RepoRef) -> threading.Event:
        """Have the Hub asked, if nobody does already; return what is set when it has answered or will not."""
        with self._lock:
            answered = self._asking.get((endpoint, repo))
            if answered is None:
                answered = self._asking[endpoint, repo] = threading.Event()
                threading.Thread(target=self._ask_now, args=(endpoint, repo, answered), name="ask-hub", daemon=True).start()
        return answered

    def _ask_now(self, endpoint: str, repo: RepoRef, answered: threading.Event) -> None:
        try:
            public, reason = self._ask(endpoint, repo)
            self._inventory.keep_hub_answer(repo, HubAnswer(public, reason, self._clock()), endpoint=endpoint)
            log.info("%s: %s", repo, reason)
        except HubUnreachable as error:
            log.info("%s is not shared: %s", repo, error)
            self._quiet_until[endpoint] = self._clock() + BACK_OFF_S[0]
        finally:
            with self._lock:
                del self._asking[endpoint, repo]
            answered.set()


class Permission:
    """The rule for one machine. `tracker` is its URL: what a Hub-compatible endpoint of its own shows is on the LAN already."""

    def __init__(
        self,
        sharing: Sharing,
        publicity: Publicity,
        *,
        tracker: str,
        min_blob_bytes: int,
        mounts: Callable[[], Mounts] = Mounts.read,
    ) -> None:
        self._sharing, self._publicity, self._mounts = sharing, publicity, mounts
        self._tracker = _place(tracker)
        self._min_blob_bytes = min_blob_bytes

    def why_not(self, request: FetchRequest) -> str:
        """Say why what `request` wants is not fetched for everybody; nothing when it may be."""
        if request.stem is None:
            return "this download cannot be watched"
        if request.size < self._min_blob_bytes:
            return "it is too small"
        if self._sharing.why_not:
            return self._sharing.why_not
        if (kind := self._mounts().network_kind(request.destination)) is not None:
            return f"it will lie on a network's file system ({kind})"
        if request.repo is None:
            return "its repo has no name that the Hub could have given"
        if request.anonymous or (request.endpoint and _place(request.endpoint) == self._tracker):
            return ""
        if urlsplit(request.endpoint).scheme not in ("http", "https"):
            return "its Hub is not known"
        return self._publicity.why_not(request.endpoint.rstrip("/"), request.repo)


def _place(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None, None
