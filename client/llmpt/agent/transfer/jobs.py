"""The jobs of this machine: one for each blob that is wanted, however many programs want it.

A request joins the job of its etag, or begins it. The program in whose file a blob was written gets that file; the others
get a copy (a reflink where the file system can).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmpt.agent.seeding.seeds import Seeds
from llmpt.agent.transfer.bar import Bar
from llmpt.agent.transfer.decision import CANCELLED
from llmpt.agent.transfer.job import Job
from llmpt.agent.transfer.partials import Partials
from llmpt.agent.transfer.parts import JobParts
from llmpt.agent.transfer.record import Record
from llmpt.agent.transfer.result import BrokenOff, FetchForAll, JobResult, NotFromLan, Whole
from llmpt.agent.transfer.subscribers import Subscriber
from llmpt.agent.transfer.target import Target
from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch, LlmptError
from llmpt.core.files import FileId
from llmpt.disk.copying import copy_blob
from llmpt.disk.opening import open_file
from llmpt.link.answers import Done, Failed, Progress, Refused
from llmpt.link.requests import FetchRequest

log = logging.getLogger("llmpt.agent")

ENDING_S = 10.0
WORTH_A_LINE_S = 1.0  # what was waited for in vain

Emit = Callable[[Progress], None]
Cancelled = Callable[[], bool]


class Stopped(LlmptError):
    """The program has hung up while its file was being copied."""


@dataclass(frozen=True, slots=True)
class SharedFetchReport:
    """A blob that this machine fetches for the whole LAN: how many bytes it has, and how many are there."""

    etag: Etag
    size: int
    done_bytes: int


class Jobs:
    """Owns the jobs. `fetch`, `watch` and `finish` are called by one thread per request. `records` are the latest
    requests, `ended` counts all that are over by their outcome."""

    def __init__(self, parts: JobParts, partials: Partials) -> None:
        self._parts, self._partials = parts, partials
        self._seeds: Seeds = parts.seeds
        self._lock = threading.Lock()
        self._running: dict[Etag, Job] = {}
        self._wrong_until: dict[Etag, float] = {}
        self.records: deque[Record] = deque(maxlen=1000)
        self.ended: Counter[str] = Counter()

    def fetch(self, request: FetchRequest, emit: Emit, cancelled: Cancelled) -> Done | Refused | Failed:
        """Serve one request; `emit` is called with progress until then."""
        record = Record.begin(request)
        self.records.append(record)
        is_moved = False
        result: JobResult
        try:
            result, is_moved = self._serve(request, record, emit, cancelled)
        except (LlmptError, OSError) as error:
            result = BrokenOff(str(error))
        said = self._say(request, record, result, is_moved=is_moved)
        with self._lock:
            self.ended[record.outcome] += 1
        if not is_moved and cancelled():
            self._tidy(request)
        elif isinstance(result, Whole):
            self._partials.done(request.path)
        return said

    def watch(self, etag: Etag, stem: Path, gone: Callable[[], bool], *, ready: Callable[[], None]) -> None:
        """Watch the file that a program downloads for all, until it has landed or its program is `gone`; see `Job.watch`."""
        job = self._job(etag)
        if job is None or not job.watch(stem, gone, ready=ready):
            ready()

    def landed(self, etag: Etag, path: Path) -> Callable[[], None] | None:
        """A program says that a blob lies at `path`. Where that was fetched for all, return what waits for the end of its job."""
        job = self._job(etag)
        return None if job is None or not job.landed(path) else _waiter(job)

    def running(self) -> list[Job]:
        """Return the jobs that are not over."""
        with self._lock:
            return list(self._running.values())

    def fetching(self) -> list[SharedFetchReport]:
        """Return what this machine fetches for all now."""
        found = ((job, job.fetched_bytes) for job in self.running())
        return [SharedFetchReport(job.etag, job.size, done) for job, done in found if done is not None]

    # One request

    def _serve(self, request: FetchRequest, record: Record, emit: Emit, cancelled: Cancelled) -> tuple[JobResult, bool]:
        """Return how it ended, and whether the file was moved to its destination."""
        if reason := _why_another_file(request):
            return NotFromLan(reason), False
        self._partials.asked(request.path, request.file.ino)
        while True:
            here = self._seeds.find(request.etag)
            if here is not None and here.path != request.path:
                try:
                    with open(open_file(here.path), "rb", buffering=0) as source:  # noqa: PTH123  (a descriptor)
                        self._copy(source.fileno(), request, emit, cancelled)
                except ContentMismatch as error:  # a disk that rots: the LAN may have it right
                    log.warning("%s is no longer seeded from %s: %s", request.etag, here.path, error)
                    self._seeds.withdraw(request.etag)
                    continue
                return Whole(), False
            if self._wrong_until.get(request.etag, 0.0) > time.monotonic():
                return NotFromLan("what the swarm has under this etag is not its content"), False
            job, subscriber = self._join(request, record)
            if subscriber is None:
                if job.over.wait(ENDING_S):  # it is ending at this moment
                    continue
                return NotFromLan("an earlier download of it does not come to its end"), False
            result = self._attend(job, subscriber, emit, cancelled)
            if subscriber.copy_from is not None:
                with _closing(subscriber.copy_from) as whole:
                    self._copy(whole, request, emit, cancelled)
                record.download = None  # no other machine gave it this one: it is a copy of another program's file
            return result, subscriber.is_moved

    def _join(self, request: FetchRequest, record: Record) -> tuple[Job, Subscriber | None]:
        """Wait for the job of an etag, which is begun if there is none; None: it is just ending."""
        with self._lock:
            job = self._running.get(request.etag)
            if job is not None:
                return job, job.subscribers.join(request, record)
            job = self._running[request.etag] = Job(request, self._parts, self._over)
            subscriber = job.subscribers.join(request, record)
        job.start()
        return job, subscriber

    def _attend(self, job: Job, subscriber: Subscriber, emit: Emit, cancelled: Cancelled) -> JobResult:
        """Pass on what the job tells until it says how it ended, or the program hangs up."""
        timings = self._parts.timings
        seen, said_at = 0, time.monotonic()
        while True:
            early_s = said_at + timings.progress_s - time.monotonic()
            progress, version = job.subscribers.hear(
                subscriber, None if early_s > 0 else seen, early_s if early_s > 0 else timings.progress_s
            )
            if subscriber.result is not None:
                return subscriber.result
            if cancelled():
                job.subscribers.leave(subscriber)
                return subscriber.result or BrokenOff(CANCELLED)
            now = time.monotonic()
            if now - said_at >= (timings.progress_s if version != seen else timings.keep_alive_s):
                seen, said_at = version, now
                emit(progress)

    def _copy(self, source: int, request: FetchRequest, emit: Emit, cancelled: Cancelled) -> None:
        bar, said_at = Bar(request.size), time.monotonic()

        def on_copied(done: int) -> None:
            nonlocal said_at
            if time.monotonic() - said_at >= self._parts.timings.progress_s:
                said_at = time.monotonic()
                if cancelled():
                    raise Stopped(CANCELLED)
                emit(Progress(bar.arriving(done)))

        with Target(request.path, request.file) as target:
            copy_blob(source, target.descriptor, request.etag, request.size, on_copied=on_copied)

    def _tidy(self, request: FetchRequest) -> None:
        """The program has hung up, perhaps while this process was suspended, and may have got the file another way."""
        try:
            has_it = not request.replace and request.destination.stat().st_size == request.size
        except OSError:
            return
        job = self._job(request.etag)  # which may go on for others, in this very file
        if has_it and (job is None or job.over.wait(ENDING_S)):
            self._partials.left(request.path)

    def _say(self, request: FetchRequest, record: Record, result: JobResult, *, is_moved: bool) -> Done | Refused | Failed:
        """Note and log how a request ended, and put it into the words of the socket."""
        if isinstance(result, Whole):
            record.end("done", "", moved=is_moved)
            log.info(
                "%s: %d bytes from %d peers in %.2f s", request.title, record.bytes_from_lan, record.machines, record.seconds
            )
            return Done(is_moved, record.bytes_from_lan, record.bytes_by_http, record.machines, record.seconds)
        is_ours = isinstance(result, FetchForAll)
        if isinstance(result, BrokenOff) or (isinstance(result, FetchForAll) and result.have):
            record.end("failed", result.reason)
            log.warning("%s: %s", request.title, result.reason)
            return Failed(result.reason, result.have, fetch=is_ours)
        record.end("refused", result.reason)
        in_vain = record.seconds > WORTH_A_LINE_S and not is_ours
        log.log(logging.INFO if in_vain else logging.DEBUG, "%s: %s", request.title, result.reason)
        return Refused(result.reason, fetch=is_ours)

    # The table

    def _job(self, etag: Etag) -> Job | None:
        with self._lock:
            return self._running.get(etag)

    def _over(self, job: Job) -> None:
        with self._lock:
            if self._running.get(job.etag) is job:
                del self._running[job.etag]
            if job.is_wrong:
                self._wrong_until[job.etag] = time.monotonic() + self._parts.timings.wrong_s


def _waiter(job: Job) -> Callable[[], None]:
    def wait() -> None:
        job.over.wait()

    return wait


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _why_another_file(request: FetchRequest) -> str:
    """Say why a path means another file here than in the process that asked (in a container, say); empty when it does not."""
    try:
        found = request.path.stat()
    except OSError as error:
        return f"the agent cannot see {request.path}: {error.strerror}"
    if FileId.of(found) != request.file:
        return f"{request.path} is another file where the agent runs; is this process in a container?"
    return ""
