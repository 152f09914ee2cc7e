"""What a job has in hand, what it sees of it, and how each step is carried out. All by the job's own thread."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from llmpt.agent.directory import Directory
from llmpt.agent.seeding.seeds import Seeds
from llmpt.agent.transfer import steps as to
from llmpt.agent.transfer.asking import Asking
from llmpt.agent.transfer.bar import Bar
from llmpt.agent.transfer.decision import CANCELLED
from llmpt.agent.transfer.leeching import Leeching
from llmpt.agent.transfer.result import BrokenOff, FetchForAll, JobResult, Ranges, Whole
from llmpt.agent.transfer.shared_fetch import ForAll, SharedFetch
from llmpt.agent.transfer.sight import LookUpAnswer, Sight
from llmpt.agent.transfer.sources import look_up
from llmpt.agent.transfer.subscribers import Subscribers, has_blocks
from llmpt.agent.transfer.timings import JobTimings
from llmpt.core.errors import ContentMismatch, LlmptError
from llmpt.core.metainfo import Metainfo
from llmpt.link.answers import Progress
from llmpt.link.requests import FetchRequest
from llmpt.swarm import Engine, Source

log = logging.getLogger("llmpt.agent")


@dataclass(frozen=True, slots=True)
class JobParts:
    """What every job of a machine works with.

    `engine`: the swarm
    `directory`: what the tracker says
    `seeds`: the blobs that lie on this machine
    `for_all`: what it takes to fetch for the whole LAN; None where nothing is shared
    `on_wrong`: told of torrents whose content is not that of their etag, with the reason
    `timings`: how long is waited for what
    """

    engine: Engine
    directory: Directory
    seeds: Seeds
    for_all: ForAll | None = None
    on_wrong: Callable[[Metainfo, str], None] = lambda _torrent, _reason: None
    timings: JobTimings = field(default_factory=JobTimings)


class NotWanted(LlmptError):
    """The last program has hung up in the middle of a step."""


class Work:
    """The work on one blob. `see` and `carry_out` go on with it, `finish` ends it.

    `is_wrong`: what the swarm has under the etag is not its content
    `fetch`: this machine's own fetch for all; None while there is none
    """

    def __init__(self, request: FetchRequest, parts: JobParts, subscribers: Subscribers) -> None:
        self.is_wrong = False
        self.fetch: SharedFetch | None = None
        self._etag, self._size, self._repo = request.etag, request.size, request.repo
        self._parts, self._subscribers = parts, subscribers
        self._bar = Bar(request.size)
        self._found: LookUpAnswer | None = None
        self._why_not_shared: str | None = None
        self._asking: Asking | None = None
        self._leeching: Leeching | None = None
        self._own: FetchRequest | None = None  # the request in whose file the download is written
        self._verdict: str | None = None
        self._is_moved: bool | None = None
        self._file: int | None = None  # a descriptor of that file

    # What is seen

    def see(self) -> Sight:
        """Wait a moment for something to change, where there is something to wait for, and say what is seen."""
        first = self._subscribers.first
        request = first.request if first is not None else None
        wait_s = self._parts.timings.progress_s
        lease = leech = fetch = None
        if self._leeching is not None and self._verdict is None:
            leech = self._leeching.see(wait_s, is_appealed=self._asking is not None)
            lease = self._asking.see(0) if self._asking is not None else None
            self._show_arriving(0 if leech.is_checking else leech.done)
        elif self._asking is not None:
            lease = self._asking.see(wait_s)
            self._show_waiting(*self._asking.fetched)
        elif self.fetch is not None:
            fetch = self.fetch.see(self._parts.timings.growth_s)
            self._show_waiting(fetch.done, 0)
        return Sight(
            is_wanted=request is not None,
            writer_waits=self._own is not None and self._subscribers.of(self._own.file) is not None,
            ordinary_rate=request.ordinary_rate_bytes_s if request is not None else 0,
            found=self._found,
            skips_look_up=request is not None and self._found is None and self._skips_look_up(request),
            why_not_shared=self._why_not_shared,
            lease=lease,
            leech=leech,
            verdict=self._verdict,
            is_accused=self.is_wrong,
            is_moved=self._is_moved,
            fetch=fetch,
        )

    def _skips_look_up(self, request: FetchRequest) -> bool:
        for_all = self._parts.for_all
        return for_all is not None and self._repo is not None and for_all.lacks(self._repo) and not has_blocks(request.path)

    def _show_arriving(self, done: int) -> None:
        download = self._leeching.download if self._leeching is not None else None
        rate, peers = (download.rate_bytes_s, download.peers) if download is not None else (0, 0)
        self._subscribers.show(Progress(self._bar.arriving(done), rate, peers))

    def _show_waiting(self, fetched: int, rate: int) -> None:
        self._subscribers.show(Progress(self._bar.waiting(fetched), rate, 0, waiting=True))

    # What is done

    def carry_out(self, step: to.Step) -> JobResult | None:
        """Do what was decided; return how the job has ended, if it has."""
        match step:
            case to.End(result):
                return result
            case to.GiveUp():
                return self._give_up(step)
            case to.Accuse(reason):
                return self._accuse(reason)
            case to.GoOnSeeding():
                return self._go_on_seeding()
            case to.Leech(source):
                self._leech(source)
            case to.TakeLease(reason):
                self._take_lease(reason)
            case to.HandOver(move):
                self._hand_over(move=move)
            case to.LookAnew(reason):
                self._look_anew(reason)
            case _:
                self._plainly(step)
        return None

    def _plainly(self, step: to.Step) -> None:
        leeching, fetch = self._leeching, self.fetch
        match step:
            case to.LookUp():
                self._look_up()
            case to.AskPermission():
                self._ask_permission()
            case to.AskTracker():
                self._ask_tracker()
            case to.GoOn():
                self._stop_asking()
            case to.Verify():
                self._verify()
            case to.LookAgain() if leeching is not None:
                leeching.look_again()
            case to.TakeHttp() if leeching is not None:
                leeching.take_http()
            case to.DropHttp() if leeching is not None:
                leeching.drop_http()
            case to.Read() if fetch is not None:
                fetch.read()
            case to.Publish() if fetch is not None:
                fetch.publish()

    def _look_up(self) -> None:
        first, timings = self._subscribers.first, self._parts.timings
        resumes = first is not None and has_blocks(first.request.path)
        answer = look_up(
            self._parts.directory, self._etag, self._size, resumes=resumes, worth_http_bytes=timings.worth_http_bytes
        )
        if isinstance(answer, Source) and self._asking is not None and self._asking.was_there_at_once:
            self._note_repo(lacks=False)
        self._found = answer

    def _ask_permission(self) -> None:
        first, for_all = self._subscribers.first, self._parts.for_all
        if for_all is None:
            self._why_not_shared = "LLMPT_SHARE=off"
        elif first is not None:
            self._why_not_shared = for_all.permission.why_not(first.request)
            if self._why_not_shared:
                self._note_repo(lacks=False)

    def _note_repo(self, *, lacks: bool) -> None:
        if self._parts.for_all is not None and self._repo is not None:
            self._parts.for_all.note(self._repo, lacks=lacks)

    def _ask_tracker(self) -> None:
        for_all = self._parts.for_all
        if for_all is not None and self._repo is not None:
            self._asking = Asking(for_all.leases, self._etag, self._size, self._repo, self._parts.timings)

    def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def _leech(self, source: Source) -> None:
        self._stop_asking()
        first = self._subscribers.first
        if first is None:
            raise NotWanted(CANCELLED)
        self._own = first.request
        self._leeching = Leeching(source, self._own.path, self._parts.engine, self._parts.directory, self._parts.timings)
        self._file = self._leeching.open_file()
        first.record.download = self._leeching.download

    def _take_lease(self, reason: str) -> None:
        """Take the lease, and tell a program to fetch: the one whose file has the most of it, if it still waits."""
        for_all, first = self._parts.for_all, self._subscribers.first
        if for_all is None or first is None:
            raise NotWanted(CANCELLED)
        have: Ranges = ()
        if self._leeching is not None and self._own is not None:
            have = self._let_go(bury=True)
            own = self._subscribers.of(self._own.file)
            first, have = (own, have) if own is not None else (first, ())
        self._note_repo(lacks=True)
        self.fetch = SharedFetch(first.request, for_all, has_rest=bool(have))
        self._stop_asking()
        words = "this machine fetches it for all"
        self._subscribers.tell(first, FetchForAll(f"{reason}; {words}" if reason else words, have))

    def _look_anew(self, reason: str) -> None:
        log.info("%s was not fetched: %s", self._etag, reason)
        if self.fetch is not None:
            self.fetch.end()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Programs still wait, and nothing is in hand."""
        self._stop_asking()
        self._let_go(bury=False)
        self._close_file()
        self.fetch = self._found = self._own = self._verdict = self._why_not_shared = None

    def _verify(self) -> None:
        if self._leeching is None or self._own is None:
            raise AssertionError("there is nothing to verify")
        self._stop_asking()
        try:
            self._leeching.verify(self._still_wanted)
        except NotWanted:
            raise
        except ContentMismatch as error:
            self._verdict, self.is_wrong = str(error), True
        except (LlmptError, OSError) as error:
            self._verdict = str(error)
        else:
            self._verdict = ""
        own = self._subscribers.of(self._own.file)
        if own is not None:
            own.record.tail_bytes = self._leeching.tail_bytes

    def _still_wanted(self) -> None:
        if self._subscribers.first is None:
            raise NotWanted(CANCELLED)
        self._show_arriving(self._size)

    def _hand_over(self, *, move: bool) -> None:
        """Move the verified blob to its destination; where that cannot be, the hook does it, and will say where it landed."""
        leeching, own = self._leeching, self._own
        if leeching is None or own is None:
            raise AssertionError("there is nothing to hand over")
        writer = self._subscribers.of(own.file)
        own = self._own = writer.request if writer is not None else own
        self._is_moved = move and not own.replace and not own.destination.exists() and leeching.move(own.destination)
        if not self._is_moved:
            leeching.withdraw()
            self._parts.seeds.expect(leeching.metainfo, own.path)

    def _go_on_seeding(self) -> Whole:
        seeds, fetch = self._parts.seeds, self.fetch
        if fetch is not None and fetch.metainfo is not None and fetch.path is not None:
            seeds.add(fetch.metainfo, fetch.path)
            log.info("%s was fetched for all: published, and seeded from %s", self._etag, fetch.path)
        elif self._leeching is not None and self._own is not None:
            seeds.add(self._leeching.metainfo, self._own.destination, serving=True)
        return Whole()

    # How it ends

    def _accuse(self, reason: str) -> BrokenOff:
        if self._leeching is not None:
            self._leeching.withdraw()
            self._parts.on_wrong(self._leeching.metainfo, reason)
        return BrokenOff(reason)

    def _give_up(self, step: to.GiveUp) -> JobResult:
        have = self._let_go(bury=step.bury)
        return BrokenOff(step.reason, have) if have else step.nothing

    def _let_go(self, *, bury: bool) -> Ranges:
        """End the download; return what of its file is verified: the hook fetches the rest, and tells where it lies."""
        leeching = self._leeching
        if leeching is None:
            return ()
        have = leeching.give_up(bury=bury)
        leeching.close()
        self._leeching = None
        if have:
            self._parts.seeds.expect(leeching.metainfo, leeching.path)
        return have

    def abandon(self, error: Exception) -> BrokenOff:
        """Something has gone wrong on the way: let go of everything, and say what can be used."""
        return BrokenOff(str(error), self._let_go(bury=False))

    def finish(self, result: JobResult) -> None:
        """End whatever is still open, and tell every program how it ended."""
        self._stop_asking()
        if self.fetch is not None:
            self.fetch.end()
        if self._leeching is not None:
            if not isinstance(result, Whole):
                self._leeching.withdraw()
            self._leeching.close()
        own = self._own.file if self._own is not None else None
        if self.fetch is not None and self.fetch.path is not None and isinstance(result, Whole):
            self._close_file()
            self._file, own = os.open(self.fetch.path, os.O_RDONLY | os.O_CLOEXEC), None
        part: JobResult = BrokenOff(result.reason) if isinstance(result, BrokenOff) else result
        whole = self._file if isinstance(result, Whole) else None
        try:
            self._subscribers.tell_all(result, whole=whole, own=own, is_moved=bool(self._is_moved), part=part)
        finally:
            self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
