"""The journal in Valkey: a stream in which each replica tells what changed, and reads what the others told.

Peers announce again within the interval, so that the stream of one time to live holds all that are alive: a replica that starts
reads it from its beginning. What cannot be told waits in memory, the oldest goes first when it becomes too much.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from llmpt_tracker.announcer.peers.store import StoreLimits
from llmpt_tracker.announcer.replicas.changes import Applying, Change, encode
from llmpt_tracker.announcer.replicas.valkey import Valkey

STREAM = "llmpt:journal"
KEPT_S = StoreLimits().peer_ttl_s
MAX_WAITING = 200_000
BATCH = 500
READ_AT_ONCE = 50
BLOCK_MS = 1000


class Journal:
    """This replica's end of it. `tell` may be called at any time; `write` and `read` are steps of loops."""

    def __init__(self, valkey: Valkey, applying: Applying, *, me: str, clock: Callable[[], float]) -> None:
        self._valkey, self._applying, self._me, self._clock = valkey, applying, me, clock
        self._waiting: deque[Change] = deque(maxlen=MAX_WAITING)
        self._is_waiting, self._is_empty = asyncio.Event(), asyncio.Event()
        self._after = "0-0"
        self.is_read = asyncio.Event()  # what was told before is known here

    def tell(self, change: Change) -> None:
        """Have the others told."""
        self._waiting.append(change)
        self._is_waiting.set()
        self._is_empty.clear()

    async def told(self) -> None:
        """Return when nothing waits to be told."""
        if self._waiting:
            await self._is_empty.wait()

    async def write(self) -> None:
        """Wait for changes, and tell a batch of them. Raises `ValkeyUnavailable`: they wait, then."""
        await self._is_waiting.wait()
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        try:
            told = {"by": self._me, "changes": encode(batch, now=self._clock())}
            oldest_ms = round(1000 * (time.time() - KEPT_S))
            await self._valkey.add(STREAM, told, oldest_ms=oldest_ms)
        except BaseException:
            if len(self._waiting) + len(batch) <= MAX_WAITING:
                self._waiting.extendleft(reversed(batch))
            raise
        if not self._waiting:
            self._is_waiting.clear()
            self._is_empty.set()

    async def read(self) -> None:
        """Wait for what others told, and do it here. Raises `ValkeyUnavailable`."""
        found = await self._valkey.read(
            STREAM, self._after, count=READ_AT_ONCE, block_ms=BLOCK_MS if self.is_read.is_set() else None
        )
        if found:
            now = self._clock()
            ahead_s = await self._valkey.time() - now if not self.is_read.is_set() else None
            for name, told in found:
                self._apply(name, told, now=now, ahead_s=ahead_s)
        if len(found) < READ_AT_ONCE:
            self.is_read.set()
        await asyncio.sleep(0)

    def _apply(self, name: str, told: dict[str, Any], *, now: float, ahead_s: float | None) -> None:
        """`ahead_s`: by how much Valkey's clock is ahead of ours, where what is read is not of this moment."""
        self._after = name
        if told.get("by") != self._me:
            told_at = now if ahead_s is None else min(now, int(name.partition("-")[0]) / 1000 - ahead_s)
            self._applying.batch(str(told.get("changes", "")).encode(), told_at=told_at, since=now - KEPT_S)
