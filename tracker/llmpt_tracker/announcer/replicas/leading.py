"""One replica decides for all: it holds a lock in Valkey, lends the leases and counts the rates. The others ask it, over Valkey.

So a lease book is what it was: one, in one process. When the lock passes on, the next one's is that of a tracker that was
restarted: machines tell it within a second what they fetch. Without Valkey the one that decided goes on, and the others,
which cannot know whether it is there, lend nothing for as long as a lease lasts without a word of its
holder; then each lends for itself.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.documents import read_json
from llmpt_tracker.announcer.others import Reply
from llmpt_tracker.announcer.replicas.valkey import MOST_BYTES, Valkey
from llmpt_tracker.errors import ValkeyUnavailable

LOCK = "llmpt:leader"
LEADS_S = 3.0  # one that has not renewed its lock for so long has lost it
ASK_S = 0.5  # the application waits 2 s
NOT_DECIDING = {"ok": False, "error": "this replica does not decide"}

log = logging.getLogger(__name__)

Answer = Callable[[Reply], Awaitable[Reply]]


class Leading:
    """Whether this replica decides, and what it asks of the one that does. `on_change` is told when that changes."""

    def __init__(self, valkey: Valkey, *, me: str, clock: Callable[[], float], on_change: Callable[[bool], None]) -> None:
        self._valkey, self._me, self._clock, self._on_change = valkey, me, clock, on_change
        self._leader = ""
        self._renewed_s = self._lost_s = float("-inf")
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Reply]] = {}
        self._breaker = Breaker(Pauses(first_s=1.0, longest_s=5.0), clock=clock)
        self.answer: Answer | None = None  # of this replica, to what another one asks

    @property
    def leads(self) -> bool:
        """Whether this replica decides, as far as it knows."""
        return self._leader == self._me

    async def renew(self, *, may_lead: bool = True) -> None:
        """Keep the lock, or take it when it is free. Call it every second. Raises `ValkeyUnavailable`."""
        began, led = self._clock(), self.leads
        try:
            if not led and (not may_lead or began - self._lost_s < LEADS_S):
                self._leader = await self._valkey.holder(LOCK)  # where Valkey is new, the one that decided comes first
            else:
                self._leader = await self._valkey.hold(LOCK, self._me, for_s=LEADS_S)
        except ValkeyUnavailable:
            self._lost_s = self._clock()
            raise
        self._renewed_s = began
        if self.leads != led:
            log.info("this replica %s for all", "decides" if self.leads else "no longer decides")
            self._on_change(self.leads)

    async def ask(self, request: Reply) -> Reply | None:
        """Have the one that decides answer; None: that is this one, or there is none that can be asked."""
        if self.leads and self._clock() - self._renewed_s > LEADS_S and self._clock() - self._lost_s > LEADS_S:
            await self._renew_now()  # this process stood still: another one may decide by now
        if self.leads or not self._leader or not self._breaker.allows():
            return None
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            reply = await asyncio.wait_for(self._exchange(number, request, future), ASK_S)
        except (ValkeyUnavailable, asyncio.TimeoutError) as error:
            self._breaker.failed(error)
            return None
        finally:
            del self._asked[number]
        self._breaker.succeeded()
        return reply

    async def listen(self) -> None:
        """Answer what others ask, and take in what they answer, until Valkey is gone. Raises `ValkeyUnavailable`."""
        async with self._valkey.channel(_channel(self._me)) as channel:
            while True:
                if (text := await channel.next()) is not None:
                    await self._hear(text)

    async def _renew_now(self) -> None:
        try:
            await asyncio.wait_for(self.renew(), ASK_S)
        except (ValkeyUnavailable, asyncio.TimeoutError):
            self._lost_s = self._clock()

    async def _exchange(self, number: int, request: Reply, future: asyncio.Future[Reply]) -> Reply:
        said = json.dumps({"from": self._me, "number": number, "request": request}, separators=(",", ":"))
        if not await self._valkey.publish(_channel(self._leader), said):
            raise ValkeyUnavailable("the replica that decides is gone")
        return await future

    async def _hear(self, text: str) -> None:
        try:
            said: dict[str, Any] = read_json(text, most_bytes=MOST_BYTES)
            number = int(said["number"])
            if (reply := said.get("reply")) is None:
                answer = await self.answer(said["request"]) if self.answer is not None and self.leads else None
                reply = answer or NOT_DECIDING
                await self._valkey.publish(_channel(str(said["from"])), json.dumps({"number": number, "reply": reply}))
            elif (future := self._asked.get(number)) is not None and not future.done():
                if reply == NOT_DECIDING:
                    future.set_exception(ValkeyUnavailable("that replica does not decide"))
                else:
                    future.set_result(reply)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("what another replica said makes no sense (%r): %.80r", error, text)


def _channel(replica: str) -> str:
    return f"llmpt:replica:{replica}"
