"""Blobs on their way in: one transfer per blob and machine, however many processes want it.

The first that asks leads: it looks the blob up, downloads into its own temporary file, has it verified and moved. Whoever
asks meanwhile follows, and gets a copy of the finished file (a reflink where the file system can). A transfer that
progresses is never given up; one without a byte for the stall time-out is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from llmpt.agent import messages
from llmpt.agent.copying import copy_blob
from llmpt.agent.directory import Directory
from llmpt.agent.messages import FetchRequest, Message
from llmpt.agent.record import Record
from llmpt.agent.seeds import Seeds
from llmpt.core.blob import Etag, verify_file
from llmpt.core.errors import ContentMismatch, LlmptError, SwarmError, TrackerError
from llmpt.core.metainfo import Metainfo
from llmpt.swarm import Download, Engine

log = logging.getLogger("llmpt.agent")

CONNECT_TIMEOUT_S = 3.0
LOOK_AGAIN_S = 1.5
PROGRESS_INTERVAL_S = 0.1
BAD_BLOB_S = 600.0

Emit = Callable[[Message], None]
Cancelled = Callable[[], bool]


class Refused(LlmptError):
    """Nothing was transferred: the ordinary path."""


class Failed(LlmptError):
    """Something was transferred, and the file is not whole: fall back."""


class _Transfer:
    """One blob on its way, led by one request and followed by any number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ended = threading.Event()
        self.error: LlmptError | None = None
        self.progress: Message | None = None
        self.followers = 0


