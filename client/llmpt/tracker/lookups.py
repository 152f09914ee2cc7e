"""The look-ups of one machine, asked together: what is wanted while a question is under way goes into the next one.

    lookups = Lookups(TrackerClient("http://server:8000"))
    found = lookups.ask(etag)

The first question goes out at once, so that one file costs nothing; thirty files wanted together cost two questions. The metainfo
of a blob comes once: the peers of one that is known are asked for alone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Protocol

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerRefused
from llmpt.core.metainfo import Metainfo
from llmpt.tracker.looked_up import Lookup

MAX_ETAGS = 200  # of one question
KEPT_BYTES = 8 << 20  # of metainfo


class LookupClient(Protocol):
    """As much of a `TrackerClient` as is needed."""

    def lookup(self, etag: Etag) -> Lookup: ...

    def lookup_all(self, etags: tuple[Etag, ...], known: dict[Etag, Metainfo]) -> dict[Etag, Lookup]: ...


class _WantedLookup:
    def __init__(self, etag: Etag) -> None:
        self.etag = etag
        self.found: Lookup | None = None
        self.error: TrackerError | None = None

    @property
    def is_over(self) -> bool:
        return self.found is not None or self.error is not None


class Lookups:
    """Asks `client` for any number of threads at once, and keeps piece layers of `kept_bytes` at most."""

    def __init__(self, client: LookupClient, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._client, self._most_kept_bytes = client, kept_bytes
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()
        self._waiting: list[_WantedLookup] = []
        self._kept: OrderedDict[Etag, Metainfo] = OrderedDict()
        self._kept_bytes = 0
        self._takes_many = True

    def ask(self, etag: Etag) -> Lookup:
        """Look one blob up. Raises `TrackerError`, the same for all that were in the question."""
        ticket = _WantedLookup(etag)
        with self._lock:
            self._waiting.append(ticket)
        with self._one_at_a_time:  # what has waited here may have been asked with another
            if not ticket.is_over:
                self._ask(self._batch(ticket))
        if ticket.found is None:
            raise ticket.error or AssertionError("a look-up without an end")
        return ticket.found

    def _batch(self, own: _WantedLookup) -> list[_WantedLookup]:
        """Take what waits, our own among it."""
        with self._lock:
            batch = [own, *(one for one in self._waiting if one is not own)][:MAX_ETAGS] if self._takes_many else [own]
            self._waiting = [one for one in self._waiting if one not in batch]
            return batch

    def _ask(self, batch: list[_WantedLookup]) -> None:
        try:
            found = self._found(tuple(dict.fromkeys(one.etag for one in batch)))
        except TrackerError as error:
            with self._lock:  # what waited meanwhile would fare no better, and has waited as long
                batch, self._waiting = batch + self._waiting, []
            for one in batch:
                one.error = error
            return
        for one in batch:
            one.found = found[one.etag]
            self._keep(found[one.etag].metainfo)

    def _found(self, etags: tuple[Etag, ...]) -> dict[Etag, Lookup]:
        if self._takes_many:
            try:
                known = {etag: self._kept[etag] for etag in etags if etag in self._kept}
                return self._client.lookup_all(etags, known)
            except TrackerRefused as error:
                if error.status not in (404, 405):
                    raise
                self._takes_many = False  # an older tracker: one by one
        return {etag: self._client.lookup(etag) for etag in etags}

    def _keep(self, metainfo: Metainfo | None) -> None:
        """Keep what was asked for last. By one thread at a time."""
        if metainfo is None:
            return
        if self._kept.pop(metainfo.etag, None) is None:
            self._kept_bytes += len(metainfo.layer)
        self._kept[metainfo.etag] = metainfo
        while self._kept_bytes > self._most_kept_bytes:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1].layer)
