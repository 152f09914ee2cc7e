"""Publishing what this machine has fetched: torrents only, with its share token, as many in one request as there are."""

from __future__ import annotations

import base64
import logging
import random
import threading
import time
from collections.abc import Callable

from llmpt.agent.sharing.right import Sharing
from llmpt.core.breaker import Pauses
from llmpt.core.errors import TrackerError, TrackerRefused, TrackerSlow
from llmpt.core.metainfo import PUBLISH_BYTES, Metainfo

log = logging.getLogger("llmpt.agent")

TRIES = 4  # of a tracker that has too much to do
BUSY = Pauses(first_s=1.0, longest_s=10.0)
AWAY_TRIES = 30  # of one that is being started anew: the lease is reported meanwhile, and others go on waiting
AWAY = Pauses(first_s=1.0, longest_s=1.5)


class _Ticket:
    def __init__(self, metainfo: Metainfo) -> None:
        self.torrent = base64.b64encode(metainfo.encode()).decode()
        self.done = False
        self.error: TrackerError | None = None


class Publishing:
    """Publishes for any number of threads at once."""

    def __init__(
        self, sharing: Sharing, *, pause: Callable[[float], None] = time.sleep, chance: Callable[[], float] = random.random
    ) -> None:
        """`pause` waits for so many seconds; `chance` as in `Breaker`."""
        self._sharing, self._pause, self._chance = sharing, pause, chance
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()
        self._waiting: list[_Ticket] = []

    def publish(self, metainfo: Metainfo) -> None:
        """Return when the catalogue lists the torrent; raise `TrackerError` when it will not."""
        ticket = _Ticket(metainfo)
        with self._lock:
            self._waiting.append(ticket)
        while not ticket.done:
            with self._one_at_a_time:  # what has waited here may have been published with another
                if not ticket.done:
                    self._post(self._batch())
        if ticket.error is not None:
            raise ticket.error

    def _batch(self) -> list[_Ticket]:
        with self._lock:
            batch = [self._waiting.pop(0)]
            while self._waiting and sum(len(one.torrent) for one in (*batch, self._waiting[0])) <= PUBLISH_BYTES:
                batch.append(self._waiting.pop(0))
            return batch

    def _post(self, batch: list[_Ticket]) -> None:
        error = self._try({"torrents": [ticket.torrent for ticket in batch]})
        if isinstance(error, TrackerRefused) and error.status in (400, 409, 422) and len(batch) > 1:
            for ticket in batch:  # one of them is to blame
                self._post([ticket])
            return
        for ticket in batch:
            ticket.error, ticket.done = error, True

    def _try(self, body: dict[str, list[str]]) -> TrackerError | None:
        tried = 0
        while True:
            tried += 1
            try:
                self._sharing.call(lambda client: client.publish(body))
            except TrackerError as error:
                is_away = not isinstance(error, (TrackerRefused, TrackerSlow))
                wait_s = (AWAY if is_away else BUSY).after(tried, self._chance())
                if isinstance(error, TrackerRefused):
                    if error.status != 429:
                        return error
                    wait_s = float(error.retry_after_s or 1)
                if tried >= (AWAY_TRIES if is_away else TRIES):
                    return error
                log.debug("published in a moment: %s", error)
                self._pause(min(wait_s, BUSY.longest_s))
            else:
                return None
