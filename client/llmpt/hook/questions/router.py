"""Who answers a question of huggingface_hub: the LAN where that is exact, else the Hub, and the LAN again where the Hub fails.

* A commit that the LAN knows completely, of a repo for which it may answer, is never asked of the Hub: it cannot change.
* A ref is asked of the Hub once, by the server for all or by the first question here; what is asked about it in the next
  seconds is answered from the commit that it named then.
* Where the Hub fails (no connection, a time-out, 429, 5xx), the last known answer is used and said, and the Hub is left alone
  for a while. A 401, 403 or 404 is an answer of the Hub's, and stands.

Whatever goes wrong on our side is a question to the Hub, as it was without us.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import InvalidName, LlmptError, TrackerError
from llmpt.core.hub_headers import OTHER_HUB
from llmpt.core.repo import Commit, RepoPath, RepoRef
from llmpt.hook.call import Call, Proof, current
from llmpt.hook.questions import replies
from llmpt.hook.questions.heard import Heard, is_of_the_lans_word, otherwise
from llmpt.hook.questions.knowledge import REF_S, Knowledge, Known
from llmpt.hook.questions.question import Question
from llmpt.hook.questions.sources import Sources
from llmpt.hook.questions.turns import Turns
from llmpt.tracker.blobs import NotOverHttp
from llmpt.tracker.catalogue import File
from llmpt.tracker.endpoint import EndpointReply

log = logging.getLogger("llmpt")

T = TypeVar("T")
HUB_QUIET = Pauses(first_s=30.0, longest_s=300.0)
MOST_FIXED = 1000


def _at_once(step: Callable[[], T]) -> T | None:
    return step()


class Router:
    """Answers from `sources`.

    `say` is told what a user should read; `wait` does a step that waits for the network; `clock` returns seconds.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        say: Callable[[str], None],
        wait: Callable[[Callable[[], Any]], Any] = _at_once,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources, self._say, self._wait, self._clock = sources, say, wait, clock
        self._knowledge = Knowledge(sources.manifests, silence=sources.silence, clock=clock)
        self._hub = Breaker(HUB_QUIET, clock=clock)
        self._fixed: dict[tuple[RepoRef, str], tuple[str, float]] = {}
        self._said: frozenset[RepoRef] = frozenset()
        self._doubted: frozenset[RepoRef] = frozenset()
        self.turns = Turns()

    @property
    def is_only(self) -> bool:
        """Whether the LAN is the only source: the Hub is not asked."""
        return self._sources.is_only

    def answer(self, question: Question) -> EndpointReply | None:
        """Return the LAN's answer, before the Hub is asked; None: the Hub is to be asked, unless the LAN `is_only`."""
        if self.is_only:
            return self._from_lan(question, any_age=True) or self._otherwise(question)
        if self._sources.bridges and not self._hub.allows():
            return self._from_lan(question, any_age=True)
        return self._from_lan(question) if question.follows_from_commit else None

    def asks_for_commit(self, question: Question) -> tuple[RepoRef, str] | None:
        """Return the ref of which the Hub's answer will say the commit, for all questions of the next seconds; None: of none.

        One at a time should ask the Hub about it.
        """
        repo = question.repo
        if repo is None or question.commit is not None or not (question.is_of_file or question.target.route == "info"):
            return None
        known = self._last_known(repo, question.revision)
        return (repo, question.revision) if known is not None and known.answers else None

    def stands_in(self, question: Question) -> bool:
        """Whether the LAN will answer, as far as that is known, if the Hub does not."""
        repo = question.repo
        if repo is None or not self._sources.bridges or not (question.is_of_file or question.is_listing):
            return False
        commit = question.commit or self._commit_of(repo, question.revision)
        known = self._of_commit(repo, commit) if commit else self._last_known(repo, question.revision)
        return known is not None and known.answers

    def heard(self, question: Question, heard: Heard) -> None:
        """Note an answer of the Hub's that is none of a failure."""
        self._hub.succeeded()
        self._said = frozenset()
        repo = question.repo
        if repo is None or heard.commit is None or question.commit is not None or question.target.route == "refs":
            return
        try:
            self._fix(repo, question.revision, Commit(heard.commit).value)
        except LlmptError as error:
            log.debug("%s@%s: %s", repo, question.revision, error)

    def doubt(self, question: Question, heard: Heard) -> str | None:
        """Say how the file that the Hub begins to give is another one than the LAN has said; None: it is not, so far as it says.

        Where the ref has moved meanwhile nobody is wrong, and it is to be asked for anew. Else the LAN is not believed any more.
        """
        call, repo = current.get(), question.repo
        if call is None or repo is None or not is_of_the_lans_word(call, question, heard):
            return None
        if heard.commit is not None and heard.commit != call.commit and question.commit is None:
            return f"{repo}@{question.revision} has moved from {call.commit[:12]} to {heard.commit[:12]}"
        theirs = otherwise(call, heard)
        call.proof = Proof.AT_THE_MOVE if theirs is None and heard.etag is None else Proof.NONE
        return None if theirs is None else self._disagree(call, repo, theirs)

    def unlike(self, call: Call) -> str:
        """Say that a file of the Hub's is not what the LAN has said of it. That of a branch may be another one by now."""
        repo, theirs = RepoRef(call.repo_type, call.repo_id), "and the Hub gives something else"
        if call.commit == call.revision:
            return self._disagree(call, repo, theirs)
        self._doubted |= {repo}
        return f"{call.filename} of {call.commit[:12]} is {call.etag}, for the LAN, {theirs} at {call.revision}"

    def _disagree(self, call: Call, repo: RepoRef, theirs: str) -> str:
        words = f"{call.filename} of {call.commit[:12]} is {call.etag}, {call.size} bytes, for the LAN, {theirs}"
        self._doubted |= {repo}
        self._sources.doubt(repo, call.commit, call.filename, words)
        self._say(f"llmpt: the LAN's answers for {repo} are not used any more on this machine: {words}")
        return words

    def instead(
        self, question: Question, reason: str, *, cost_s: float, retry_after_s: float | None = None
    ) -> EndpointReply | None:
        """Return the LAN's last known answer where the Hub has failed, for the reason given; None: the failure stands."""
        self._hub.failed(LlmptError(reason), retry_after_s=retry_after_s, cost_s=cost_s)
        return self._from_lan(question, any_age=True) if self._sources.bridges else None

    def _from_lan(self, question: Question, *, any_age: bool = False) -> EndpointReply | None:
        repo = question.repo
        if repo is None or repo in self._doubted or not (question.is_of_file or question.is_listing):
            return None
        commit, age = question.commit or self._commit_of(repo, question.revision), ""
        if commit is None:
            named = self._last_known(repo, question.revision)
            if named is None or not named.answers or not (named.manifest.fresh or any_age):
                return None
            commit = named.commit
            self._fix(repo, question.revision, commit)
            if not named.manifest.fresh:
                age = _age(named.manifest.ref_age_s)
        known = self._of_commit(repo, commit)
        if known is None or not known.answers:
            return None
        reply = self._of_file(question, known) if question.is_of_file else self._listing(question, commit)
        if reply is not None and any_age and question.commit is None and not self.is_only:
            self._say_once(repo, age)
        return reply

    def _otherwise(self, question: Question) -> EndpointReply | None:
        """Return what the tracker's endpoint has, where there is no other source; of a file that is downloaded only what was held
        against its etag. What the hook is to hold against it itself may come in any way."""
        call = current.get()
        if call is None or call.proof is Proof.AS_IT_COMES or question.method != "GET" or not question.is_of_file:
            return self._ask_endpoint(question, question.raw)
        try:
            path = RepoPath(question.target.path)
        except InvalidName:
            return None
        return None if call.etag is None else self._small(question, call.commit, File(path, call.size, call.etag))

    def _last_known(self, repo: RepoRef, name: str) -> Known | None:
        if self._knowledge.at_hand(repo, name):
            return self._knowledge.of_name(repo, name)
        found: Known | None = self._wait(lambda: self._knowledge.of_name(repo, name))
        return found

    def _of_commit(self, repo: RepoRef, commit: str) -> Known | None:
        if self._knowledge.at_hand(repo, commit):
            return self._knowledge.of_commit(repo, commit)
        found: Known | None = self._wait(lambda: self._knowledge.of_commit(repo, commit))
        return found

    def _of_file(self, question: Question, known: Known) -> EndpointReply | None:
        file = known.files.get(question.target.path)
        if file is None:
            return replies.absent(known.commit, question)
        if question.method == "HEAD":
            return replies.described(known.commit, file)
        if file.size_bytes >= max(1, self._sources.small_bytes):
            return self._streamed(question, known.commit, file)
        return self._small(question, known.commit, file)

    def _small(self, question: Question, commit: str, file: File) -> EndpointReply | None:
        """Return the content of a small file, verified."""
        content: bytes | None = b""
        if file.size_bytes:
            content = self._wait(lambda: self._content(file.etag, file.size_bytes))
        return None if content is None else replies.given(commit, file, content, question)

    def _streamed(self, question: Question, commit: str, file: File) -> EndpointReply | None:
        """Return what a program reads of a larger file; a download has ways of its own, which verify the whole."""
        streams, span = self._sources.streams, replies.wanted(file, question)
        if streams is None or current.get() is not None:
            return None
        if span is None:
            return replies.refused(commit, file)
        try:
            rest = self._wait(lambda: streams.part(file.etag, file.size_bytes, span.start, span.stop))
        except NotOverHttp as error:
            log.debug("%s: not from the LAN: %s", file.etag, error)
            return None
        return replies.headed(commit, file, question, span, rest=rest)

    def _content(self, etag: Etag, size: int) -> bytes | None:
        try:
            return self._sources.blobs.read(etag, size)
        except NotOverHttp as error:
            log.debug("%s: not from the LAN: %s", etag, error)
            return None

    def _listing(self, question: Question, commit: str) -> EndpointReply | None:
        reply = self._ask_endpoint(question, question.at(commit))
        if reply is None:
            return None
        is_no_folder = reply.status == 404 and reply.header("X-Error-Code") == "EntryNotFound"
        return reply if reply.status == 200 or is_no_folder else None

    def _ask_endpoint(self, question: Question, target: str) -> EndpointReply | None:
        ask = self._sources.endpoint.ask
        body = question.body() if question.method == "POST" else b""

        def step() -> EndpointReply | None:
            if not self._knowledge.may_ask():
                return None
            asked_at = self._clock()
            try:
                return ask(
                    question.method,
                    target,
                    program=question.program,
                    part=question.part,
                    body=body,
                    kind=question.content_type,
                )
            except TrackerError as error:
                log.debug("%s: not from the LAN: %s", target, error)
                self._knowledge.failed(error, cost_s=self._clock() - asked_at)
                return None

        found: EndpointReply | None = self._wait(step)
        return None if found is None or found.status == OTHER_HUB else found

    def _commit_of(self, repo: RepoRef, name: str) -> str | None:
        commit, until = self._fixed.get((repo, name), ("", 0.0))
        return commit if until > self._clock() else None

    def _fix(self, repo: RepoRef, name: str, commit: str) -> None:
        now = self._clock()
        fixed = (
            {key: entry for key, entry in self._fixed.items() if entry[1] > now} if len(self._fixed) > MOST_FIXED else self._fixed
        )
        self._fixed = {**fixed, (repo, name): (commit, now + REF_S)}

    def _say_once(self, repo: RepoRef, age: str) -> None:
        if repo not in self._said:
            self._said |= {repo}
            self._say(f"llmpt: the Hub does not answer ({self._hub.why or 'no connection'}); {repo}{age} from the LAN")


def _age(seconds: int | None) -> str:
    """Write how old an answer is."""
    if seconds is None:
        return ""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (seconds >= length and unit != "days"):
            return f" as of {seconds // length} {unit} ago,"
    return f" as of {seconds} s ago,"
