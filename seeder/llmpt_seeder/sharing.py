"""May this repo be shared?

Yes when the operator names it in LLMPT_REPOS, or when the Hub shows it to an anonymous caller; `!` excludes whatever else
says yes. The Hub is asked once a day per repo, without any token, and its answer is remembered: what is public no longer is
shared no longer. While the Hub is silent its last answer counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from llmpt.core.breaker import Breaker
from llmpt.core.patterns import RepoPatterns
from llmpt.core.repo import HubAnswer, RepoRef, Shown
from llmpt.hub.asking import HubUnreachable
from llmpt.hub.visibility import ASK_AGAIN_S, HUB_PAUSES

AGAIN_EVERY_S = 0.2  # between two questions about repos that were public


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a repo is shared, and the reason in words fit for the operator; `public`: the Hub shows it without a token."""

    shared: bool
    reason: str
    public: bool = False


class AnswerMemory(Protocol):
    """Where the Hub's answers are kept."""

    def hub_answer(self, repo: RepoRef) -> HubAnswer | None: ...

    def keep_hub_answer(self, repo: RepoRef, answer: HubAnswer) -> None: ...


class Sharing:
    """The rule, with its patterns, its memory and its way to ask (`ask` raises `HubUnreachable`); `hub` is left alone when it
    cannot be reached."""

    def __init__(
        self,
        patterns: tuple[str, ...],
        *,
        memory: AnswerMemory,
        ask: Callable[[RepoRef], tuple[bool, str]],
        clock: Callable[[], float],
        hub: Breaker | None = None,
    ) -> None:
        self._patterns = RepoPatterns.of(patterns)
        self._memory, self._ask, self._clock = memory, ask, clock
        self._told: dict[RepoRef, HubAnswer] = {}  # by the Hub in this life: the memory may be full
        self._hub = hub or Breaker(HUB_PAUSES, clock=clock)
        self._again_at = float("-inf")  # that many repos are due at once costs no scan its time

    def exclusion(self, repo: RepoRef) -> str | None:
        """Say in words by which pattern a repo is excluded, whatever else speaks for it; None when by none."""
        pattern = self._patterns.excluding(repo)  # taken widely: any spelling of the name
        return None if pattern is None else f"excluded by LLMPT_REPOS (!{pattern})"

    def verdict(self, repo: RepoRef) -> Verdict:
        """Judge one repo; ask the Hub when nothing else answers and it was not silent a short while ago."""
        if (excluded := self.exclusion(repo)) is not None:
            return Verdict(False, excluded)
        if (pattern := self._patterns.naming(repo)) is not None:
            return Verdict(True, f"named by LLMPT_REPOS ({pattern})")
        now = self._clock()
        known = self._known(repo)
        if known is None or not self._is_recent(known):
            known = self._asked_anew(repo, now, known) or known
        if known is None:
            return Verdict(
                False, f"the Hub could not be asked whether it is public; to share it anyway name {repo} in LLMPT_REPOS"
            )
        return Verdict(known.public, known.reason, known.public)

    def shown(self, repo: RepoRef) -> tuple[Shown, float] | None:
        """Say to whom a repo is shown, and when that was known, without asking the Hub; None: nothing is to be said of it."""
        if self.exclusion(repo) is not None:
            return None
        known = self._known(repo)
        if known is not None and not known.public:
            return Shown.RESTRICTED, known.asked_at
        if self._patterns.naming(repo) is not None:
            return Shown.NAMED, self._clock()
        return None if known is None else (Shown.PUBLIC, known.asked_at)

    def ask_of_named(self, repo: RepoRef) -> bool:
        """Ask the Hub about a repo that is shared because it was named, once a day; return False when the Hub is left alone."""
        known = self._known(repo)
        if self._patterns.naming(repo) is None or (known is not None and self._is_recent(known)):
            return True
        return self._asked(repo, self._clock()) is not None

    def note(self, repo: RepoRef, answer: HubAnswer) -> None:
        """Remember what the Hub said of a repo when it was asked for something else. May be called from any thread."""
        self._told[repo] = answer
        self._memory.keep_hub_answer(repo, answer)

    def _known(self, repo: RepoRef) -> HubAnswer | None:
        return self._told.get(repo) or self._memory.hub_answer(repo)

    def _is_recent(self, known: HubAnswer) -> bool:
        return 0 <= self._clock() - known.asked_at <= ASK_AGAIN_S

    def _asked_anew(self, repo: RepoRef, now: float, known: HubAnswer | None) -> HubAnswer | None:
        """Ask the Hub; of repos that were public a day ago one after the other, and while it is silent that counts."""
        if known is not None and known.public:
            if abs(now - self._again_at) < AGAIN_EVERY_S:
                return None
            self._again_at = now
        return self._asked(repo, now)

    def _asked(self, repo: RepoRef, now: float) -> HubAnswer | None:
        if not self._hub.allows():
            return None
        try:
            public, reason = self._ask(repo)
        except HubUnreachable as error:
            self._hub.failed(error)
            return None
        self._hub.succeeded()
        answer = HubAnswer(public, reason, now)
        self.note(repo, answer)
        return answer
