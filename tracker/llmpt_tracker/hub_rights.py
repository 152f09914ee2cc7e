"""May the holder of a token of the Hub read a repo there? The Hub is asked, with that very token, by the HEAD of a file.

    rights = HubRights(lambda: "https://huggingface.co", wait_s=questions.wait_s)
    rights.check(repo, "hf_…", asker="10.0.0.7")

A token is neither kept nor logged: what is remembered for some minutes is a hash of it and the repo, with a key that this process
made up. Where the Hub does not say, nobody may.
"""

from __future__ import annotations

import hmac
import logging
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.repo import RepoRef
from llmpt.hub.asking import HubNo, HubReply, HubUnreachable, ask
from llmpt_tracker.errors import RefusedAsHub

log = logging.getLogger(__name__)

ANY_FILE = ".gitattributes"  # every repo of the Hub begins with one
MAX_REMEMBERED = 10_000
AT_ONCE = 8  # questions of this process: a slow Hub cannot hold all of our threads
AWAY = Pauses(first_s=1.0, longest_s=30.0)


@dataclass(frozen=True, slots=True)
class RightsTimings:
    """How long the Hub's word counts, in seconds: its yes, its no; and how long it may take."""

    yes_s: float = 300.0
    no_s: float = 60.0
    ask_s: float = 5.0


@dataclass(frozen=True, slots=True)
class _Said:
    until: float
    no: HubNo | None


class HubRights:
    """Asks the Hub at `address`, once for each token and repo in a while, and remembers. Many threads may use it.

    `wait_s` counts a question of an address, and says in how many seconds it may be asked (0: now).
    """

    def __init__(
        self,
        address: Callable[[], str | None],
        *,
        wait_s: Callable[[str], float],
        timings: RightsTimings = RightsTimings(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address, self._wait_s, self._timings, self._clock = address, wait_s, timings, clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._said: OrderedDict[bytes, _Said] = OrderedDict()
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._one_of_each = [threading.Lock() for _ in range(64)]
        self._hub = Breaker(AWAY, clock=clock)

    def check(self, repo: RepoRef, token: str, *, asker: str) -> None:
        """Raise `RefusedAsHub` unless the Hub lets `token` read `repo`: with its own no, or 429 or 503 where it was not asked."""
        name = hmac.digest(self._key, f"{repo.type} {repo.id} {token}".encode(), "sha256")
        word = self._known(name)
        if word is None:
            with self._one_of_each[name[0] % len(self._one_of_each)]:  # who asks the same meanwhile hears the answer to the first
                word = self._known(name) or self._ask(name, repo, token, asker)
        if word.no is not None:
            raise RefusedAsHub(word.no.status, word.no.code, word.no.message)

    def _known(self, name: bytes) -> _Said | None:
        with self._lock:
            word = self._said.get(name)
        return word if word is not None and self._clock() < word.until else None

    def _ask(self, name: bytes, repo: RepoRef, token: str, asker: str) -> _Said:
        address = self._address()
        if address is None or not self._hub.allows():
            raise _not_said(repo)
        if (wait_s := self._wait_s(asker)) > 0:
            words = "this machine has asked for much: try again in a moment"
            raise RefusedAsHub(429, "", words, retry_after_s=math.ceil(wait_s))
        if not self._turns.acquire(blocking=False):
            raise _not_said(repo)
        try:
            no = self._answer(address, repo, token)
        except HubUnreachable as error:
            self._hub.failed(error)
            log.warning("whether a token of the Hub is good for a repo is not known: %s", error)
            raise _not_said(repo) from None
        finally:
            self._turns.release()
        self._hub.succeeded()
        word = _Said(self._clock() + (self._timings.yes_s if no is None else self._timings.no_s), no)
        with self._lock:
            self._said[name] = word
            while len(self._said) > MAX_REMEMBERED:
                self._said.popitem(last=False)
        return word

    def _answer(self, address: str, repo: RepoRef, token: str) -> HubNo | None:
        """Return the Hub's no; None: it is a yes, also where such a file is not there. Raises `HubUnreachable`."""
        url = address.rstrip("/") + repo.file_route("main", ANY_FILE)
        try:
            reply: HubReply = ask(url, token=token, method="HEAD", head_s=self._timings.ask_s)
        except HubNo as no:
            if no.code == "EntryNotFound":
                return None
            if no.status in (401, 403, 404):
                return no
            raise HubUnreachable(f"{url} answered {no.status}") from None
        if reply.is_a_trackers or reply.headers.get("X-Repo-Commit") is None:
            raise HubUnreachable(f"{url}: not the Hub's answer")
        return None


def _not_said(repo: RepoRef) -> RefusedAsHub:
    return RefusedAsHub(503, "", f"the Hub does not say now whether your token is good for {repo}: try again", retry_after_s=5)
