"""The queue at work: what the tracker's clients want from upstream, taken, fetched, and reported on.

take      rows that are queued (and, after a restart, those that ran): at a knock, else every ten seconds
look up   each row's commit and listing, a few at a time; a row that wants no more is done with that
fetch     the blobs that are not here, each once (`Fetcher`)
report    how far each row is, twice a second while it moves; and to the LAN's machines, who fetches what (`LeaseReports`)
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerRefused
from llmpt.hub.visibility import HubUnreachable
from llmpt_seeder.hub.tree import HubRefused
from llmpt_seeder.upstream.fetcher import Fetcher, Want
from llmpt_seeder.upstream.growing import Growths
from llmpt_seeder.upstream.jobs import UNREACHABLE, Job, Row, no
from llmpt_seeder.upstream.leases import LeaseReports
from llmpt_seeder.upstream.lookup import Lookup
from llmpt_seeder.upstream.process import Place
from llmpt_seeder.upstream.shelf import Shelf

log = logging.getLogger("llmpt.seeder")

TAKE_EVERY_S = 10.0
TICK_S = 0.1
REPORT_EVERY_S = 0.5
LOOKUPS = 4
END_TIMEOUT_S = 6.0
OPEN = "queued,running"


class Tracker(Protocol):
    """The calls of `llmpt.tracker.client.TrackerClient` that are used here."""

    def mirrors(self, states: str) -> list[dict[str, Any]]: ...

    def report_mirror(self, mirror_id: int, body: Mapping[str, object]) -> object: ...


class Mirroring:
    """Owns the jobs. `has` says whether a blob is here, verified, for others to have."""

    def __init__(
        self,
        *,
        connect: Callable[[], Tracker],
        lookup: Lookup,
        fetcher: Fetcher,
        growths: Growths,
        shelf: Shelf,
        leases: LeaseReports,
        has: Callable[[Etag], bool],
        beat: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self._connect, self._lookup, self._fetcher, self._growths = connect, lookup, fetcher, growths
        self._shelf, self._leases, self._has, self._beat, self._stop = shelf, leases, has, beat, stop
        self._due, self._knocked = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._jobs: dict[int, tuple[Job, dict[Etag, Want]]] = {}

    def knock(self) -> None:
        """Look at the queue now. May be called from any thread."""
        self._knocked.set()
        self._due.set()

    def hurry(self) -> None:
        """Something has come, or it is time to stop. May be called from any thread."""
        self._due.set()

    def run(self) -> None:
        """Work until told to stop."""
        self._fetcher.start()
        take_at = time.monotonic()
        with ThreadPoolExecutor(LOOKUPS, thread_name_prefix="look-up") as pool:
            while not self._stop.is_set():
                self._beat()
                self._due.clear()
                if self._knocked.is_set() or time.monotonic() >= take_at:
                    self._knocked.clear()
                    take_at = time.monotonic() + TAKE_EVERY_S
                    self._take(pool)
                    self._tidy()
                self._advance()
                self._leases.tell(self._fetcher.wants())
                busy = self._jobs or self._leases.are_held or self._fetcher.wants()
                self._due.wait(TICK_S if busy else max(0.0, take_at - time.monotonic()))
            pool.shutdown(cancel_futures=True)
        self._shelf.keep()
        self._fetcher.join(END_TIMEOUT_S)

    def _take(self, pool: ThreadPoolExecutor) -> None:
        """Begin with the rows that are new, listings first: somebody waits for those."""
        try:
            answer = self._connect().mirrors(OPEN)
        except TrackerError as error:
            log.debug("the queue cannot be read: %s", error)
            return
        rows = [row for said in answer if (row := Row.read(said)) is not None]
        with self._lock:
            new = [row for row in rows if row.id not in self._taken]
            self._taken.update(row.id for row in new)
        for row in sorted(new, key=lambda row: (bool(row.include), row.id)):
            pool.submit(self._begin, row)

    def _begin(self, row: Row) -> None:
        """Look a row up, and have its files fetched. Runs in the pool."""
        try:
            if not row.include:
                self._report(row.id, {"state": "running"})  # a long listing, and not a seeder that is away
            look = self._lookup.known if row.include else self._lookup.learn
            commit, listing = look(row.repo, row.revision)
            if not row.include:
                self._end(row.id, {"state": "done", "commit": commit})
                return
            files = row.chosen(listing)
            if not files:
                raise HubRefused(404, "EntryNotFound", f"no file of {row.repo}@{row.revision} is named like that", None)
            wants: dict[Etag, Want] = {}
            for path, file in sorted(files.items(), key=lambda item: item[1].size):  # what a program reads first is small
                if file.etag not in wants and not self._has(file.etag):
                    wants[file.etag] = self._fetcher.want(file, Place(row.repo, commit, path))
            with self._lock:
                self._jobs[row.id] = (Job(row, commit, files), wants)
            self._due.set()
        except HubRefused as error:
            if error.status < 500:
                said = no(error.message, error.status, error.code, error.retry_after_s)
            else:  # it is not well; that says nothing of what was asked for
                said = no(f"upstream cannot be used: it answered {error.status}, {error.message}", code=UNREACHABLE)
            self._end(row.id, {"state": "failed", "error": said})
        except HubUnreachable as error:
            self._end(row.id, {"state": "failed", "error": no(f"upstream cannot be reached: {error}", code=UNREACHABLE)})
        except TrackerRefused as error:
            self._end(row.id, {"state": "failed", "error": no(f"the tracker does not take its listing: {error}")})
        except TrackerError as error:
            log.info("%s@%s is put off: %s", row.repo, row.revision, error)
            with self._lock:
                self._taken.discard(row.id)
        except Exception as error:
            log.exception("looking up %s@%s failed", row.repo, row.revision)
            self._end(row.id, {"state": "failed", "error": no(f"something went wrong in the seeder ({type(error).__name__})")})

    def _advance(self) -> None:
        """Tell the tracker how far each job is; let go of those that have ended."""
        with self._lock:
            jobs = list(self._jobs.values())
        now = time.monotonic()
        for job, wants in jobs:
            if self._stop.is_set():
                return  # what is not finished goes on after a restart
            self._beat()
            said = self._state_of(job, wants)
            if said["state"] in ("done", "failed"):
                self._end(job.row.id, said)
                with self._lock:
                    del self._jobs[job.row.id]
                for want in wants.values():
                    self._fetcher.release(want)
            elif said != job.told and now - job.told_at >= REPORT_EVERY_S and (said["state"] != "queued" or job.is_news(said)):
                if not self._report(job.row.id, said):
                    return  # the tracker is away: the next one would cost a time-out, too
                job.told, job.told_at = said, now

    def _state_of(self, job: Job, wants: Mapping[Etag, Want]) -> dict[str, object]:
        """Say how a job is: it has ended when all of its files have."""
        total = sum(file.size for file in job.files.values())
        missing = sum(file.size - self._here(file.etag, file.size, wants) for file in job.files.values())
        done = sum(file.etag not in wants or wants[file.etag].state == "done" for file in job.files.values())
        states = {want.state for want in wants.values()}
        over = states <= {"done", "failed"}
        state = ("failed" if "failed" in states else "done") if over else "running" if "running" in states else "queued"
        said: dict[str, object] = {"state": state, "commit": job.commit, "files_total": len(job.files), "files_done": done}
        said |= {"bytes_total": total, "bytes_done": total - missing}
        error = next((want.error for want in wants.values() if want.error and want.state in ("waiting", "failed")), None)
        if error is not None:
            said["error"] = no(str(error), error.status, error.code, error.retry_after_s)
        return said

    def _here(self, etag: Etag, size: int, wants: Mapping[Etag, Want]) -> int:
        want = wants.get(etag)
        return size if want is None or want.state == "done" else min(want.bytes, size)

    def _end(self, row_id: int, said: Mapping[str, object]) -> None:
        """Report on a row for the last time. When the tracker is away the row stays open there, and is taken again."""
        self._report(row_id, said)
        with self._lock:
            self._taken.discard(row_id)

    def _report(self, row_id: int, said: Mapping[str, object]) -> bool:
        """Tell the tracker how a row is; return whether it has answered."""
        try:
            self._connect().report_mirror(row_id, said)
        except TrackerError as error:
            log.info("the tracker was not told of row %d: %s", row_id, error)
            return isinstance(error, TrackerRefused)
        return True

    def _tidy(self) -> None:
        """Write down what was wanted; what the service has by now need not be remembered here."""
        self._shelf.keep()
        self._growths.forget(self._has)
