"""May this machine share what it fetches? The tracker says so by giving it a token, at first contact.

A refusal holds for a while (`Breaker`). It is said once in the log and, as long as it holds, in `llmpt status` and
`llmpt doctor`.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from llmpt.agent.sharing import share_token
from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import TrackerError, TrackerRefused, TrackerUnavailable
from llmpt.tracker.client import TrackerClient

log = logging.getLogger("llmpt.agent")
T = TypeVar("T")

QUIET = Pauses(first_s=60.0, longest_s=600.0)

_WORDS = {
    "sharing_off": "the tracker lets no machine share (LLMPT_SHARING=off)",
    "code_needed": "the tracker wants an invitation: `llmpt join URL --code CODE`",
    "code_wrong": "the tracker does not know the invitation, or it is used up",
}


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why the tracker refused, in our words; `token` is the one that lay there when it did."""

    error: TrackerRefused
    words: str
    token: str | None


class Sharing:
    """One machine's right to share by one tracker; safe to share among threads. The token lies at `file`."""

    def __init__(
        self,
        tracker: str,
        file: Path,
        *,
        client: Callable[[str | None], TrackerClient] | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        """`client` makes a client of the tracker with a token; `breaker` (default: `QUIET`) keeps from asking it in vain."""
        self._file = file
        self._breaker = breaker or Breaker(QUIET)
        self._client = client or (lambda token: TrackerClient(tracker, token=token))
        self._lock = threading.Lock()
        self._with_token: TrackerClient | None = None
        self._refusal: _Refusal | None = None
        self._said = ""

    @property
    def why_not(self) -> str:
        """Why this machine shares nothing now; empty when it may, or is to ask (again)."""
        refusal = self._refusal
        return refusal.words if refusal is not None and self._holds(refusal) else ""

    def _holds(self, refusal: _Refusal) -> bool:
        """Whether it is too early to ask again; a token that `llmpt join --code` has put there meanwhile changes that."""
        return not self._breaker.allows() and share_token.read(self._file) in (None, refusal.token)

    def call(self, ask: Callable[[TrackerClient], T]) -> T:
        """Have `ask` ask the tracker with this machine's token; a token that is no longer known is replaced, once.

        Raises `TrackerRefused` (at once while a refusal to share holds) and `TrackerUnavailable`.
        """
        client = self._authorized()
        try:
            return self._allowed(ask(client))
        except TrackerRefused as error:
            if error.status == 403:
                self._refused(error)
            if error.status != 401:
                raise
        try:
            return self._allowed(ask(self._authorized(instead_of=client)))
        except TrackerRefused as error:
            if error.status == 401:
                self._refused(error)
            raise

    def prepare(self) -> None:
        """Get the token now, so that no download waits for it later; never raises for what a network does."""
        try:
            self._authorized()
        except TrackerError as error:
            log.debug("no token to share with yet: %s", error)

    def _authorized(self, *, instead_of: TrackerClient | None = None) -> TrackerClient:
        with self._lock:
            if self._with_token is not None and self._with_token is not instead_of:
                return self._with_token
            if self._refusal is not None and self._holds(self._refusal):
                raise self._refusal.error
            token = None if instead_of is not None else share_token.read(self._file)
            self._with_token = self._client(token or self._new_token())
            return self._with_token

    def _allowed(self, answer: T) -> T:
        if self._refusal is not None:
            with self._lock:
                self._breaker.succeeded()
                self._refusal, self._said = None, ""
        return answer

    def _new_token(self) -> str:
        self._with_token = None
        try:
            token = self._client(None).share_token(socket.gethostname()[:64])
        except TrackerRefused as error:
            self._note(error)
            raise
        if not token:
            raise TrackerUnavailable("the tracker gave no token to share with")
        try:
            share_token.write(self._file, token)
        except OSError as error:
            log.warning("the token to share with is not kept, %s: %s", self._file, error.strerror)
        log.info("this machine may share what it fetches")
        return token

    def _refused(self, error: TrackerRefused) -> None:
        with self._lock:
            self._with_token = None
            self._note(error)

    def _note(self, error: TrackerRefused) -> None:
        """Let a refusal hold for a while, and say it when it is news."""
        self._breaker.failed(error, retry_after_s=error.retry_after_s if error.status == 429 else None)
        missing = error.status in (404, 405)
        words = "the tracker is too old for it" if missing else _WORDS.get(error.code, str(error))
        self._refusal = _Refusal(error, words, share_token.read(self._file))
        if words != self._said:
            log.info("this machine does not share what it fetches: %s", words)
        self._said = words
