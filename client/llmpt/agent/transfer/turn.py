"""Whose turn is it to fetch a blob for the whole LAN? What one job asks, is told, and takes."""

from __future__ import annotations

from llmpt.agent.transfer import steps as to
from llmpt.agent.transfer.asking import Asking
from llmpt.agent.transfer.shared_fetch import ForAll, SharedFetch
from llmpt.agent.transfer.sight import LeaseSight, Measuring
from llmpt.agent.transfer.subscribers import has_blocks
from llmpt.agent.transfer.timings import JobTimings
from llmpt.link.requests import FetchRequest


class Turn:
    """The tracker's word on one blob. `for_all` None: this machine shares nothing, so it is never asked.

    `why_not_shared`: why the blob may not be fetched for all; empty when it may, None before that was asked
    """

    def __init__(self, request: FetchRequest, for_all: ForAll | None, timings: JobTimings) -> None:
        self.why_not_shared: str | None = None
        self._etag, self._size, self._repo = request.etag, request.size, request.repo
        self._for_all, self._timings = for_all, timings
        self._asking: Asking | None = None
        if for_all is not None:
            for_all.hub_rate.heard(request.ordinary_rate_bytes_s)

    @property
    def is_asked(self) -> bool:
        """Whether the tracker is being asked."""
        return self._asking is not None

    @property
    def fetched(self) -> tuple[int, int]:
        """How far the machine that fetches it is: bytes, and bytes per second."""
        return self._asking.fetched if self._asking is not None else (0, 0)

    def skips_look_up(self, request: FetchRequest) -> bool:
        """Whether the LAN lacked another file of the repo a moment ago, and no earlier try has left a part of this one."""
        if self._for_all is None or self._repo is None or has_blocks(request.path):
            return False
        return self._for_all.lacks(self._repo)

    def ordinary_rate(self, request: FetchRequest | None) -> int:
        """Return how fast the Hub is here: what the program has measured, else what this machine remembers; 0: not known."""
        measured = request.ordinary_rate_bytes_s if request is not None else 0
        return measured or (self._for_all.hub_rate.bytes_s if self._for_all is not None else 0)

    @property
    def measuring(self) -> Measuring:
        """What has become of measuring that."""
        return self._for_all.hub_rate.measuring if self._for_all is not None else Measuring.IN_VAIN

    def carry_out(self, step: to.Step, request: FetchRequest) -> None:
        """Do what was decided about asking."""
        match step:
            case to.AskPermission():
                self.ask_permission(request)
            case to.AskTracker():
                self.ask()
            case to.MeasureHub() if self._for_all is not None:
                self._for_all.hub_rate.measure(request)
            case to.GoOn():
                self.stop()

    def ask_permission(self, request: FetchRequest) -> None:
        """Find out whether the blob may be fetched for all; may wait for the Hub for a moment."""
        if self._for_all is None:
            self.why_not_shared = "LLMPT_SHARE=off"
            return
        self.why_not_shared = self._for_all.permission.why_not(request)
        if self.why_not_shared:
            self._note(lacks=False)

    def ask(self) -> None:
        """Ask the tracker, and go on asking until `stop`."""
        if self._for_all is not None and self._repo is not None:
            self._asking = Asking(self._for_all.leases, self._etag, self._size, self._repo, self._timings)

    def see(self, wait_s: float) -> LeaseSight | None:
        """Wait for an answer, `wait_s` at most, and say what the last one was; None when the tracker is not asked."""
        return self._asking.see(wait_s) if self._asking is not None else None

    def note_found(self) -> None:
        """The blob was found; if that was the tracker's first word, the LAN does have files of this repo."""
        if self._asking is not None and self._asking.was_there_at_once:
            self._note(lacks=False)

    def take(self, request: FetchRequest, *, has_rest: bool) -> SharedFetch | None:
        """Take the lease for the program of `request`; None where nothing is shared."""
        if self._for_all is None:
            return None
        self._note(lacks=True)
        fetch = SharedFetch(request, self._for_all, has_rest=has_rest)
        self.stop()
        return fetch

    def stop(self) -> None:
        """Ask no longer. A lease that was not taken by now goes to another machine."""
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def _note(self, *, lacks: bool) -> None:
        if self._for_all is not None and self._repo is not None:
            self._for_all.note(self._repo, lacks=lacks)
