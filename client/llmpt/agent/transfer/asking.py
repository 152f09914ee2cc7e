"""Whose turn is it to fetch a blob that the LAN does not have, or no longer gives? The tracker's word, as a job sees it."""

from __future__ import annotations

import time
from contextlib import ExitStack

from llmpt.agent.sharing.leases import AwaitedBlob, Leases
from llmpt.agent.transfer.course import Windows
from llmpt.agent.transfer.sight import LeaseSight, Window
from llmpt.agent.transfer.timings import JobTimings
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError
from llmpt.core.leases import LeaseRole
from llmpt.core.repo import RepoRef


class Asking:
    """One blob's place in the tracker's queue, until `close`. A lease that is not held by then goes to another machine."""

    def __init__(self, leases: Leases, etag: Etag, size: int, repo: RepoRef, timings: JobTimings) -> None:
        self._leases, self._timings, self._size = leases, timings, size
        self._until = ExitStack()
        self._began = time.monotonic()
        self._seen = 0
        self._here_since: float | None = None
        self._fetcher: str | None = None
        self._fetched = 0
        self._windows = Windows(0, self._began, window_s=timings.window_s)
        self._error = ""
        self._want: AwaitedBlob | None = None
        try:
            self._want = self._until.enter_context(leases.want(etag, size, repo))
        except TrackerError as error:
            self._error = str(error)

    @property
    def was_there_at_once(self) -> bool:
        """Whether the first answer was that a machine of the LAN has it."""
        return self._here_since is not None and self._seen == 1

    @property
    def fetched(self) -> tuple[int, int]:
        """How far the machine that fetches it is: bytes, and bytes per second."""
        lease = self._want.lease if self._want is not None else None
        return (lease.bytes, lease.rate_bytes_s) if lease is not None else (0, 0)

    def see(self, wait_s: float) -> LeaseSight:
        """Wait for an answer, `wait_s` at most, and say what the last one was."""
        want = self._want
        if want is None:
            return LeaseSight(error=self._error)
        self._leases.await_answer(want, self._seen, wait_s)
        now, heard_at = time.monotonic(), max(want.heard_at, self._began)
        is_fresh, self._seen = want.answers > self._seen, want.answers
        error, lease = str(want.error) if want.error is not None else "", want.lease
        if lease is None:
            return LeaseSight(error=error, passed_over_s=0.0 if want.passed_over_at is None else now - want.passed_over_at)
        role = lease.role
        if role is LeaseRole.HERE:
            self._here_since = self._here_since or now
            return LeaseSight(role, is_fresh, error, 0.0, now - self._here_since)
        self._here_since = None
        if lease.fetcher is None or lease.fetcher != self._fetcher or lease.bytes < self._fetched:
            self._windows.restart(lease.bytes, heard_at)
        self._fetcher, self._fetched = lease.fetcher, lease.bytes
        window = self._windows.look(lease.bytes, heard_at) if lease.fetcher is not None else Window()
        left_bytes = max(self._size - lease.bytes, 0)
        return LeaseSight(role, is_fresh, error, 0.0, 0.0, lease.fetcher, window, left_bytes)

    def close(self) -> None:
        """Leave the queue."""
        self._until.close()
