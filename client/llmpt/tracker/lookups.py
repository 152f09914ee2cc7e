"""The look-ups of one machine, asked together: what is wanted while a question is under way goes into the next one.

    lookups = Lookups(TrackerClient("http://server:8000"))
    found = lookups.ask(etag)

The first question goes out at once, so that one file costs nothing; thirty files wanted together cost two questions. For a file
of a commit it asks for the commit's others, too: then the thirty cost one, whenever they are wanted. The metainfo of a blob comes
once: the peers of one that is known are asked for alone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Protocol

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerRefused
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import RepoCommit
from llmpt.tracker.looked_up import Beside, Lookup
from llmpt.tracker.told_beside import ToldBeside

MAX_ETAGS = 200  # of one question
KEPT_BYTES = 8 << 20  # of metainfo


class LookupClient(Protocol):
    """As much of a `TrackerClient` as is needed."""

    def lookup(self, etag: Etag) -> Lookup: ...

    def lookup_all(
        self, etags: tuple[Etag, ...], known: dict[Etag, Metainfo], beside: Beside | None = None
    ) -> dict[Etag, Lookup]: ...


class _WantedLookup:
    def __init__(self, etag: Etag, of: RepoCommit | None) -> None:
        self.etag, self.of = etag, of
        self.found: Lookup | None = None
        self.error: TrackerError | None = None

    @property
    def is_over(self) -> bool:
        return self.found is not None or self.error is not None


class Lookups:
    """Asks `client` for any number of threads at once, and keeps piece layers of `kept_bytes` at most, and as many `beside`."""

    def __init__(self, client: LookupClient, *, kept_bytes: int = KEPT_BYTES, beside: ToldBeside | None = None) -> None:
        self._client, self._most_kept_bytes = client, kept_bytes
        self._beside = beside or ToldBeside(kept_bytes=kept_bytes)
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()
        self._waiting: list[_WantedLookup] = []
        self._kept: OrderedDict[Etag, Metainfo] = OrderedDict()
        self._kept_bytes = 0
        self._takes_many = self._takes_commits = True
        self._boot_id = ""

    def told(self, etag: Etag) -> Lookup | None:
        """Return what the tracker has told of a blob a moment ago, beside another one, this once; None: ask."""
        found = self._beside.take(etag)
        if found is not None:
            self._keep(found.metainfo)
        return found

    def ask(self, etag: Etag, of: RepoCommit | None = None) -> Lookup:
        """Look one blob up; `of` names a commit that has it, whose other files are looked up beside.

        Raises `TrackerError`, the same for all that were in the question.
        """
        ticket = _WantedLookup(etag, of)
        with self._lock:
            self._waiting.append(ticket)
        with self._one_at_a_time:  # what has waited here may have been asked with another, or beside it
            self._answer_waiting()
            if not ticket.is_over:
                self._ask(self._batch(ticket), of)
        if ticket.found is None:
            raise ticket.error or AssertionError("a look-up without an end")
        return ticket.found

    def _answer_waiting(self) -> None:
        """Give what was told beside to those of a commit that wait for it."""
        with self._lock:
            waiting = list(self._waiting)
        for one in waiting:
            one.found = None if one.of is None else self.told(one.etag)
        with self._lock:
            self._waiting = [one for one in self._waiting if not one.is_over]

    def _batch(self, own: _WantedLookup) -> list[_WantedLookup]:
        """Take what waits, our own among it."""
        with self._lock:
            batch = [own, *(one for one in self._waiting if one is not own)][:MAX_ETAGS] if self._takes_many else [own]
            self._waiting = [one for one in self._waiting if one not in batch]
            return batch

    def _ask(self, batch: list[_WantedLookup], of: RepoCommit | None) -> None:
        try:
            found = self._found(tuple(dict.fromkeys(one.etag for one in batch)), of)
        except TrackerError as error:
            with self._lock:  # what waited meanwhile would fare no better, and has waited as long
                batch, self._waiting = batch + self._waiting, []
            for one in batch:
                one.error = error
            return
        for one in batch:
            one.found = found[one.etag]
            self._keep(found[one.etag].metainfo)
        self._note_life(found[batch[0].etag].boot_id)

    def _found(self, etags: tuple[Etag, ...], of: RepoCommit | None) -> dict[Etag, Lookup]:
        if not self._takes_many:
            return {etag: self._client.lookup(etag) for etag in etags}
        with self._lock:
            known = {etag: self._kept[etag] for etag in etags if etag in self._kept}
        beside = self._beside.question(of) if of is not None and self._takes_commits else None
        try:
            if beside is None:
                return self._client.lookup_all(etags, known)
            found = self._client.lookup_all(etags, known, beside)
        except TrackerRefused as error:
            if beside is not None and error.status == 400:
                self._takes_commits = False  # an older tracker: no others beside
            elif error.status in (404, 405):
                self._takes_many = False  # a still older one: one by one
            else:
                raise
            return self._found(etags, None)
        self._beside.keep(beside, found, etags)
        return found

    def _note_life(self, boot_id: str) -> None:
        """A tracker that was started anew may be a newer one."""
        if self._boot_id and boot_id != self._boot_id:
            self._takes_many = self._takes_commits = True
        self._boot_id = boot_id

    def _keep(self, metainfo: Metainfo | None) -> None:
        """Keep what was asked for last."""
        if metainfo is None:
            return
        with self._lock:
            if self._kept.pop(metainfo.etag, None) is None:
                self._kept_bytes += len(metainfo.layer)
            self._kept[metainfo.etag] = metainfo
            while self._kept_bytes > self._most_kept_bytes:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1].layer)
