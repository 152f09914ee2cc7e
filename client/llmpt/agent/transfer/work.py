"""What a job has in hand, what it sees of it, and how each step is carried out. All by the job's own thread."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack

from llmpt.agent.transfer import steps as to
from llmpt.agent.transfer.bar import Bar
from llmpt.agent.transfer.decision import CANCELLED
from llmpt.agent.transfer.leeching import Leeching
from llmpt.agent.transfer.parts import JobParts
from llmpt.agent.transfer.result import BrokenOff, FetchForAll, JobResult, Ranges, Whole
from llmpt.agent.transfer.shared_fetch import SharedFetch
from llmpt.agent.transfer.sight import LookUpAnswer, Sight
from llmpt.agent.transfer.sources import look_up
from llmpt.agent.transfer.subscribers import Subscribers, has_blocks
from llmpt.agent.transfer.turn import Turn
from llmpt.core.errors import ContentMismatch, LlmptError
from llmpt.disk.opening import open_file
from llmpt.link.answers import Progress
from llmpt.link.requests import FetchRequest
from llmpt.swarm import Source

log = logging.getLogger("llmpt.agent")


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
        self._etag, self._size = request.etag, request.size
        self._parts, self._subscribers = parts, subscribers
        self._bar = Bar(request.size)
        self._found: LookUpAnswer | None = None
        self._turn = Turn(request, parts.for_all, parts.timings)
        self._leeching: Leeching | None = None
        self._own: FetchRequest | None = None  # the request in whose file the download is written
        self._verdict: str | None = None
        self._is_moved: bool | None = None
        self._file: int | None = None  # a descriptor of that file

    # What is seen

    def see(self) -> Sight:
        """Wait a moment for something to change, where there is something to wait for, and say what is seen."""
        request = first.request if (first := self._subscribers.first) is not None else None
        wait_s = self._parts.timings.progress_s
        lease = leech = fetch = None
        if self._leeching is not None and self._verdict is None:
            leech = self._leeching.see(wait_s, is_appealed=self._turn.is_asked)
            lease = self._turn.see(0)
            self._show_arriving(0 if leech.is_checking else leech.done)
        elif self._turn.is_asked:
            lease = self._turn.see(wait_s)
            self._show_waiting(*self._turn.fetched)
        elif self.fetch is not None:
            fetch = self.fetch.see(self._parts.timings.growth_s)
            self._show_waiting(fetch.done, 0)
        return Sight(
            is_wanted=request is not None,
            writer_waits=self._own is not None and self._subscribers.of(self._own.file) is not None,
            ordinary_rate=self._turn.ordinary_rate(request),
            measuring=self._turn.measuring,
            found=self._found,
            skips_look_up=request is not None and self._found is None and self._turn.skips_look_up(request),
            why_not_shared=self._turn.why_not_shared,
            lease=lease,
            leech=leech,
            verdict=self._verdict,
            is_accused=self.is_wrong,
            is_moved=self._is_moved,
            fetch=fetch,
        )

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
            case to.AskPermission() | to.AskTracker() | to.MeasureHub() | to.GoOn():
                self._turn.carry_out(step, self._first())
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
        request, worth = self._first(), self._parts.timings.worth_http_bytes
        resumes, of, directory = has_blocks(request.path), request.of, self._parts.directory
        answer = look_up(directory, self._etag, self._size, resumes=resumes, worth_http_bytes=worth, of=of)
        if isinstance(answer, Source):
            self._turn.note_found()
        self._found = answer

    def _first(self) -> FetchRequest:
        """The request that has waited longest. Raises `NotWanted` when there is none any more."""
        first = self._subscribers.first
        if first is None:
            raise NotWanted(CANCELLED)
        return first.request

    def _leech(self, source: Source) -> None:
        self._turn.stop()
        self._own = self._first()
        self._leeching = Leeching(source, self._own, self._parts)
        self._file = self._leeching.open_file()
        if (writer := self._subscribers.of(self._own.file)) is not None:
            writer.record.download = self._leeching.download

    def _take_lease(self, reason: str) -> None:
        """Take the lease, and tell a program to fetch: the one whose file has the most of it, if it still waits."""
        first = self._subscribers.first
        if first is None:
            raise NotWanted(CANCELLED)
        have: Ranges = ()
        if self._leeching is not None and self._own is not None:
            have = self._let_go(bury=True)
            own = self._subscribers.of(self._own.file)
            first, have = (own, have) if own is not None else (first, ())
        self.fetch = self._turn.take(first.request, has_rest=bool(have))
        words = "this machine fetches it for all"
        self._subscribers.tell(first, FetchForAll(f"{reason}; {words}" if reason else words, have))

    def _look_anew(self, reason: str) -> None:
        log.info("%s was not fetched: %s", self._etag, reason)
        if self.fetch is not None:
            self.fetch.end()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Programs still wait, and nothing is in hand."""
        self._turn.stop()
        self._let_go(bury=False)
        self._close_file()
        self.fetch = self._found = self._own = self._verdict = None

    def _verify(self) -> None:
        if self._leeching is None or self._own is None:
            raise AssertionError("there is nothing to verify")
        self._turn.stop()
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
            self._parts.seeds.expect(leeching.metainfo, leeching.stamp())

    def _go_on_seeding(self) -> Whole:
        """Whatever hinders that, the blob is where it belongs."""
        seeds, fetch = self._parts.seeds, self.fetch
        try:
            if fetch is not None and fetch.metainfo is not None and fetch.path is not None:
                seeds.add(fetch.metainfo, fetch.path, read_as=fetch.stamp)
                log.info("%s was fetched for all: published, and seeded from %s", self._etag, fetch.path)
            elif self._leeching is not None and self._own is not None:
                leeching = self._leeching
                seeds.add(leeching.metainfo, self._own.destination, read_as=leeching.stamp(), serving=leeching.is_seeded)
        except (LlmptError, OSError) as error:
            log.warning("%s is whole, and not seeded: %s", self._etag, error)
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
        if have:
            self._parts.seeds.expect(leeching.metainfo, leeching.stamp())
        leeching.close()
        self._leeching = None
        return have

    def abandon(self, error: Exception) -> BrokenOff:
        """Something has gone wrong on the way: let go of everything, and say what can be used."""
        return BrokenOff(str(error), self._let_go(bury=False))

    def finish(self, result: JobResult) -> None:
        """End whatever is still open, and tell every program how it ended."""
        try:
            with ExitStack() as until:
                until.callback(self._turn.stop)
                if self.fetch is not None:
                    until.callback(self.fetch.end)
                if self._leeching is not None:
                    until.callback(self._leeching.close)
                    if not isinstance(result, Whole):
                        until.callback(self._leeching.withdraw)
        finally:
            self._tell(result)

    def _tell(self, result: JobResult) -> None:
        own = self._own.file if self._own is not None else None
        try:
            if self.fetch is not None and self.fetch.path is not None and isinstance(result, Whole):
                self._close_file()
                self._file, own = open_file(self.fetch.path), None
        except OSError as error:
            result = BrokenOff(f"what was fetched for all is gone: {error}")
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
