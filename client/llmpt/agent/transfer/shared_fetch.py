"""A blob that a program of this machine fetches the ordinary way for the whole LAN: from the lease to the published torrent.

The hook says that it begins and keeps the connection open; huggingface_hub downloads, in its own way, and we watch its file
grow. When the hook says where the file landed it is read once, which yields the etag's check and the torrent; that is
published, and the lease given back. Whatever else happens gives the lease back too, so that another machine gets it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from llmpt.agent.sharing.leases import Leases
from llmpt.agent.sharing.permission import Permission
from llmpt.agent.sharing.publishing import Publishing
from llmpt.agent.transfer.hub_rate import HubRate
from llmpt.agent.transfer.sight import FetchSight
from llmpt.core.errors import LlmptError
from llmpt.core.leases import LeaseOutcome
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import RepoRef
from llmpt.disk.growth import Growth
from llmpt.disk.stamp import FileStamp
from llmpt.disk.torrents import read_torrent
from llmpt.link.requests import FetchRequest

log = logging.getLogger("llmpt.agent")

MAX_REPOS = 100
READ_AT_ONCE = 2


class ForAll:
    """What the jobs of a machine need to fetch for the whole LAN.

    `leases`: the tracker's word on whose turn it is
    `permission`: what may be shared
    `publishing`: how a torrent comes into the catalogue
    `reading`: limits how many files are read at once
    `hub_rate`: how fast the Hub is here
    """

    def __init__(
        self,
        leases: Leases,
        permission: Permission,
        publishing: Publishing,
        *,
        hub_rate: HubRate | None = None,
        repo_lacked_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.leases, self.permission, self.publishing = leases, permission, publishing
        self.reading = threading.Semaphore(READ_AT_ONCE)
        self.hub_rate = hub_rate or HubRate()
        self._repo_lacked_s, self._clock = repo_lacked_s, clock
        self._lacked: OrderedDict[RepoRef, float] = OrderedDict()
        self._lock = threading.Lock()

    def lacks(self, repo: RepoRef) -> bool:
        """Whether the LAN did not have another file of this repo a moment ago: then the lease is asked for at once."""
        with self._lock:
            return self._clock() - self._lacked.get(repo, float("-inf")) < self._repo_lacked_s

    def note(self, repo: RepoRef, *, lacks: bool) -> None:
        """Remember whether the LAN lacks files of this repo."""
        with self._lock:
            self._lacked.pop(repo, None)
            if lacks:
                self._lacked[repo] = self._clock()
                while len(self._lacked) > MAX_REPOS:
                    self._lacked.popitem(last=False)


class SharedFetch:
    """One blob under a lease of this machine, which is held from the start, and given back by `end` at the latest.

    `path`: where the verified file lies, once it does
    `metainfo`: its torrent, likewise
    `stamp`: what it was like when it was read
    """

    def __init__(self, request: FetchRequest, for_all: ForAll, *, has_rest: bool) -> None:
        """With `has_rest` what the LAN gave of the blob is in the file of `request`, and its hook goes on there."""
        self.etag, self.size = request.etag, request.size
        self._own, self._has_rest, self._for_all = request.path.name, has_rest, for_all
        self._granted_at = self._grew_at = time.monotonic()
        self._seen_bytes = 0
        self._changed = threading.Condition()
        self._growth: Growth | None = None
        self._begun_at, self._begun_with = 0.0, 0
        self._is_gone: Callable[[], bool] = lambda: False
        self._landed: Path | None = None
        self._is_right: bool | None = None
        self._is_published: bool | None = None
        self._failure = ""
        self._has_ended = False
        self.path: Path | None = None
        self.metainfo: Metainfo | None = None
        self.stamp: FileStamp | None = None
        for_all.leases.hold(self.etag)

    @property
    def has_begun(self) -> bool:
        return self._growth is not None

    @property
    def done_bytes(self) -> int:
        if self._landed is not None:
            return self.size
        return self._growth.done_bytes if self._growth is not None else 0

    def begin(self, stem: Path, is_gone: Callable[[], bool]) -> None:
        """The library is about to download into a file whose path begins with `stem`; `is_gone`: the hook has hung up."""
        goes_on = self._own if self._has_rest else ""
        growth = Growth(stem, self.size, not_these=frozenset({self._own}), goes_on=goes_on)
        with self._changed:
            self._begun_at, self._begun_with = time.monotonic(), growth.done_bytes
            self._is_gone, self._growth = is_gone, growth
            self._changed.notify_all()

    def landed(self, path: Path) -> None:
        """The file lies at `path`."""
        with self._changed:
            if self._landed is None and self._growth is not None:
                self._for_all.hub_rate.note(self.size - self._begun_with, time.monotonic() - self._begun_at)
            self._landed = path
            self._changed.notify_all()

    def see(self, wait_s: float) -> FetchSight:
        """Wait until the program says something, `wait_s` at most; look at its file, and tell the tracker how far it is."""
        with self._changed:
            if self._landed is None:
                self._changed.wait(wait_s)
        is_gone = self._is_gone()
        growth, landed = self._growth, self._landed  # after `is_gone`: first it lands, then it hangs up
        if growth is not None and landed is None:
            growth.look()
            self._for_all.leases.report(self.etag, growth.done_bytes, growth.rate_bytes_s)
        if self.done_bytes != self._seen_bytes or growth is None:
            self._seen_bytes, self._grew_at = self.done_bytes, time.monotonic()
        return FetchSight(
            granted_s=time.monotonic() - self._granted_at,
            has_begun=growth is not None,
            is_gone=is_gone,
            done=self.done_bytes,
            still_s=time.monotonic() - self._grew_at,
            landed=landed,
            is_right=self._is_right,
            is_published=self._is_published,
            failure=self._failure,
        )

    def read(self) -> None:
        """Read the file once: is it what its etag says, and what is its torrent?"""
        landed = self._landed
        if landed is None:
            raise AssertionError("it has not landed")
        self._for_all.leases.report(self.etag, self.size, 0)  # while it is read and published it is the tracker that waits
        try:
            with self._for_all.reading:
                self.metainfo, self.stamp = read_torrent(landed, etag=self.etag)
        except (LlmptError, OSError) as error:
            self._is_right, self._failure = False, str(error)
        else:
            self._is_right, self.path = True, landed

    def publish(self) -> None:
        """Have the catalogue list the torrent."""
        if self.metainfo is None:
            raise AssertionError("it was not read")
        try:
            self._for_all.publishing.publish(self.metainfo)
        except LlmptError as error:
            self._is_published, self._failure = False, str(error)
            log.warning("%s was fetched, and is not shared: %s", self.path, error)
        else:
            self._is_published = True

    def end(self) -> None:
        """Give the lease back, once: as published, or for another machine to take."""
        if not self._has_ended:
            self._has_ended = True
            self._for_all.leases.end(self.etag, LeaseOutcome.PUBLISHED if self._is_published else LeaseOutcome.FAILED)
