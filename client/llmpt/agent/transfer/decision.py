"""What a job does next: a pure function of what is seen. docs/jobs.md lists the cases, each with its test.

    step = decide(JobState.LEECHING, sight, timings)

It holds no state, reads no clock and touches nothing: `job` sees, carries the step out, and sees again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llmpt.agent.transfer.result import BrokenOff, NotFromLan, Whole
from llmpt.agent.transfer.sight import Away, FetchSight, Http, Lacking, LeaseSight, LeechSight, Measuring, Sight, Unusable, Window
from llmpt.agent.transfer.steps import (
    Accuse,
    AskPermission,
    AskTracker,
    DropHttp,
    End,
    GiveUp,
    GoOn,
    GoOnSeeding,
    HandOver,
    Leech,
    LookAgain,
    LookAnew,
    LookUp,
    MeasureHub,
    Publish,
    Read,
    Stay,
    Step,
    TakeHttp,
    TakeLease,
    Verify,
    Watch,
)
from llmpt.agent.transfer.timings import JobTimings
from llmpt.core.leases import LeaseRole
from llmpt.swarm import Source

if TYPE_CHECKING:
    from llmpt.agent.transfer.state import JobState

CANCELLED = "cancelled"


def is_cancellation(step: Step) -> bool:
    """Whether the job is to end because no program waits for it."""
    match step:
        case End(NotFromLan(reason)) | GiveUp(reason):
            return reason == CANCELLED
    return False


def decide(state: JobState, sight: Sight, timings: JobTimings) -> Step:
    """Return what a job in `state` does about what it sees."""
    return _RULES[state.name](sight, timings)


# On the way to it


def _looking(sight: Sight, _: JobTimings) -> Step:
    if not sight.is_wanted:
        return End(NotFromLan(CANCELLED))
    if isinstance(sight.found, Away) or (sight.found is None and not sight.skips_look_up):
        return LookUp()
    if isinstance(sight.found, Source):
        return Leech(sight.found)
    if isinstance(sight.found, Unusable):
        return End(NotFromLan(sight.found.reason))
    if sight.why_not_shared is None:
        return AskPermission()
    if sight.why_not_shared:
        lacking = sight.found.reason if isinstance(sight.found, Lacking) else "the LAN does not have it"
        return End(NotFromLan(f"{lacking}; not waited for: {sight.why_not_shared}"))
    return AskTracker()


def _waiting(sight: Sight, timings: JobTimings) -> Step:
    lease = sight.lease or LeaseSight()
    if not sight.is_wanted:
        return End(NotFromLan(CANCELLED))
    if lease.error:
        return End(NotFromLan(lease.error))
    if lease.role is LeaseRole.FETCH:
        return TakeLease()
    if isinstance(sight.found, Source):
        return Leech(sight.found)
    if isinstance(sight.found, Unusable):
        return End(NotFromLan(sight.found.reason))
    if lease.role is LeaseRole.HERE and lease.is_fresh:
        return LookUp()
    if reason := _in_vain(lease, sight.ordinary_rate, timings):
        return End(NotFromLan(reason))
    if not sight.ordinary_rate and _needs_long(lease, timings):
        if sight.measuring is Measuring.UNTRIED:
            return MeasureHub()
        if sight.measuring is Measuring.IN_VAIN:
            return End(NotFromLan(f"{lease.fetcher} needs long for it, and how fast the Hub is here could not be measured"))
    return Stay()


def _needs_long(lease: LeaseSight, timings: JobTimings) -> bool:
    """Whether the machine that fetches it, at the pace of a whole window, will need longer than is waited for blindly."""
    window = lease.window
    return window.seconds >= timings.window_s and lease.left_bytes * window.seconds > timings.long_s * window.bytes


def _in_vain(lease: LeaseSight, ordinary_rate: int, timings: JobTimings) -> str:
    """Say why waiting for the lease's outcome is no better than fetching; nothing while it is."""
    if lease.role is None:
        return "" if lease.passed_over_s < timings.passed_over_s else "the tracker does not say who fetches it"
    if lease.role is LeaseRole.HERE:
        return "" if lease.here_s < timings.stall_s else "it was there, and is gone"
    if is_slow(lease.window, ordinary_rate, timings):
        return f"{lease.fetcher} fetches it much slower than the Hub has been here"
    return ""


def is_slow(window: Window, ordinary_rate: int, timings: JobTimings) -> bool:
    """Whether a whole window has brought less than an eighth of what the ordinary path would have."""
    return window.seconds >= timings.window_s and window.bytes < ordinary_rate / timings.times_slower * window.seconds


# On its way in


def _leeching(sight: Sight, timings: JobTimings) -> Step:
    leech = sight.leech or LeechSight()
    if step := _ended(sight, leech):
        return step
    if _brings_nothing(leech, timings):
        if leech.http is Http.UNTRIED and not leech.is_searching:
            return TakeHttp()
        if leech.is_abandoned or not leech.is_crowd or sight.why_not_shared:
            return _stands_still(leech, timings)
        return AskPermission() if sight.why_not_shared is None else AskTracker()
    if not leech.is_checking and is_slow(leech.window, sight.ordinary_rate, timings):
        reason = f"it is much slower than the Hub has been, {leech.done} of {leech.size} bytes had come"
        return GiveUp(reason, BrokenOff(reason))
    return _sources(leech, timings)