class Transfers:
    """Owns the transfers of this machine. `fetch` is called by one thread per request."""

    def __init__(self, engine: Engine, directory: Directory, seeds: Seeds, *, stall_timeout_s: float) -> None:
        self._engine, self._directory, self._seeds = engine, directory, seeds
        self._stall_timeout_s = stall_timeout_s
        self._lock = threading.Lock()
        self._running: dict[Etag, _Transfer] = {}
        self._bad: dict[Etag, float] = {}
        self.records: deque[Record] = deque(maxlen=1000)

    def fetch(self, request: FetchRequest, emit: Emit, cancelled: Cancelled) -> Message:
        """Serve one request; return the terminal message. `emit` is called with progress until then."""
        record = Record.begin(request)
        self.records.append(record)
        try:
            moved = self._fetch(request, record, emit, cancelled)
        except Refused as error:
            record.end("refused", str(error))
            log.debug("%s %s: %s", request.repo_id, request.filename, error)
            return {"event": messages.REFUSED, "reason": str(error)}
        except (LlmptError, OSError) as error:
            record.end("failed", str(error))
            log.warning("%s %s: %s", request.repo_id, request.filename, error)
            return {"event": messages.FAILED, "reason": str(error)}
        record.end("done", "", moved=moved)
        log.info("%s %s: %d bytes from %d peers in %.2f s", request.repo_id, request.filename, record.bytes_from_lan,
                 len(record.bytes_by_peer), record.seconds)  # fmt: skip
        return {
            "event": messages.DONE,
            "moved": moved,
            "bytes_from_lan": record.bytes_from_lan,
            "peers": len(record.bytes_by_peer),
            "seconds": record.seconds,
        }

    def _fetch(self, request: FetchRequest, record: Record, emit: Emit, cancelled: Cancelled) -> bool:
        etag = Etag(request.etag)
        path = Path(request.path)
        _check_same_file(request, path)
        here = self._seeds.find(etag)
        if here is not None and here.path != path:
            with here.path.open("rb", buffering=0) as source:
                copy_blob(source, path, etag, request.size, on_copied=_reporter(emit, cancelled))
            return False
        with self._lock:
            transfer = self._running.get(etag)
            leads = transfer is None
            if transfer is None:
                transfer = self._running[etag] = _Transfer(path)
            else:
                transfer.followers += 1
        if not leads:
            self._follow(transfer, request, emit, cancelled)
            return False
        try:
            return self._lead(transfer, request, record, emit, cancelled)
        except LlmptError as error:
            transfer.error = error
            raise
        except OSError as error:
            transfer.error = Failed(str(error))
            raise
        finally:
            with self._lock:
                self._running.pop(etag, None)
            transfer.ended.set()

    def _follow(self, transfer: _Transfer, request: FetchRequest, emit: Emit, cancelled: Cancelled) -> None:
        try:
            # Opened now: whatever the file is renamed to when it is whole, this stays the same file.
            with transfer.path.open("rb", buffering=0) as source:
                while not transfer.ended.wait(PROGRESS_INTERVAL_S):
                    if cancelled():
                        raise Failed("cancelled")
                    if transfer.progress is not None:
                        emit(transfer.progress)
                if transfer.error is not None:
                    raise transfer.error
                report = _reporter(emit, cancelled)
                copy_blob(source, Path(request.path), Etag(request.etag), request.size, on_copied=report)
        finally:
            with self._lock:
                transfer.followers -= 1

    def _lead(self, transfer: _Transfer, request: FetchRequest, record: Record, emit: Emit, cancelled: Cancelled) -> bool:
        etag = Etag(request.etag)
        metainfo, peers, announce_url = self._look_up(etag, request.size)
        on_disk = transfer.path.stat()
        download = self._engine.download(
            metainfo, transfer.path, peers=peers, announce_url=announce_url, resume=on_disk.st_blocks > 0
        )
        record.download = download
        try:
            self._await(download, peers, transfer, emit, cancelled)
            self._engine.flush(etag)
            keep_alive = _reporter(emit, lambda: cancelled() and not transfer.followers)
            verify_file(transfer.path, etag, request.size, on_read=lambda: keep_alive(request.size))
        except BaseException as error:
            self._engine.withdraw(etag)
            if isinstance(error, ContentMismatch):
                self._bad[etag] = time.monotonic() + BAD_BLOB_S
            raise
        if cancelled():  # only followers waited for it: they copy it, and it stays for the next try
            self._engine.withdraw(etag)
            return False
        return self._hand_over(metainfo, transfer, request)

    def _look_up(self, etag: Etag, size: int) -> tuple[Metainfo, tuple[tuple[str, int], ...], str]:
        if self._bad.get(etag, 0.0) > time.monotonic():
            raise Refused("what the swarm has under this etag is not its content")
        try:
            found = self._directory.lookup(etag)
        except TrackerError as error:
            raise Refused(str(error)) from None
        if found.metainfo is None:
            raise Refused("not in the tracker's catalogue")
        if found.metainfo.size != size:
            raise Refused(f"the catalogue says {found.metainfo.size} bytes where the Hub says {size}")
        peers = self._directory.alive(found.peers)
        if not peers:
            raise Refused("nobody seeds it" if not found.peers else "its peers did not answer a moment ago")
        return found.metainfo, peers, found.announce_url

    def _await(
        self, download: Download, peers: tuple[tuple[str, int], ...], transfer: _Transfer, emit: Emit, cancelled: Cancelled
    ) -> None:
        """Wait until the blob is whole; raise `Refused` or `Failed` when it will not be."""
        etag = download.metainfo.etag
        started = last_byte = looked = last_sent = time.monotonic()
        best = 0
        met = False
        while True:
            download.wait(PROGRESS_INTERVAL_S)
            now = time.monotonic()
            if download.state == "failed":
                raise Failed(download.reason)
            if download.bytes_done > best or download.checking:
                best, last_byte, looked = max(best, download.bytes_done), now, now
            met = met or download.peers > 0
            if best > 0:
                transfer.progress = _progress(download)
                if now - last_sent >= PROGRESS_INTERVAL_S or download.state == "finished":
                    last_sent = now
                    emit(transfer.progress)
            if download.state == "finished":
                return
            if cancelled() and not transfer.followers:
                raise Failed("cancelled")
            if not met and not download.checking:
                gone = download.lost_peers.issuperset(peers)
                if gone or now - max(started, last_byte) > CONNECT_TIMEOUT_S:
                    self._directory.bury(peers)
                    raise Refused(f"none of its {len(peers)} peers answered" + ("" if gone else f" in {CONNECT_TIMEOUT_S:.0f} s"))
            if now - last_byte > self._stall_timeout_s:
                self._directory.bury(peers)
                raise Failed(f"no byte for {self._stall_timeout_s:g} s, {best} of {download.metainfo.size} bytes had come")
            if now - looked > LOOK_AGAIN_S:
                looked = now
                self._look_again(etag)

    def _look_again(self, etag: Etag) -> None:
        """Nothing comes: perhaps others have it by now."""
        try:
            self._engine.add_peers(etag, self._directory.alive(self._directory.lookup(etag).peers))
        except TrackerError as error:
            log.debug("%s: %s", etag, error)

    def _hand_over(self, metainfo: Metainfo, transfer: _Transfer, request: FetchRequest) -> bool:
        """Move the verified blob to its destination and go on seeding it there; False leaves the move to the hook."""
        destination = Path(request.destination)
        if not request.replace and not destination.exists():
            try:
                self._engine.move(metainfo.etag, destination)
            except SwarmError as error:
                log.info("%s: the hook moves it: %s", metainfo.etag, error)
            else:
                self._seeds.add(metainfo, destination, serving=True)
                return True
        self._engine.withdraw(metainfo.etag)
        self._seeds.expect(metainfo, transfer.path)
        return False


def _check_same_file(request: FetchRequest, path: Path) -> None:
    """Refuse a path that means another file here than in the process that asked (a container's own file system)."""
    try:
        found = path.stat()
    except OSError as error:
        raise Refused(f"the agent cannot see {path}: {error.strerror}") from None
    if (found.st_dev, found.st_ino) != (request.dev, request.ino):
        raise Refused(f"{path} is another file where the agent runs; is this process in a container?")


def _progress(download: Download) -> Message:
    return {
        "event": messages.PROGRESS,
        "bytes": min(download.bytes_done, download.metainfo.size),
        "rate_bytes_s": download.rate_bytes_s,
        "peers": download.peers,
    }


def _reporter(emit: Emit, cancelled: Cancelled) -> Callable[[int], None]:
    """Make a callback that tells the hook how far a copy or a check is, now and then, and stops it when nobody waits."""
    last = 0.0

    def report(bytes_done: int) -> None:
        nonlocal last
        if time.monotonic() - last < PROGRESS_INTERVAL_S:
            return
        last = time.monotonic()
        if cancelled():
            raise Failed("cancelled")
        emit({"event": messages.PROGRESS, "bytes": bytes_done, "rate_bytes_s": 0, "peers": 0})

    return report
