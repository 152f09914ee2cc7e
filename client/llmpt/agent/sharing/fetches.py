"""What this machine fetches the ordinary way for the whole LAN: from the lease to the published, seeded blob.

The hook says that it begins and keeps the connection open; huggingface_hub downloads, in its own way, and we watch its file
grow. When the hook says where the file landed it is read once, which yields the etag's check and the torrent; that is
published, the blob seeded, and the lease given back. Whatever else happens ends the lease too, so that another machine
gets it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmpt.agent.sharing.growth import Growth
from llmpt.agent.sharing.leases import Leases
from llmpt.agent.sharing.publishing import Publishing
from llmpt.core.blob import Etag
from llmpt.core.errors import LlmptError
from llmpt.core.leases import Outcome
from llmpt.disk.torrents import create_torrent
from llmpt.link.requests import FetchRequest

if TYPE_CHECKING:
    from llmpt.agent.seeding.seeds import Seeds  # loads libtorrent

log = logging.getLogger("llmpt.agent")

BEGIN_TIMEOUT_S = 10.0
LOOK_INTERVAL_S = 0.2


class Fetch:
    """One blob under a lease. `ended` is set at the end; then `path` says where the verified file lies, if it does.

    `rest`: what the LAN has given of it stays, and the hook goes on in its own temporary file.
    """

    def __init__(self, request: FetchRequest, *, rest: bool = False) -> None:
        self.etag, self.size = request.etag, request.size
        self.own, self.rest = request.path.name, rest
        self.done_bytes = 0
        self.begun = self.landed = False
        self.ended = threading.Event()
        self.path: Path | None = None


class Fetches:
    """Owns the blobs that this machine fetches under a lease; safe to share among threads."""

    def __init__(self, leases: Leases, publishing: Publishing, seeds: Seeds) -> None:
        self._leases, self._publishing, self._seeds = leases, publishing, seeds
        self._lock = threading.Lock()
        self._reading = threading.Semaphore(2)
        self._running: dict[Etag, Fetch] = {}

    def grant(self, request: FetchRequest, *, rest: bool = False) -> None:
        """The lease is ours. The hook that sent `request` is told to fetch, or to fetch the `rest`, and has a moment to say that
        it does."""
        fetch = Fetch(request, rest=rest)
        with self._lock:
            self._running[fetch.etag] = fetch
        self._leases.hold(fetch.etag)
        timer = threading.Timer(BEGIN_TIMEOUT_S, self._unless_begun, (fetch,))
        timer.daemon = True
        timer.start()

    def running(self, etag: Etag) -> Fetch | None:
        """Return the fetch of a blob that is under way on this machine."""
        with self._lock:
            return self._running.get(etag)

    def all(self) -> list[Fetch]:
        """Return what is under way."""
        with self._lock:
            return list(self._running.values())

    def watch(self, etag: Etag, stem: Path, gone: Callable[[], bool], *, ready: Callable[[], None] = lambda: None) -> None:
        """Watch the library's file until the hook is `gone`; if nothing has `landed` by then, the fetch has failed.

        `ready` is called when it may be made: what lies there before is another one.
        """
        fetch = self.running(etag)
        if fetch is None or fetch.begun:
            ready()
            return
        fetch.begun = True
        growth = Growth(stem, fetch.size, not_these=frozenset({fetch.own}), goes_on=fetch.own if fetch.rest else "")
        ready()
        pause = threading.Event()
        while not gone() and not fetch.landed:
            growth.look()
            self._report(fetch, growth.done_bytes, growth.rate_bytes_s)
            pause.wait(LOOK_INTERVAL_S)
        if not fetch.landed:
            self._end(fetch, Outcome.FAILED)
            log.info("%s was not fetched: the download broke off after %d bytes", etag, growth.done_bytes)

    def landed(self, etag: Etag) -> bool:
        """The hook says that the file lies where it belongs; False when it is none of ours."""
        fetch = self.running(etag)
        if fetch is None:
            return False
        fetch.landed = True
        return True

    def finish(self, etag: Etag, path: Path) -> None:
        """Verify the file at `path`, publish it, seed it, and give the lease back."""
        fetch = self.running(etag)
        if fetch is None:
            return
        self._report(fetch, fetch.size, 0)  # while it is read and published it is the tracker that has patience
        outcome = Outcome.FAILED
        try:
            with self._reading:
                metainfo = create_torrent(path, etag=etag)
            fetch.path = path
            self._publishing.publish(metainfo)
            self._seeds.add(metainfo, path)
            outcome = Outcome.PUBLISHED
            log.info("%s was fetched for all: published, and seeded from %s", etag, path)
        except (LlmptError, OSError) as error:
            log.warning("%s was fetched, and is not shared: %s", path, error)
        finally:
            self._end(fetch, outcome)

    def _report(self, fetch: Fetch, done_bytes: int, rate_bytes_s: int) -> None:
        fetch.done_bytes = done_bytes
        self._leases.report(fetch.etag, done_bytes, rate_bytes_s)

    def _unless_begun(self, fetch: Fetch) -> None:
        if not fetch.begun and not fetch.landed:
            self._end(fetch, Outcome.FAILED)
            log.info("%s was not fetched: the program that was to has not begun", fetch.etag)

    def _end(self, fetch: Fetch, outcome: Outcome) -> None:
        with self._lock:
            if self._running.get(fetch.etag) is not fetch:
                return
            del self._running[fetch.etag]
        self._leases.end(fetch.etag, outcome)
        fetch.ended.set()