def _standing_still(sight: Sight, timings: JobTimings) -> Step:
    leech, lease = sight.leech or LeechSight(), sight.lease or LeaseSight()
    if step := _ended(sight, leech):
        return step
    if leech.has_come:
        return GoOn()
    if _brings_nothing(leech, timings):
        if leech.http is Http.UNTRIED and not leech.is_searching:
            return TakeHttp()
        if lease.role is LeaseRole.FETCH:
            return TakeLease(_silence(leech, timings))
        if leech.is_abandoned or lease.error or _in_vain(lease, sight.ordinary_rate, timings):
            return _stands_still(leech, timings)
    return _sources(leech, timings)


def _ended(sight: Sight, leech: LeechSight) -> Step | None:
    if leech.failure:
        return GiveUp(leech.failure, BrokenOff(leech.failure))
    if leech.is_whole:
        return Verify()
    if not sight.is_wanted:
        return GiveUp(CANCELLED, BrokenOff(CANCELLED))
    return None


def _sources(leech: LeechSight, timings: JobTimings) -> Step:
    if leech.looked_s > timings.look_again_s and not leech.is_searching:
        return LookAgain()
    if leech.trades:
        return DropHttp()
    return Stay()


def _brings_nothing(leech: LeechSight, timings: JobTimings) -> bool:
    if leech.is_checking:
        return False
    if not leech.was_met:
        if leech.is_abandoned and leech.http is not Http.TAKEN:
            return True
        if leech.http_s > timings.connect_s and _is_silent(leech, timings.connect_s, timings, connected=False):
            return True
    return _is_silent(leech, timings.stall_s, timings, connected=leech.is_connected)


def _is_silent(leech: LeechSight, after_s: float, timings: JobTimings, *, connected: bool) -> bool:
    """Whether it has been silent for too long: longer while it is `connected` and other blobs of the machine get on."""
    if leech.still_s > timings.times_longer * timings.stall_s:
        return True
    if leech.silent_s <= after_s:
        return False
    return not connected or leech.machine_still_s > after_s


def _silence(leech: LeechSight, timings: JobTimings) -> str:
    if not leech.was_met:
        return f"none of its {leech.told} peers answered" + ("" if leech.is_abandoned else f" in {timings.connect_s:.0f} s")
    return f"no byte for {timings.stall_s:g} s, {leech.done} of {leech.size} bytes had come"


def _stands_still(leech: LeechSight, timings: JobTimings) -> GiveUp:
    reason = _silence(leech, timings)
    return GiveUp(reason, BrokenOff(reason) if leech.was_met else NotFromLan(reason), bury=True)


def _verifying(sight: Sight, _: JobTimings) -> Step:
    if sight.verdict is None:
        raise AssertionError("nothing is decided before the verdict")
    if sight.is_accused:
        return Accuse(sight.verdict)
    if sight.verdict:
        return GiveUp(sight.verdict, BrokenOff(sight.verdict))
    return HandOver(move=sight.writer_waits)


def _handing_over(sight: Sight, _: JobTimings) -> Step:
    return GoOnSeeding() if sight.is_moved else End(Whole())


# Ours to fetch for all


def _granted(sight: Sight, timings: JobTimings) -> Step:
    fetch = sight.fetch or FetchSight()
    if fetch.landed is not None:
        return Read()
    if fetch.has_begun:
        return Watch()
    if fetch.granted_s > timings.begin_s:
        return LookAnew("the program that was to has not begun")
    return Stay()


def _watched(sight: Sight, timings: JobTimings) -> Step:
    fetch = sight.fetch or FetchSight()
    if fetch.landed is not None:
        return Read()
    if fetch.is_gone:
        return LookAnew(f"the download broke off after {fetch.done} bytes")
    if fetch.still_s > timings.still_s and sight.is_wanted:
        return LookAnew(f"the program that fetches it stands still after {fetch.done} bytes")
    return Stay()


def _reading(sight: Sight, _: JobTimings) -> Step:
    fetch = sight.fetch or FetchSight()
    return Publish() if fetch.is_right else LookAnew(fetch.failure)


def _publishing(sight: Sight, _: JobTimings) -> Step:
    fetch = sight.fetch or FetchSight()
    return GoOnSeeding() if fetch.is_published else End(Whole())


def _over(_: Sight, __: JobTimings) -> Step:
    raise AssertionError("a job that is over decides nothing")


_RULES: dict[str, Callable[[Sight, JobTimings], Step]] = {
    "LOOKING": _looking,
    "WAITING": _waiting,
    "LEECHING": _leeching,
    "STANDING_STILL": _standing_still,
    "VERIFYING": _verifying,
    "HANDING_OVER": _handing_over,
    "GRANTED": _granted,
    "WATCHED": _watched,
    "READING": _reading,
    "PUBLISHING": _publishing,
    "SEEDING": _over,
    "ENDED": _over,
}
