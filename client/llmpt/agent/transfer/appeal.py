"""A second opinion on a download that stands still: what the tracker says of it, asked before the rest comes from the Hub.

Several machines that stand still, since who had it whole has gone, would each fetch the rest. So one of them does, under a
lease, and the others wait for it, and go on taking from each other whatever comes meanwhile.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack

from llmpt.agent.sharing.leases import AwaitedBlob
from llmpt.agent.transfer.misses import Misses, Turn
from llmpt.core.errors import TrackerError
from llmpt.core.leases import LeaseRole
from llmpt.link.requests import FetchRequest

log = logging.getLogger("llmpt.agent")


class Appeal:
    """The tracker's word on one download; `misses` None: none is asked for. `close` at the end of it all."""

    def __init__(self, misses: Misses | None, request: FetchRequest, *, stall_timeout_s: float) -> None:
        self._misses, self._request, self._stall_timeout_s = misses, request, stall_timeout_s
        self._until = ExitStack()
        self._want: AwaitedBlob | None = None
        self._turn: Turn | None = None

    @property
    def is_open(self) -> bool:
        """Whether the tracker is being asked."""
        return self._want is not None

    def is_heard(self, now: float) -> bool:
        """Ask, or go on asking; False when there is no point in waiting any longer, or `is_ours`."""
        if self._want is None and not self._ask():
            return False
        if self._want is None or self._turn is None or self._want.error is not None or self.is_ours:
            return False
        return not self._turn.over(self._want.lease, now)

    @property
    def is_ours(self) -> bool:
        """Whether this machine is to fetch the rest for all."""
        return self._want is not None and self._want.lease is not None and self._want.lease.role is LeaseRole.FETCH

    def accept(self) -> None:
        """Take the lease: this machine fetches the rest for all."""
        if self._misses is not None:
            self._misses.fetches.grant(self._request, rest=True)

    def close(self) -> None:
        """Something comes again, or it is given up."""
        self._until.close()
        self._want = self._turn = None

    def _ask(self) -> bool:
        request = self._request
        if self._misses is None or request.repo is None or self._misses.why_not(request):
            return False
        try:
            self._want = self._until.enter_context(self._misses.leases.want(request.etag, request.size, request.repo))
        except TrackerError as error:
            log.debug("%s: %s", request.etag, error)
            return False
        self._turn = Turn(request, self._stall_timeout_s)
        return True
