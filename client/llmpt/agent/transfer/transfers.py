"""The blobs on their way in: one transfer per blob and machine, however many processes want it.

The first that asks leads; whoever asks meanwhile follows, and gets a copy of the finished file (a reflink where the file
system can). Cancelling one leaves the others: the transfer goes on while anybody waits for it. What nobody of the LAN has
is fetched by one machine for all (`misses`), and on that machine by one of its programs.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from llmpt.agent.directory import Directory
from llmpt.agent.seeding.seeds import Seeds
from llmpt.agent.sharing.fetches import Fetch
from llmpt.agent.transfer.meter import Meter
from llmpt.agent.transfer.misses import Misses
from llmpt.agent.transfer.partials import Partials
from llmpt.agent.transfer.record import Record
from llmpt.agent.transfer.refusals import Failed, Refused, TryAgain, Yours
from llmpt.agent.transfer.transfer import PROGRESS_INTERVAL_S, Cancelled, Emit, Transfer, reporter
from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch, LlmptError
from llmpt.core.files import FileId
from llmpt.core.metainfo import Metainfo
from llmpt.disk.copying import copy_blob
from llmpt.link import answers
from llmpt.link.requests import FetchRequest
from llmpt.swarm import Engine

log = logging.getLogger("llmpt.agent")

BAD_BLOB_S = 600.0
WORTH_A_LINE_S = 1.0  # what was waited for in vain


class Transfers:
    """Owns the transfers of this machine. `fetch` is called by one thread per request. Without `misses` none is waited for."""

    def __init__(
        self,
        engine: Engine,
        directory: Directory,
        seeds: Seeds,
        partials: Partials,
        misses: Misses | None = None,
        *,
        stall_timeout_s: float,
        on_wrong: Callable[[Metainfo, str], None] = lambda _torrent, _reason: None,
    ) -> None:
        """`on_wrong` is told of torrents whose content is not that of their etag."""
        self._engine, self._directory, self._seeds, self._partials = engine, directory, seeds, partials
        self._misses, self._on_wrong = misses, on_wrong
        self._stall_timeout_s = stall_timeout_s
        self._lock = threading.Lock()
        self._running: dict[Etag, Transfer] = {}
        self._bad: dict[Etag, float] = {}
        self.records: deque[Record] = deque(maxlen=1000)

    def fetch(self, request: FetchRequest, emit: Emit, cancelled: Cancelled) -> answers.Done | answers.Refused | answers.Failed:
        """Serve one request; return the terminal message. `emit` is called with progress until then."""
        record = Record.begin(request)
        self.records.append(record)
        try:
            moved = self._fetch(request, record, emit, cancelled)
        except Refused as error:
            record.end("refused", str(error))
            in_vain = record.seconds > WORTH_A_LINE_S and not isinstance(error, Yours)
            log.log(logging.INFO if in_vain else logging.DEBUG, "%s: %s", request.title, error)
            return answers.Refused(str(error), fetch=isinstance(error, Yours))
        except (LlmptError, OSError) as error:
            record.end("failed", str(error))
            log.warning("%s: %s", request.title, error)
            have, fetch = (error.have, error.fetch) if isinstance(error, Failed) else ((), False)
            return answers.Failed(str(error), have, fetch)
        self._partials.done(request.path)
        record.end("done", "", moved=moved)
        log.info("%s: %d bytes from %d peers in %.2f s", request.title, record.bytes_from_lan, record.machines,
                 record.seconds)  # fmt: skip
        return answers.Done(
            moved,
            bytes_from_lan=record.bytes_from_lan,
            bytes_by_http=record.bytes_by_http,
            peers=record.machines,
            seconds=record.seconds,
        )

    def _fetch(self, request: FetchRequest, record: Record, emit: Emit, cancelled: Cancelled) -> bool:
        etag = request.etag
        path = request.path
        _check_same_file(request, path)
        self._partials.asked(path, request.file.ino)
        meter = Meter(request.size)
        while True:
            here = self._seeds.find(etag)
            if here is not None and here.path != path:
                return self._copy(here.path, request, reporter(emit, cancelled, meter))
            if self._bad.get(etag, 0.0) > time.monotonic():
                raise Refused("what the swarm has under this etag is not its content")
            fetch = self._misses.fetches.running(etag) if self._misses is not None else None
            try:
                if fetch is None:
                    return self._lead_or_follow(request, record, emit, cancelled)
                if self._follow_fetch(fetch, request, meter, emit, cancelled):
                    return False
            except TryAgain as again:
                if cancelled():
                    raise
                log.debug("%s: %s; once more", etag, again)

    def _lead_or_follow(self, request: FetchRequest, record: Record, emit: Emit, cancelled: Cancelled) -> bool:
        etag = request.etag
        with self._lock:
            transfer = self._running.get(etag)
            if transfer is not None:
                transfer.followers += 1
            else:
                leading = self._running[etag] = Transfer(
                    request, self._engine, self._directory, self._seeds, self._misses, stall_timeout_s=self._stall_timeout_s
                )
        if transfer is None:
            return self._lead(leading, etag, record, emit, cancelled)
        return self._follow(transfer, request, emit, cancelled)

    def _lead(self, transfer: Transfer, etag: Etag, record: Record, emit: Emit, cancelled: Cancelled) -> bool:
        try:
            return transfer.run(record, emit, cancelled)
        except LlmptError as error:
            transfer.error = error
            if isinstance(error, ContentMismatch):
                self._bad[etag] = time.monotonic() + BAD_BLOB_S
            if transfer.wrong is not None:
                self._on_wrong(transfer.wrong, str(error))
            raise
        except OSError as error:
            transfer.error = Failed(str(error))
            raise
        finally:
            with self._lock:
                self._running.pop(etag, None)
            transfer.ended.set()

    def _follow(self, transfer: Transfer, request: FetchRequest, emit: Emit, cancelled: Cancelled) -> bool:
        try:
            # Opened now: whatever the file is renamed to when it is whole, this stays the same file.
            with transfer.path.open("rb", buffering=0) as source:
                leaders = os.fstat(source.fileno())
                # The leader may have been killed, and be here again with the file that it left.
                same_file = FileId.of(leaders) == request.file
                while not transfer.ended.wait(PROGRESS_INTERVAL_S):
                    if cancelled():
                        raise Failed("cancelled")
                    if transfer.progress is not None:
                        emit(transfer.progress)
                rest_for_all = isinstance(transfer.error, Failed) and transfer.error.fetch and not same_file
                if isinstance(transfer.error, (Yours, TryAgain)) or rest_for_all:
                    raise TryAgain(str(transfer.error))
                if transfer.error is not None:
                    raise transfer.error if same_file or isinstance(transfer.error, Refused) else Failed(str(transfer.error))
                if same_file:
                    return transfer.moved
                report = reporter(emit, cancelled, Meter(request.size))
                copy_blob(source, request.path, request.etag, request.size, on_copied=report)
                return False
        finally:
            with self._lock:
                transfer.followers -= 1

    def _follow_fetch(self, fetch: Fetch, request: FetchRequest, meter: Meter, emit: Emit, cancelled: Cancelled) -> bool:
        """Wait for another program of this machine, and copy; False when it did not get it."""
        if self._misses is not None:
            self._misses.follow(fetch, meter, emit, cancelled)
        return fetch.path is not None and not self._copy(fetch.path, request, reporter(emit, cancelled, meter))

    def _copy(self, source: Path, request: FetchRequest, report: Callable[[int], None]) -> bool:
        """Fill the hook's file with what lies on this machine; False, since nothing was moved."""
        with source.open("rb", buffering=0) as opened:
            copy_blob(opened, request.path, request.etag, request.size, on_copied=report)
        return False


def _check_same_file(request: FetchRequest, path: Path) -> None:
    """Refuse a path that means another file here than in the process that asked (a container's own file system)."""
    try:
        found = path.stat()
    except OSError as error:
        raise Refused(f"the agent cannot see {path}: {error.strerror}") from None
    if FileId.of(found) != request.file:
        raise Refused(f"{path} is another file where the agent runs; is this process in a container?")
