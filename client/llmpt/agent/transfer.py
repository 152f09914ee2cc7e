"""One blob on its way in: looked up, downloaded into a temporary file, hashed as it comes, verified, handed over.

A transfer that progresses is never given up; one without a byte for the stall time-out is, and one that crawls beside what
the ordinary path gives (`pace`). What has arrived by then is not lost: the failure says which parts of the file are on disk
and verified, nothing writes to it any more, and only the rest is fetched the other way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from llmpt.agent import messages
from llmpt.agent.directory import Directory, Peer
from llmpt.agent.messages import FetchRequest, Message
from llmpt.agent.meter import Meter
from llmpt.agent.misses import Misses
from llmpt.agent.pace import Pace
from llmpt.agent.record import Record
from llmpt.agent.refusals import Failed, Missing, Refused
from llmpt.agent.seeds import Seeds
from llmpt.agent.web_seed import WebSeed
from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch, LlmptError, SwarmError, TrackerError
from llmpt.core.metainfo import Metainfo
from llmpt.prefix import PrefixHasher
from llmpt.swarm import Download, Engine

log = logging.getLogger("llmpt.agent")

CONNECT_TIMEOUT_S = 3.0
LOOK_AGAIN_S = 1.5
PROGRESS_INTERVAL_S = 0.1
KEEP_ALIVE_S = 1.0
WORTH_HTTP_BYTES = 16 << 20  # a smaller one is there before one has asked

Emit = Callable[[Message], None]
Cancelled = Callable[[], bool]


class Source(NamedTuple):
    """Where to have a blob from: peers, and, when they are few or none, a seeder's HTTP (`web_seed`)."""

    metainfo: Metainfo
    peers: tuple[Peer, ...]
    announce_url: str
    web_seed: str | None


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
        self.path = Path(request.path)
        self.ended = threading.Event()
        self.error: LlmptError | None = None
        self.moved = False
        self.wrong: Metainfo | None = None
        self.progress: Message | None = None
        self.followers = 0
        self._request, self._etag = request, Etag(request.etag)
        self._engine, self._directory, self._seeds, self._misses = engine, directory, seeds, misses
        self._meter = Meter(request.size)
        self._stall_timeout_s = stall_timeout_s

    def run(self, record: Record, emit: Emit, cancelled: Cancelled) -> bool:
        """Fetch and verify the blob; return whether it was moved to its destination, else the hook moves it.

        Raises `Refused` (one of them: `llmpt.agent.refusals`), `Failed`, or `ContentMismatch` when the torrent is whole and
        not what the etag says. Goes on for its followers when `cancelled`.
        """
        etag, resume = self._etag, self.path.stat().st_blocks > 0
        source = self._find(resume, record, emit, cancelled)
        metainfo = source.metainfo
        with PrefixHasher(self.path, etag, metainfo.size) as prefix:
            record.download = self._engine.download(
                metainfo,
                self.path,
                peers=source.peers,
                announce_url=source.announce_url,
                resume=resume,
                web_seed=source.web_seed,
            )
            try:
                self._await(record.download, source, prefix, emit, cancelled)
                self._engine.flush(etag)
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
        def emit_and_note(message: Message) -> None:
            self.progress = message
            emit(message)

        return emit_and_note

    def _look_up(self, resume: bool) -> Source:
        """Raise `Missing` when nobody has it; what an earlier try left (`resume`) is worth a look without anybody, too."""
        try:
            found = self._directory.lookup(self._etag)
        except TrackerError as error:
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
            raise Refused("its peers did not answer a moment ago") if found.peers else Missing("nobody seeds it")
        return Source(found.metainfo, peers, found.announce_url, web_seed)

    def _await(self, download: Download, source: Source, prefix: PrefixHasher, emit: Emit, cancelled: Cancelled) -> None:
        """Wait until the blob is whole; raise `Refused` or `Failed` when it will not be."""
        peers, web = source.peers, WebSeed(self._engine, self._directory, self._etag, source.web_seed)
        started = last_byte = looked = last_sent = time.monotonic()
        pace = Pace(self._request.ordinary_rate_bytes_s, now=started)
        best, met, behind = 0, False, False
        while True:
            download.wait(0 if behind else PROGRESS_INTERVAL_S)
            behind = download.state == "running" and prefix.advance(download.prefix_bytes)
            now = time.monotonic()
            if download.state == "failed":
                raise Failed(download.reason)
            if download.bytes_done > best or download.checking:
                best, last_byte, looked = max(best, download.bytes_done), now, now
            met = met or download.peers > 0
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
            if not met and not download.checking:
                gone = not web.used and download.lost_peers.issuperset(peers)
                if gone or now - max(started, last_byte, web.taken_at) > CONNECT_TIMEOUT_S:
                    self._directory.bury(peers)
                    if not web.used and web.take(download):
                        last_byte = now
                        continue
                    raise Refused(f"none of its {len(peers)} peers answered" + ("" if gone else f" in {CONNECT_TIMEOUT_S:.0f} s"))
            if now - last_byte > self._stall_timeout_s:
                self._directory.bury(peers)
                if not web.used and web.take(download):
                    last_byte = now
                    continue
                raise Failed(f"no byte for {self._stall_timeout_s:g} s, {best} of {download.metainfo.size} bytes had come")
            if not download.checking and pace.falls_behind(download.bytes_done - download.resumed_bytes, now=now):
                raise Failed(f"it is much slower than the Hub has been, {best} of {download.metainfo.size} bytes had come")
            if now - looked > LOOK_AGAIN_S:
                looked = now
                self._look_again()
                if web.renew(download) and not met:
                    self._directory.bury(peers)  # the next file need not wait for them
            web.spare(download)

    def _look_again(self) -> None:
        """Nothing comes: perhaps others have it by now."""
        try:
            self._engine.add_peers(self._etag, self._directory.alive(self._directory.lookup(self._etag).peers))
        except TrackerError as error:
            log.debug("%s: %s", self._etag, error)

    def _given_up(self, metainfo: Metainfo, error: Exception) -> LlmptError:
        """Let go of the file, and say what of it can be used."""
        try:
            have = self._engine.give_up(self._etag)
        except SwarmError as second:  # the session is ending
            log.debug("%s: %s", self._etag, second)
            have = ()
        if have:
            self._seeds.expect(metainfo, self.path)  # the hook fetches the rest, and tells us where the whole lies
            return Failed(str(error), have)
        return error if isinstance(error, LlmptError) else Failed(str(error))

    def _hand_over(self, metainfo: Metainfo) -> bool:
        """Move the verified blob to its destination and go on seeding it there; False leaves the move to the hook."""
        destination = Path(self._request.destination)
        if not self._request.replace and not destination.exists():
            try:
                self._engine.move(metainfo.etag, destination)
            except SwarmError as error:
                log.info("%s: the hook moves it: %s", metainfo.etag, error)
            else:
                self._seeds.add(metainfo, destination, serving=True)
                return True
        self._engine.withdraw(metainfo.etag)
        self._seeds.expect(metainfo, self.path)
        return False

    def _progress(self, download: Download) -> Message:
        shown = self._meter.arriving(0 if download.checking else download.bytes_done)
        return {"event": messages.PROGRESS, "bytes": shown, "rate_bytes_s": download.rate_bytes_s, "peers": download.peers}


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
        emit({"event": messages.PROGRESS, "bytes": meter.arriving(bytes_done), "rate_bytes_s": 0, "peers": 0})

    return report
