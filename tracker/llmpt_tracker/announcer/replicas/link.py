"""This replica's link to the others, over Valkey: the loops that keep it, and what the announcer tells and asks through it.

Nothing here is needed for an answer: without Valkey each replica goes on with the peers it has, and the log says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llmpt.core.breaker import Pauses
from llmpt.core.networks import Address
from llmpt.host.loops import Health, Rhythm
from llmpt_tracker.announcer.leases.book import LeaseBook
from llmpt_tracker.announcer.leases.terms import LeaseTerms
from llmpt_tracker.announcer.loops import loop
from llmpt_tracker.announcer.others import Reply
from llmpt_tracker.announcer.peers.store import SwarmStore
from llmpt_tracker.announcer.replicas import changes
from llmpt_tracker.announcer.replicas.changes import Applying, Change
from llmpt_tracker.announcer.replicas.journal import KEPT_S, Journal
from llmpt_tracker.announcer.replicas.leading import Answer, Leading
from llmpt_tracker.announcer.replicas.shared_store import SharedStore
from llmpt_tracker.announcer.replicas.valkey import Valkey
from llmpt_tracker.announcer.tracker import Tracker
from llmpt_tracker.errors import ValkeyUnavailable

BOOT, KEY = "llmpt:boot", "llmpt:key"
KNOW_S, TOLD_S = 5.0, 0.5  # for so long is waited at most
PATIENT = LeaseTerms(settling_s=LeaseTerms().max_patience_s, returning_s=LeaseTerms().max_patience_s, starting_s=math.inf)

AT_ONCE = Rhythm(interval_s=0.0, pauses=Pauses(first_s=0.5, longest_s=2.0))
EVERY_SECOND = Rhythm(interval_s=1.0, pauses=Pauses(first_s=0.5, longest_s=2.0))

AWAY = "Valkey does not answer: the replicas of this tracker know nothing of each other"
OTHER_KEY = "another replica of this tracker has another key: all need the same server.key in LLMPT_DATA"

log = logging.getLogger(__name__)


class Contact(enum.Enum):
    """Whether Valkey answers: NEW until that was tried."""

    NEW = "new"
    REACHED = "reached"
    AWAY = "away"


class Link:
    """The `Others` of a tracker whose replicas share a Valkey."""

    def __init__(self, url: str, tracker: Tracker, *, key: str = "") -> None:
        """`key` tells the server's key from any other, and gives nothing of it away; empty: there is none."""
        self._key, self._contact = key, Contact.NEW
        self._valkey, self._tracker, me = Valkey(url), tracker, secrets.token_hex(8)
        self._here: SwarmStore = tracker.store
        self._journal = Journal(self._valkey, Applying(self._here, tracker.seeders), me=me, clock=tracker.clock)
        self._leading = Leading(self._valkey, me=me, clock=tracker.clock, on_change=self._decides)
        self._was_tried, self._may_read = asyncio.Event(), asyncio.Event()
        tracker.share(self, SharedStore(self._here, self.tell, clock=tracker.clock))
        self._decides(leads=False)

    @property
    def reaches(self) -> bool | None:
        return self._contact is Contact.REACHED

    @property
    def lends(self) -> bool:
        return self._leading.leads

    def tell(self, change: Change) -> None:
        """Have the others told of a change."""
        self._journal.tell(change)

    def listed(self, hashes: Iterable[bytes]) -> None:
        self.tell(changes.listed(hashes, now=self._tracker.clock()))

    def unlisted(self, hashes: Iterable[bytes]) -> None:
        self.tell(changes.unlisted(hashes, now=self._tracker.clock()))

    def beat(self, seeder: str, *, key: str, report: Mapping[str, Any], address: Address | None) -> None:
        self.tell(changes.beat(seeder, key=key, report=report, address=address, now=self._tracker.clock()))

    async def ask(self, request: Reply) -> Reply | None:
        if not self.reaches:
            return None
        reply = await self._leading.ask(request)
        if reply is not None and self._tracker.leases.has_begun and not self.lends:
            self._decides(leads=False)  # what was lent here meanwhile is for the one to know that decides
        return reply

    async def know(self) -> None:
        self._may_read.set()
        await _within(KNOW_S, self._was_tried.wait())
        if self.reaches:
            await _within(KNOW_S, self._journal.is_read.wait())
            with contextlib.suppress(ValkeyUnavailable):
                await _within(KNOW_S, self._leading.renew())

    async def told(self) -> None:
        if self.reaches:
            await _within(TOLD_S, self._journal.told())

    async def run(self, answer: Answer) -> None:
        """Keep the link until cancelled. `answer`: this replica's, to what another one asks."""
        self._leading.answer = answer
        health = Health()  # its troubles are no reason to end this replica: it does its work without
        steps: tuple[tuple[str, Callable[[], Any], Rhythm], ...] = (
            ("keeping in touch with Valkey", self._keep, EVERY_SECOND),
            ("telling other replicas", self._journal.write, AT_ONCE),
            ("reading what replicas tell", self._read, AT_ONCE),
            ("hearing other replicas", self._leading.listen, AT_ONCE),
        )
        try:
            await asyncio.gather(*(loop(name, step, rhythm, health=health) for name, step, rhythm in steps))
        finally:
            await self._valkey.close()

    async def _read(self) -> None:
        await self._may_read.wait()
        await self._journal.read()

    async def _keep(self) -> None:
        """Agree on the boot id, and on which replica decides; notice when Valkey is gone, or back."""
        try:
            boot_id = await self._valkey.settle(BOOT, self._tracker.boot_id, for_s=KEPT_S)
            others_key = await self._valkey.settle(KEY, self._key, for_s=KEPT_S) if self._key else ""
            await self._leading.renew(may_lead=self._may_read.is_set())
        except ValkeyUnavailable as error:
            if self.reaches:
                log.warning("%s: this replica goes on with what it knows, and tells the others later", error)
            self._note(Contact.AWAY)
            self._tracker.reached.note(AWAY, times=1, now=self._tracker.clock())
            raise
        if not self.reaches:
            log.info("the replicas of this tracker reach each other, boot id %s", boot_id)
        if self._contact is Contact.AWAY and self.lends:  # what Valkey had may be lost
            for change in changes.everything(self._here, self._tracker.seeders):
                self.tell(change)
        if others_key != self._key:
            log.error(OTHER_KEY)
            self._tracker.reached.note(OTHER_KEY, times=1, now=self._tracker.clock())
        self._tracker.boot_id = boot_id
        self._note(Contact.REACHED)

    def _note(self, contact: Contact) -> None:
        self._contact = contact
        self._was_tried.set()

    def _decides(self, leads: bool) -> None:
        now = self._tracker.clock()
        self._tracker.leases = LeaseBook(opened_at=now) if leads else LeaseBook(PATIENT, opened_at=now)


async def _within(seconds: float, waiting: Any) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(waiting, seconds)
