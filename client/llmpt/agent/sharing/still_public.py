"""Is what this machine seeds still to be shared? A repo that was public once may be private by now.

    StillPublic(seeds, inventory, where=…, tracker="http://server:8000").check()

What a publisher of the LAN shares now is shared on its word. Of the rest the Hub is asked without a token, once a day for each
repo; what comes from no repo that it shows is withdrawn. While the Hub is silent its last answer counts, as for the seeder.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llmpt.agent.sharing.permission import place_of
from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker
from llmpt.core.errors import TrackerError
from llmpt.core.repo import HubAnswer, RepoRef
from llmpt.disk.inventory import BlobOrigin, Inventory
from llmpt.hub.asking import HubUnreachable
from llmpt.hub.visibility import ASK_AGAIN_S, HUB_PAUSES, ask_hub
from llmpt.tracker.catalogue import Standing

if TYPE_CHECKING:
    from llmpt.agent.seeding.seeds import Seeds  # loads libtorrent

log = logging.getLogger("llmpt.agent")

DEFAULT_HUB = "https://huggingface.co"
MAX_ETAGS = 200  # of one question to the tracker
JITTER = 0.25  # of a day: not all machines ask in step


@dataclass(frozen=True, slots=True)
class HubAsking:
    """How Hubs are asked: by what (`ask_hub`), at which Unix time, and by which chance (0 to 1) sooner than after a day."""

    ask: Callable[[str, RepoRef], tuple[bool, str]] = ask_hub
    clock: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random


class StillPublic:
    """Holds what `seeds` gives to the rule of what may be shared; `inventory` keeps the Hub's answers.

    `where` asks the tracker (at the URL `tracker`) where blobs stand; `hub` (empty: the public one) is asked about repos whose
    own Hub is not known, or is that tracker.
    """

    def __init__(
        self,
        seeds: Seeds,
        inventory: Inventory,
        *,
        where: Callable[[Sequence[Etag]], Mapping[Etag, Standing]],
        tracker: str,
        hub: str = "",
        asking: HubAsking = HubAsking(),
    ) -> None:
        self._seeds, self._inventory, self._where = seeds, inventory, where
        self._tracker, self._hub = place_of(tracker), hub
        self._asking = asking
        self._breakers: dict[str, Breaker] = {}

    def check(self) -> None:
        """Withdraw what is to be shared no longer. While the tracker does not say what is shared, all stays."""
        etags = [blob.etag for blob in self._seeds.all()]
        origins = self._inventory.origins() if etags else {}
        for start in range(0, len(etags), MAX_ETAGS):
            batch = etags[start : start + MAX_ETAGS]
            try:
                standing = self._where(batch)
            except TrackerError as error:
                log.debug("whether all that is seeded is still public is asked later: %s", error)
                return
            for etag in batch:
                said = standing.get(etag, Standing())
                if not said.published:
                    self._hold(etag, origins.get(etag) or [BlobOrigin(repo, "") for repo in said.repos])

    def _hold(self, etag: Etag, origins: Sequence[BlobOrigin]) -> None:
        """Withdraw a blob that comes from repos of which none is public."""
        answers = [self._answer(origin) for origin in origins]
        if not answers or any(answer is None or answer.public for answer in answers):
            return
        if self._seeds.withdraw(etag):
            said = ", ".join(f"{origin.repo}: {answer.reason}" for origin, answer in zip(origins, answers, strict=True) if answer)
            log.info("%s is no longer seeded (%s)", etag, said)

    def _hub_of(self, origin: BlobOrigin) -> str:
        """Return the Hub that knows a repo; the tracker as a Hub shows what we seed, and says nothing of the repo."""
        named = (url for url in (origin.endpoint, self._hub) if urlsplit(url).scheme in ("http", "https"))
        return next((url for url in named if place_of(url) != self._tracker), DEFAULT_HUB).rstrip("/")

    def _answer(self, origin: BlobOrigin) -> HubAnswer | None:
        """Return what the Hub says of a repo, or said within a day, or last; None: it never did."""
        repo, endpoint = origin.repo, self._hub_of(origin)
        known, now = self._inventory.hub_answer(repo, endpoint=endpoint), self._asking.clock()
        if known is not None and 0 <= now - known.asked_at < ASK_AGAIN_S * (1 - JITTER * self._asking.chance()):
            return known
        breaker = self._breakers.setdefault(endpoint, Breaker(HUB_PAUSES, clock=self._asking.clock))
        if not breaker.allows():
            return known
        try:
            public, reason = self._asking.ask(endpoint, repo)
        except HubUnreachable as error:
            breaker.failed(error)
            return known
        breaker.succeeded()
        answer = HubAnswer(public, reason, now)
        self._inventory.keep_hub_answer(repo, answer, endpoint=endpoint)
        return answer
