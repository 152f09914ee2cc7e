"""One blob on its way in: looked up, downloaded into a temporary file, hashed as it comes, verified, handed over.

A transfer that progresses is never given up; one without a byte for the stall time-out is (`patience`), and one that crawls
beside what the ordinary path gives (`pace`); where other machines stand still with it, one of them fetches the rest for all
(`appeal`). What has arrived by then is not lost: the failure says which parts of the file are on disk
and verified, nothing writes to it any more, and only the rest is fetched the other way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing

from llmpt.agent.directory import Directory
from llmpt.agent.seeding.seeds import Seeds
from llmpt.agent.transfer.appeal import Appeal
from llmpt.agent.transfer.looking import Looking
from llmpt.agent.transfer.meter import Meter
from llmpt.agent.transfer.misses import Misses
from llmpt.agent.transfer.pace import Pace
from llmpt.agent.transfer.patience import Patience
from llmpt.agent.transfer.record import Record
from llmpt.agent.transfer.refusals import Failed, Missing, Refused, Yours
from llmpt.agent.transfer.web_seed import WebSeed
from llmpt.core.errors import ContentMismatch, LlmptError, SwarmError, TrackerError, TrackerSlow
from llmpt.core.metainfo import Metainfo
from llmpt.disk.prefix import PrefixHasher
from llmpt.link.answers import Progress
from llmpt.link.requests import FetchRequest
from llmpt.swarm import Download, Engine, Source

log = logging.getLogger("llmpt.agent")

CONNECT_TIMEOUT_S = 3.0
LOOK_AGAIN_S = 1.5
PROGRESS_INTERVAL_S = 0.1
KEEP_ALIVE_S = 1.0
WORTH_HTTP_BYTES = 16 << 20  # a smaller one is there before one has asked

Emit = Callable[[Progress], None]
Cancelled = Callable[[], bool]


class Transfer:
    """One blob, led by one request and followed by any number (`followers`); `path` is the leader's temporary file.

    `progress` is the last report; `ended` is set when the leader is done, and then `error` and `moved` say how it went;
    `wrong` is a torrent whose content is not the etag's.
    """

    def __init__(
        self,
        request: FetchRequest,
        engine: Engine,
        directory: Directory,
        seeds: Seeds,
        misses: Misses | None,
        *,
        stall_timeout_s: float,
    ) -> None:
        self.path = request.path
        self.ended = threading.Event()
        self.error: LlmptError | None = None
        self.moved = False
        self.wrong: Metainfo | None = None
        self.progress: Progress | None = None
        self.followers = 0
        self._request, self._etag = request, request.etag
        self._engine, self._directory, self._seeds, self._misses = engine, directory, seeds, misses
        self._meter = Meter(request.size)
        self._stall_timeout_s = stall_timeout_s

    def run(self, record: Record, emit: Emit, cancelled: Cancelled) -> bool:
        """Fetch and verify the blob; return whether it was moved to its destination, else the hook moves it.

        Raises `Refused` (see `llmpt.agent.transfer.refusals`), `Failed`, or `ContentMismatch` when the torrent is whole and
        not what the etag says. Goes on for its followers when `cancelled`.
        """
        etag, resume = self._etag, self.path.stat().st_blocks > 0
        source = self._find(resume, record, emit, cancelled)
        metainfo = source.metainfo
        with PrefixHasher(self.path, etag, metainfo.size) as prefix:
            record.download = self._engine.downloads.begin(source, self.path, resume=resume)
            try:
                with closing(Appeal(self._misses, self._request, stall_timeout_s=self._stall_timeout_s)) as appeal:
                    self._await(record.download, source, prefix, appeal, emit, cancelled)
                self._engine.downloads.flush(etag)
                record.tail_bytes = metainfo.size - prefix.hashed_bytes
                keep_alive = reporter(emit, lambda: cancelled() and not self.followers, self._meter)
                prefix.finish(on_read=lambda: keep_alive(metainfo.size))
            except ContentMismatch:
                self._engine.withdraw(etag)
                self.wrong = metainfo
                raise
            except (LlmptError, OSError) as error:
                raise self._given_up(metainfo, error) from None
            except BaseException:
                self._engine.withdraw(etag)
                raise
        if cancelled():  # only followers waited for it: they copy it, and it stays for the next try
            self._engine.withdraw(etag)
            self._seeds.expect(metainfo, self.path)
            return False
        self.moved = self._hand_over(metainfo)
        return self.moved

    def _find(self, resume: bool, record: Record, emit: Emit, cancelled: Cancelled) -> Source:
        """Return where to have it from, if need be after another machine has fetched it."""
        try:
            if self._misses is None or resume or not self._misses.likely(self._request):
                return self._look_up(resume)
        except Missing:
            if self._misses is None:
                raise
        record.waits = True
        try:
            return self._misses.wait(self._request, self._meter, lambda: self._appeared(resume), self._noting(emit), cancelled)
        finally:
            record.waits = False

    def _appeared(self, resume: bool) -> Source | None:
        try:
            return self._look_up(resume)
        except Missing:
            return None

    def _noting(self, emit: Emit) -> Emit:
        def emit_and_note(message: Progress) -> None:
            self.progress = message
            emit(message)

        return emit_and_note

    def _look_up(self, resume: bool) -> Source:
        """Raise `Missing` when nobody has it; what an earlier try left (`resume`) is worth a look without anybody, too."""
        try:
            found = self._directory.lookup(self._etag)
        except TrackerError as error:
            if isinstance(error, TrackerSlow) and self._directory.answers:
                raise Missing(str(error)) from None  # it has much to do: it will say when it is asked whose turn it is
            raise Refused(str(error)) from None
        if found.metainfo is None:
            raise Missing("not in the tracker's catalogue")
        if found.metainfo.size != self._request.size:
            raise Refused(f"the catalogue says {found.metainfo.size} bytes where the Hub says {self._request.size}")
        peers = self._directory.alive(found.peers)
        # A lone leecher of a lone seeder has nobody to trade with, and HTTP beside BitTorrent is faster than either.
        alone = len(peers) == 1 and not found.leechers and self._request.size >= WORTH_HTTP_BYTES
        web_seed = self._directory.blob_url(self._etag) if alone or not peers else None
        if not peers and web_seed is None and not resume:
            silent = "its peers did not answer a moment ago"
            raise Refused(silent) if len(found.peers) == 1 else Missing(silent if found.peers else "nobody seeds it")
        return Source(found.metainfo, peers, found.announce_url, web_seed)

    def _await(
        self, download: Download, source: Source, prefix: PrefixHasher, appeal: Appeal, emit: Emit, cancelled: Cancelled
    ) -> None:
        """Wait until the blob is whole; raise `Refused` or `Failed` when it will not be."""
        peers, web = source.peers, WebSeed(self._engine, self._directory, self._etag, source.web_seed)
        looking = Looking(self._engine, self._directory, self._etag, web)
        looked = last_sent = time.monotonic()
        patience = Patience(self._stall_timeout_s, lambda: self._engine.came_at, now=looked)
        pace = Pace(self._request.ordinary_rate_bytes_s, now=0.0)
        best, met, behind, taken = 0, False, False, False
        while True:
            download.wait(0 if behind else PROGRESS_INTERVAL_S)
            behind = download.state == "running" and prefix.advance(download.prefix_bytes)
            now = time.monotonic()
            if download.state == "failed":
                raise Failed(download.reason)
            came = download.bytes_done > best or download.checking
            patience.look(now=now, seen_at=download.seen_at or now, came=came or taken)
            met, taken = met or download.peers > 0, False
            if came:
                best, looked = max(best, download.bytes_done), now
                appeal.close()
            if best > 0:
                self.progress = self._progress(download)
            # Before bytes flow there is nothing to show, but the hook shall hear that we are at work (a check takes its time).
            if now - last_sent >= (PROGRESS_INTERVAL_S if best > 0 else KEEP_ALIVE_S) or download.state == "finished":
                last_sent = now
                emit(self._progress(download))
            if download.state == "finished":
                return
            if cancelled() and not self.followers:
                raise Failed("cancelled")
            gone = not met and not web.used and download.lost_peers.issuperset(peers)
            silent = not met and patience.is_over(CONNECT_TIMEOUT_S, connected=False) and now - web.taken_at > CONNECT_TIMEOUT_S
            if not download.checking and (gone or silent or patience.is_over(connected=download.peers > 0)):
                if not web.used and not looking.under_way and web.take(download):
                    self._directory.bury(peers)
                    taken = True
                    continue
                crowd = download.leechers > 0 or max(download.peers, len(peers)) > 1
                if gone or not crowd or not appeal.is_heard(now):
                    self._directory.bury(peers)
                    raise self._stands_still(download, appeal, met=met, gone=gone, count=len(peers))
            lan_bytes = self._engine.totals().downloaded_bytes
            if download.checking or appeal.is_open:
                pace.restart(lan_bytes, now=patience.ran_s)
            elif pace.falls_behind(lan_bytes, now=patience.ran_s):
                raise Failed(f"it is much slower than the Hub has been, {best} of {download.metainfo.size} bytes had come")
            if now - looked > LOOK_AGAIN_S:
                looked = now
                looking.begin(download, in_vain=() if met else peers)
            web.spare(download)

    def _stands_still(self, download: Download, appeal: Appeal, *, met: bool, gone: bool, count: int) -> LlmptError:
        """Return the error of a download that brings nothing, after taking the lease, if it is this machine's."""
        if appeal.is_ours:
            appeal.accept()
        if not met:
            reason = f"none of its {count} peers answered" + ("" if gone else f" in {CONNECT_TIMEOUT_S:.0f} s")
        else:
            size = download.metainfo.size
            reason = f"no byte for {self._stall_timeout_s:g} s, {download.bytes_done} of {size} bytes had come"
        return Failed(reason, fetch=True) if appeal.is_ours else Failed(reason) if met else Refused(reason)

    def _given_up(self, metainfo: Metainfo, error: Exception) -> LlmptError:
        """Let go of the file, and say what of it can be used."""
        try:
            have = self._engine.downloads.give_up(self._etag)
        except SwarmError as second:  # the session is ending
            log.debug("%s: %s", self._etag, second)
            have = ()
        fetch = isinstance(error, Failed) and error.fetch
        if have:
            self._seeds.expect(metainfo, self.path)  # the hook fetches the rest, and tells us where the whole lies
            return Failed(str(error), have, fetch=fetch)
        if fetch:
            return Yours(f"{error}; this machine fetches it for all")
        return error if isinstance(error, LlmptError) else Failed(str(error))

    def _hand_over(self, metainfo: Metainfo) -> bool:
        """Move the verified blob to its destination and go on seeding it there; False leaves the move to the hook."""
        destination = self._request.destination
        if not self._request.replace and not destination.exists():
            try:
                self._engine.downloads.move(metainfo.etag, destination)
            except SwarmError as error:
                log.info("%s: the hook moves it: %s", metainfo.etag, error)
            else:
                self._seeds.add(metainfo, destination, serving=True)
                return True
        self._engine.withdraw(metainfo.etag)
        self._seeds.expect(metainfo, self.path)
        return False

    def _progress(self, download: Download) -> Progress:
        shown = self._meter.arriving(0 if download.checking else download.bytes_done)
        return Progress(shown, download.rate_bytes_s, download.peers)


def reporter(emit: Emit, cancelled: Cancelled, meter: Meter) -> Callable[[int], None]:
    """Make a callback that tells the hook how far a copy or a check is, now and then, and stops it when nobody waits."""
    last = 0.0

    def report(bytes_done: int) -> None:
        nonlocal last
        if time.monotonic() - last < PROGRESS_INTERVAL_S:
            return
        last = time.monotonic()
        if cancelled():
            raise Failed("cancelled")
        emit(Progress(meter.arriving(bytes_done)))

    return report
