"""What the tracker is told of who may read our repos, so that it knows for which of them the LAN may answer without the Hub.

All of it is said at once, in place of what was said before: when something of it changes, when the tracker is another, and
once in a while. This happens on a thread of its own: of repos that the operator named the Hub is asked here whether it keeps them
from anyone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from llmpt.core.errors import TrackerError, TrackerRefused
from llmpt.core.repo import HubAnswer, RepoRef, Shown
from llmpt.hub.asking import HubNo
from llmpt.hub.visibility import ASK_AGAIN_S
from llmpt_seeder.sharing import Sharing

log = logging.getLogger("llmpt.seeder")

MAX_SAID = 20_000  # repos: the tracker takes so many; of the rest the Hub is asked
NOT_ALL = ("RepoNotFound", "GatedRepo")  # the Hub's own codes: a proxy's 403 says nothing of a repo


@dataclass(frozen=True, slots=True)
class SayingTimings:
    """When it is said, in seconds.

    look_every_s: between two looks at which repos are shared
    judge_every_s: between two looks at what is to be said of them
    again_s: after which all is said again, whatever was
    asking_s: for so long at a time the Hub is asked about named repos
    """

    look_every_s: float = 1.0
    judge_every_s: float = 30.0
    again_s: float = 3600.0
    asking_s: float = 2.0


class Visibilities:
    """Owns what was said. `shared` returns the repos that are shared now; `tell` says it to the tracker, `met` names that one
    (its database and its life), None while there is none. `step` and `wait` are for one thread, the other methods for any."""

    def __init__(
        self,
        sharing: Sharing,
        *,
        shared: Callable[[], Collection[RepoRef]],
        tell: Callable[[Sequence[dict[str, object]]], None],
        met: Callable[[], object | None],
        clock: Callable[[], float],
        timings: SayingTimings = SayingTimings(),
    ) -> None:
        self._sharing, self._shared_now, self._tell, self._met = sharing, shared, tell, met
        self._clock, self._timings = clock, timings
        self._due = threading.Event()
        self._shared: frozenset[RepoRef] = frozenset()
        self._learned: dict[RepoRef, float] = {}  # from upstream, and when: no cache holds any of them yet
        self._said: dict[RepoRef, tuple[Shown, float]] = {}
        self._said_to: object | None = None
        self._said_at = float("-inf")
        self._judged_at = float("-inf")
        self._too_old: object | None = None  # the tracker that does not want to know

    def note(self, repo: RepoRef, answer: HubAnswer) -> None:
        """Remember what upstream said of a repo that was looked up there."""
        if not answer.public and repo not in self._shared and repo not in self._learned:
            return  # names can be made up without end
        self._sharing.note(repo, answer)
        if len(self._learned) >= MAX_SAID:
            self._learned.clear()
        is_news = self._said.get(repo, (None, 0.0))[0] is not (Shown.PUBLIC if answer.public else Shown.RESTRICTED)
        self._learned[repo] = self._clock()
        if is_news:
            self._due.set()

    def note_no(self, repo: RepoRef, no: HubNo) -> None:
        """Remember that upstream refused to look a repo up, if that is what it said."""
        if no.code in NOT_ALL:
            self.note(repo, HubAnswer(False, f"not public on the Hub ({no.code})", self._clock()))

    def step(self) -> float:
        """Ask the Hub what is to be known, and say what changed; return in how many seconds to look again."""
        shared, met, now = frozenset(self._shared_now()), self._met(), self._clock()
        is_due = self._due.is_set() or not 0 <= now - self._judged_at < self._timings.judge_every_s
        self._due.clear()
        if met is None or met == self._too_old or not (is_due or shared != self._shared or met != self._said_to):
            return self._timings.look_every_s
        self._shared, self._judged_at = shared, now
        has_more, words = self._ask_of_named(), self._words(now)
        if words != self._said or met != self._said_to or not 0 <= now - self._said_at < self._timings.again_s:
            self._say(words, met, now)
        if has_more:
            self._judged_at = float("-inf")
        return self._timings.look_every_s

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to say, at most so long."""
        self._due.wait(timeout_s)

    def hurry(self) -> None:
        """Look again now: there is something to say, or to stop for."""
        self._due.set()

    def _ask_of_named(self) -> bool:
        """Ask about named repos that are due; return whether more of them are."""
        began = time.monotonic()
        for repo in self._shared:
            if not self._sharing.ask_of_named(repo):
                return False
            if time.monotonic() - began > self._timings.asking_s:
                return True
        return False

    def _words(self, now: float) -> dict[RepoRef, tuple[Shown, float]]:
        for repo in [repo for repo, at in list(self._learned.items()) if not 0 <= now - at <= ASK_AGAIN_S]:
            self._learned.pop(repo, None)
        words: dict[RepoRef, tuple[Shown, float]] = {}
        for repo in sorted({*self._shared, *list(self._learned), *self._said})[:MAX_SAID]:
            shown = self._sharing.shown(repo)
            is_ours = repo in self._shared or repo in self._learned
            if shown is not None and (is_ours or shown[0] is Shown.RESTRICTED):
                words[repo] = (shown[0], 0.0 if shown[0] is Shown.NAMED else shown[1])
        return words

    def _say(self, words: dict[RepoRef, tuple[Shown, float]], met: object, now: float) -> None:
        rows: list[dict[str, object]] = [
            {
                "repo_type": repo.type,
                "repo_id": repo.id,
                "shown": shown.value,
                "age_s": 0 if shown is Shown.NAMED else max(0, round(now - at)),
            }
            for repo, (shown, at) in words.items()
        ]
        try:
            self._tell(rows)
        except TrackerRefused as error:
            if error.status in (404, 405):
                self._too_old = met
            log.info("the tracker does not hear who may read our repos: %s", error)
            return
        except TrackerError as error:
            log.info("who may read our repos is said later: %s", error)
            return
        self._said, self._said_to, self._said_at = words, met, now
