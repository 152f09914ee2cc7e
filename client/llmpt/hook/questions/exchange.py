"""One question's way: to the LAN, to the Hub, and to the LAN again where the Hub has failed. It fails open at each step."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from llmpt.core.errors import LlmptError
from llmpt.hook.call import HubDisagrees
from llmpt.hook.questions.heard import Heard
from llmpt.hook.questions.question import Question
from llmpt.hook.questions.router import Router
from llmpt.hook.steps import guarded
from llmpt.tracker.endpoint import EndpointReply

R = TypeVar("R")
Note = Callable[[EndpointReply | None, bool], None]

TURN_S = 30.0  # for the one that asks the Hub where a ref points; it waits no longer itself, as a rule


class NoAnswer(LlmptError):
    """The LAN does not answer, and the Hub may not be asked."""


class HubSide(Protocol[R]):
    """The library's own way to the Hub, with its answers and its errors."""

    def ask(self, *, bounded: bool) -> R:
        """Ask the Hub as ever; raise what that raises. `bounded`: what the library would wait for without end is waited for
        for as long as its other questions."""
        ...

    def heard(self, answer: R) -> Heard:
        """Return what matters of an answer."""
        ...

    def failure(self, error: Exception) -> str | None:
        """Say in a word or two how the Hub has failed; None: it is another kind of error."""
        ...

    def drop(self, answer: R) -> None:
        """Let go of an answer that no one will read."""
        ...


def exchange(router: Router, question: Question, hub: HubSide[R], note: Note) -> EndpointReply | R:
    """Return the LAN's answer or the Hub's.

    Raises `NoAnswer` and `HubDisagrees`. `note` is told of the LAN's, and whether the Hub was asked before; of None when the
    Hub is asked.
    """
    reply = guarded(router.answer, question)
    if reply is not None:
        guarded(note, reply, False)
        return reply
    if router.is_only:
        raise NoAnswer(f"the LAN has no answer to {question.method} {question.raw}, and LLMPT_HUB=never leaves no other source")
    ref = guarded(router.asks_for_commit, question)
    if ref is None:
        return _asked(router, question, hub, note)
    with router.turns.take(ref, wait_s=TURN_S):
        reply = guarded(router.answer, question)
        if reply is not None:
            guarded(note, reply, False)
            return reply
        return _asked(router, question, hub, note)


def _asked(router: Router, question: Question, hub: HubSide[R], note: Note) -> EndpointReply | R:
    guarded(note, None, True)
    started = time.monotonic()
    try:
        answer = hub.ask(bounded=bool(guarded(router.stands_in, question)))
    except Exception as error:
        reason = guarded(hub.failure, error)
        reply = None if reason is None else _instead(router, question, reason, time.monotonic() - started)
        if reply is None:
            raise
        guarded(note, reply, True)
        return reply
    heard = guarded(hub.heard, answer)
    if heard is None:
        return answer
    if not heard.is_failure:
        guarded(router.heard, question, heard)
        if (words := guarded(router.doubt, question, heard)) is not None:
            guarded(hub.drop, answer)
            raise HubDisagrees(words)
        return answer
    reply = _instead(router, question, str(heard.status), time.monotonic() - started, heard.retry_after_s)
    if reply is None:
        return answer
    guarded(hub.drop, answer)
    guarded(note, reply, True)
    return reply


def _instead(
    router: Router, question: Question, reason: str, cost_s: float, retry_after_s: float | None = None
) -> EndpointReply | None:
    return guarded(functools.partial(router.instead, question, reason, cost_s=cost_s, retry_after_s=retry_after_s))
