"""The leases of this machine: what it waits for, what it fetches for all, and who else fetches what.

One thread asks the tracker for the whole machine: at once for what is newly wanted, then every `poll_s` of the tracker's
for as long as there is something to say. What comes while an answer is under way goes into the next question, so eight
files wanted together cost two questions.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerRefused, TrackerSlow, TrackerUnavailable
from llmpt.core.repo import RepoRef

log = logging.getLogger("llmpt.agent")

FETCH, WAIT, HERE = "fetch", "wait", "here"
PUBLISHED, FAILED = "published", "failed"
POLL_S = 0.5
LONGEST_POLL_S = 5.0
QUIET_S = 5.0


@dataclass(frozen=True, slots=True)
class Lease:
    """What the tracker says of one blob: `role` is FETCH (this machine is to), WAIT or HERE (somebody of the LAN has it).

    `fetcher` is the machine that fetches it, None while nobody does; `fetched_bytes` is how far it has come.
    """

    role: str
    fetcher: str | None
    fetched_bytes: int
    rate_bytes_s: int


class Want:
    """A blob that this machine waits for. `lease` is the last answer, `error` says why there will be none.

    `heard_at`: when that came, or when it was first wanted.
    """

    def __init__(self, etag: Etag, size: int, repo: RepoRef, heard_at: float) -> None:
        self.etag, self.size, self.repo = etag, size, repo
        self.lease: Lease | None = None
        self.error: TrackerError | None = None
        self.answers = 0
        self.heard_at = heard_at


class Leases:
    """Asks by `ask` (a body of POST /api/v1/leases; returns the answer, raises `TrackerError`). A thread, once `start`ed."""

    def __init__(
        self,
        ask: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        *,
        stall_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._clock = ask, clock
        self._stall_timeout_s = stall_timeout_s
        self._machine = secrets.token_hex(8)
        self._changed = threading.Condition()
        self._wants: dict[Etag, Want] = {}
        self._fetching: dict[Etag, tuple[int, int]] = {}
        self._ended: dict[Etag, str] = {}
        self._next_at = 0.0
        self._quiet: tuple[float, TrackerError] | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="leases", daemon=True).start()

    @contextmanager
    def want(self, etag: Etag, size: int, repo: RepoRef) -> Iterator[Want]:
        """Wait for a blob inside the `with`. A lease that is not held (`hold`) when it ends goes to somebody else.

        Raises `TrackerError` at once when the tracker gave no answer just now.
        """
        want = Want(etag, size, repo, self._clock())
        with self._changed:
            if self._quiet is not None and self._clock() < self._quiet[0]:
                raise self._quiet[1]
            self._wants[etag] = want
            self._next_at = 0.0
            self._changed.notify_all()
        try:
            yield want
        finally:
            with self._changed:
                del self._wants[etag]
                if want.lease is not None and want.lease.role == FETCH and etag not in self._fetching:
                    self._ended[etag] = FAILED
                self._changed.notify_all()

    def await_answer(self, want: Want, seen: int, timeout_s: float) -> None:
        """Return when more than `seen` answers have come for `want`, when there will be none, or after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: want.answers > seen or want.error is not None, timeout_s)

    def hold(self, etag: Etag) -> None:
        """This machine takes the lease that it was given, and fetches."""
        with self._changed:
            self._fetching[etag] = (0, 0)
            self._ended.pop(etag, None)
            self._changed.notify_all()

    def report(self, etag: Etag, done_bytes: int, rate_bytes_s: int) -> None:
        """Note how far it is, for the next question."""
        with self._changed:
            if etag in self._fetching:
                self._fetching[etag] = (done_bytes, rate_bytes_s)

    def end(self, etag: Etag, outcome: str) -> None:
        """Give the lease back: PUBLISHED or FAILED."""
        with self._changed:
            self._fetching.pop(etag, None)
            self._ended[etag] = outcome
            self._changed.notify_all()

    def poll(self) -> None:
        """Ask once, for everything."""
        with self._changed:
            wants = list(self._wants.values())
            ended = dict(self._ended)
            body = self._body(wants, ended)
            self._next_at = self._clock() + POLL_S
        try:
            leases, poll_s = _read(self._ask(body))
        except TrackerError as error:
            self._failed(error, wants)
            return
        with self._changed:
            self._quiet = None
            if self._next_at > 0:  # else something new is wanted already
                self._next_at = self._clock() + poll_s
            for etag, outcome in ended.items():
                if self._ended.get(etag) == outcome:
                    del self._ended[etag]
            for want in wants:
                want.heard_at = self._clock()
                if (lease := leases.get(want.etag)) is not None:
                    want.lease = lease
                    want.answers += 1
                    if lease.role == FETCH and self._wants.get(want.etag) is not want and want.etag not in self._fetching:
                        self._ended[want.etag] = FAILED  # who wanted it has gone meanwhile
            self._changed.notify_all()

    def _body(self, wants: list[Want], ended: Mapping[Etag, str]) -> dict[str, Any]:
        return {
            "machine": self._machine,
            "stall_timeout_s": self._stall_timeout_s,
            "wants": [
                {"etag": want.etag.value, "size": want.size, "repo_type": want.repo.type, "repo_id": want.repo.id}
                for want in wants
            ],
            "fetching": [
                {"etag": etag.value, "bytes": done, "rate_bytes_s": rate} for etag, (done, rate) in self._fetching.items()
            ],
            "ended": [{"etag": etag.value, "outcome": outcome} for etag, outcome in ended.items()],
        }

    def _failed(self, error: TrackerError, wants: list[Want]) -> None:
        """Who waits bears a tracker that is restarted, or has too much to do, for the stall time-out; then there is none."""
        final, slow = isinstance(error, TrackerRefused), isinstance(error, TrackerSlow)
        wait_s = (error.retry_after_s or 1) if isinstance(error, TrackerRefused) and error.status == 429 else QUIET_S
        log.info("no leases: %s", error)
        with self._changed:
            now = self._clock()
            self._next_at = now + POLL_S
            for want in wants:
                overdue = now - want.heard_at >= self._stall_timeout_s
                if final or overdue or (want.answers == 0 and not slow):
                    want.error = error
            if not slow or any(want.error is error for want in wants):
                self._quiet = (now + wait_s, error)
            if not self._fetching and not self._wants:
                self._ended.clear()  # what is not reported ends by itself
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while (pause_s := self._pause_s()) != 0:
                    self._changed.wait(pause_s)
            self.poll()

    def _pause_s(self) -> float | None:
        """Return the seconds until the next question; None: there is nothing to say."""
        if not (self._wants or self._fetching or self._ended):
            return None
        return max(0.0, self._next_at - self._clock())


def _read(answer: Mapping[str, Any]) -> tuple[dict[Etag, Lease], float]:
    try:
        leases = {
            Etag(entry["etag"]): Lease(
                str(entry["role"]),
                None if entry.get("fetcher") is None else str(entry["fetcher"])[:100],
                int(entry.get("bytes") or 0),
                int(entry.get("rate_bytes_s") or 0),
            )
            for entry in answer["leases"]
        }
        return leases, min(max(float(answer.get("poll_s", POLL_S)), 0.05), LONGEST_POLL_S)
    except (KeyError, TypeError, ValueError) as error:
        raise TrackerUnavailable(f"the tracker's answer about leases makes no sense: {error}") from None
