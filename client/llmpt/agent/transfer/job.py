"""One blob that is wanted on this machine, however many programs want it: it is taken from the LAN, or fetched for all of it.

A job sees, decides (`decision`), carries the step out (`work`), and sees again, in a thread of its own, until it is over.
Programs come and go (`subscribers`); the job goes on as long as one of them waits, and in the end each is told how it ended.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from llmpt.agent.transfer.decision import decide, is_cancellation
from llmpt.agent.transfer.parts import JobParts
from llmpt.agent.transfer.result import BrokenOff, JobResult, Whole
from llmpt.agent.transfer.state import JobState, after
from llmpt.agent.transfer.steps import Step
from llmpt.agent.transfer.subscribers import Subscribers
from llmpt.agent.transfer.work import NotWanted, Work
from llmpt.core import request_id
from llmpt.core.errors import LlmptError
from llmpt.disk.inventory import BlobOrigin
from llmpt.link.requests import FetchRequest

log = logging.getLogger("llmpt.agent")


class Job:
    """The job of one etag. `state` is where it is; `subscribers` are the programs that wait for it.

    `over`: set at the end, when every program has been told
    """

    def __init__(self, request: FetchRequest, parts: JobParts, on_over: Callable[[Job], None]) -> None:
        """`on_over` is called by the job's own thread when it is over and the programs have been told."""
        self.etag, self.size = request.etag, request.size
        self.state = JobState.LOOKING
        self.subscribers = Subscribers()
        self.over = threading.Event()
        self._timings, self._on_over = parts.timings, on_over
        self._seeds, self._origin = parts.seeds, BlobOrigin(request.repo, request.endpoint) if request.repo is not None else None
        self._work = Work(request, parts, self.subscribers)
        self._moved_on = threading.Condition()

    @property
    def is_wrong(self) -> bool:
        """Whether what the swarm has under the etag is not its content."""
        return self._work.is_wrong

    @property
    def fetched_bytes(self) -> int | None:
        """How far this machine's own fetch for all is; None when it does not fetch."""
        fetch = self._work.fetch
        return fetch.done_bytes if fetch is not None and self.state.is_ours else None

    def start(self) -> None:
        """Begin. The first program has to have joined: a job that is not wanted ends."""
        try:
            threading.Thread(target=request_id.carrying(self._run), name=f"job-{self.etag.value[:8]}", daemon=True).start()
        except RuntimeError as error:  # no thread is left: it ends at once, or its etag would never come to an end
            self._end(BrokenOff(f"the agent cannot begin it: {error}"))

    # A fetch for all, as the hook tells of it

    def watch(self, stem: Path, is_gone: Callable[[], bool], *, ready: Callable[[], None]) -> bool:
        """The program that was told to fetch for all begins, with a file whose path begins with `stem`: watch it until it lands.

        Returns when no download is watched any more, or at once with False when none is waited for. `ready` is called when
        the file may be made: what lies there before is another one. `is_gone` says whether the program has hung up.
        """
        with self._moved_on:
            fetch = self._work.fetch
            if self.state is not JobState.GRANTED or fetch is None or fetch.has_begun:
                return False
            fetch.begin(stem, is_gone)
        ready()
        with self._moved_on:
            self._moved_on.wait_for(lambda: self.state not in (JobState.GRANTED, JobState.WATCHED))
        return True

    def landed(self, path: Path) -> bool:
        """What was fetched for all lies at `path`; False when this machine does not fetch it."""
        with self._moved_on:
            fetch = self._work.fetch
            if self.state not in (JobState.GRANTED, JobState.WATCHED) or fetch is None:
                return False
            fetch.landed(path)
            return True

    # The loop

    def _run(self) -> None:
        result: JobResult = BrokenOff("the agent could not say how it ended")
        try:
            while not self.state.is_over:
                try:
                    step = decide(self.state, self._work.see(), self._timings)
                    if self._enter(step):
                        result = self._work.carry_out(step) or result
                except NotWanted:
                    if self.subscribers.close_if_none():
                        raise
                    self._work.begin_anew()  # another program has come at the very moment
                    self._move_on(JobState.LOOKING)
        except (LlmptError, OSError) as error:
            result = self._work.abandon(error)
        except Exception as error:
            log.exception("a bug of llmpt in the job of %s", self.etag)
            result = BrokenOff(f"a bug of llmpt ({type(error).__name__}): the agent's log has it")
        finally:
            self._end(result)

    def _enter(self, step: Step) -> bool:
        """Go to the state that `step` leads to; False when the job was to end for want of a program, and there is one now."""
        if is_cancellation(step) and not self.subscribers.close_if_none():
            return False
        self._move_on(after(self.state, step))
        return True

    def _move_on(self, state: JobState) -> None:
        with self._moved_on:
            self.state = state
            self._moved_on.notify_all()

    def _end(self, result: JobResult) -> None:
        try:
            if not self.state.is_over:
                self._move_on(JobState.ENDED)
            if self._origin is not None and (isinstance(result, Whole) or (isinstance(result, BrokenOff) and result.have)):
                self._seeds.comes_from(self.etag, self._origin)
            self._work.finish(result)
        finally:
            self._on_over(self)
            self.over.set()
