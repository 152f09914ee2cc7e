"""The blobs on their way in: one transfer per blob and machine, however many processes want it.

The first that asks leads; whoever asks meanwhile follows, and gets a copy of the finished file (a reflink where the file
system can). Cancelling one leaves the others: the transfer goes on while anybody waits for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from pathlib import Path

from llmpt.agent import messages
from llmpt.agent.copying import copy_blob
from llmpt.agent.directory import Directory
from llmpt.agent.messages import FetchRequest, Message
from llmpt.agent.partials import Partials
from llmpt.agent.record import Record
from llmpt.agent.seeds import Seeds
from llmpt.agent.transfer import PROGRESS_INTERVAL_S, Cancelled, Emit, Failed, Refused, Transfer, reporter
from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch, LlmptError
from llmpt.swarm import Engine

log = logging.getLogger("llmpt.agent")

BAD_BLOB_S = 600.0


class Transfers:
    """Owns the transfers of this machine. `fetch` is called by one thread per request."""

    def __init__(self, engine: Engine, directory: Directory, seeds: Seeds, partials: Partials, *, stall_timeout_s: float) -> None:
        self._engine, self._directory, self._seeds, self._partials = engine, directory, seeds, partials
        self._stall_timeout_s = stall_timeout_s
        self._lock = threading.Lock()
        self._running: dict[Etag, Transfer] = {}
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
            have = error.have if isinstance(error, Failed) else ()
            return {"event": messages.FAILED, "reason": str(error), "have": [list(part) for part in have]}
        self._partials.done(Path(request.path))
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
        self._partials.asked(path, request.ino)
        here = self._seeds.find(etag)
        if here is not None and here.path != path:
            with here.path.open("rb", buffering=0) as source:
                copy_blob(source, path, etag, request.size, on_copied=reporter(emit, cancelled))
            return False
        if self._bad.get(etag, 0.0) > time.monotonic():
            raise Refused("what the swarm has under this etag is not its content")
        with self._lock:
            transfer = self._running.get(etag)
            if transfer is not None:
                transfer.followers += 1
            else:
                leading = self._running[etag] = Transfer(
                    request, self._engine, self._directory, self._seeds, stall_timeout_s=self._stall_timeout_s
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
                same_file = (leaders.st_dev, leaders.st_ino) == (request.dev, request.ino)
                while not transfer.ended.wait(PROGRESS_INTERVAL_S):
                    if cancelled():
                        raise Failed("cancelled")
                    if transfer.progress is not None:
                        emit(transfer.progress)
                if transfer.error is not None:
                    raise transfer.error if same_file or isinstance(transfer.error, Refused) else Failed(str(transfer.error))
                if same_file:
                    return transfer.moved
                report = reporter(emit, cancelled)
                copy_blob(source, Path(request.path), Etag(request.etag), request.size, on_copied=report)
                return False
        finally:
            with self._lock:
                transfer.followers -= 1


def _check_same_file(request: FetchRequest, path: Path) -> None:
    """Refuse a path that means another file here than in the process that asked (a container's own file system)."""
    try:
        found = path.stat()
    except OSError as error:
        raise Refused(f"the agent cannot see {path}: {error.strerror}") from None
    if (found.st_dev, found.st_ino) != (request.dev, request.ino):
        raise Refused(f"{path} is another file where the agent runs; is this process in a container?")
