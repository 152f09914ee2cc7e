"""What a job does about what it sees: a table for each state. No threads, no clock, no patched constants."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from llmpt.agent.transfer import steps as to
from llmpt.agent.transfer.decision import CANCELLED, decide, is_cancellation, is_slow
from llmpt.agent.transfer.result import BrokenOff, NotFromLan, Whole
from llmpt.agent.transfer.sight import (
    Away,
    FetchSight,
    Http,
    Lacking,
    LeaseSight,
    LeechSight,
    Measuring,
    Sight,
    Unusable,
    Window,
)
from llmpt.agent.transfer.state import TRANSITIONS, JobState, after
from llmpt.agent.transfer.timings import JobTimings
from llmpt.core.blob import Etag
from llmpt.core.leases import LeaseRole
from llmpt.core.metainfo import Metainfo
from llmpt.swarm import Source

T = JobTimings(stall_s=5.0)
META = Metainfo(Etag("a" * 64), 1 << 20, bytes(32), bytes(32 * 16))
FOUND = Source(META, (("10.0.0.1", 1),), "", None)
SLOW = Window(10.0, 99)  # beside a Hub of 80 bytes per second: an eighth would be 100
ENOUGH = Window(10.0, 100)


def looking(**seen: object) -> Sight:
    return replace(Sight(), **seen)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sight", "step"),
    [
        (looking(), to.LookUp()),
        (looking(skips_look_up=True), to.AskPermission()),
        (looking(skips_look_up=True, why_not_shared=""), to.AskTracker()),
        (looking(found=FOUND), to.Leech(FOUND)),
        (looking(found=FOUND, why_not_shared="it is private"), to.Leech(FOUND)),
        (looking(found=Unusable("no answer")), to.End(NotFromLan("no answer"))),
        (looking(found=Away("no answer now")), to.LookUp()),
        (looking(found=Away("no answer now"), is_wanted=False), to.End(NotFromLan("cancelled"))),
        (looking(found=Lacking("nobody seeds it")), to.AskPermission()),
        (looking(found=Lacking("nobody seeds it"), why_not_shared=""), to.AskTracker()),
        (
            looking(found=Lacking("nobody seeds it"), why_not_shared="it is private"),
            to.End(NotFromLan("nobody seeds it; not waited for: it is private")),
        ),
        (
            looking(skips_look_up=True, why_not_shared="it is private"),
            to.End(NotFromLan("the LAN does not have it; not waited for: it is private")),
        ),
        (looking(found=FOUND, is_wanted=False), to.End(NotFromLan("cancelled"))),
    ],
)
def test_looking(sight: Sight, step: to.Step) -> None:
    assert decide(JobState.LOOKING, sight, T) == step


def waiting(lease: LeaseSight | None = None, **seen: object) -> Sight:
    return replace(Sight(found=Lacking("nobody seeds it"), why_not_shared="", lease=lease), **seen)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sight", "step"),
    [
        (waiting(LeaseSight(passed_over_s=7.9)), to.Stay()),
        (waiting(LeaseSight(passed_over_s=8.0)), to.End(NotFromLan("the tracker does not say who fetches it"))),
        (waiting(LeaseSight(LeaseRole.FETCH)), to.TakeLease()),
        (waiting(LeaseSight(LeaseRole.WAIT, fetcher="bob")), to.Stay()),
        (waiting(LeaseSight(LeaseRole.WAIT, fetcher="bob", window=SLOW)), to.Stay()),
        (waiting(LeaseSight(LeaseRole.WAIT, fetcher="bob", window=ENOUGH), ordinary_rate=80), to.Stay()),
        (
            waiting(LeaseSight(LeaseRole.WAIT, fetcher="bob", window=SLOW), ordinary_rate=80),
            to.End(NotFromLan("bob fetches it much slower than the Hub has been here")),
        ),
        (waiting(LeaseSight(LeaseRole.HERE, is_fresh=True)), to.LookUp()),
        (waiting(LeaseSight(LeaseRole.HERE, here_s=4.9)), to.Stay()),
        (waiting(LeaseSight(LeaseRole.HERE, here_s=5.0)), to.End(NotFromLan("it was there, and is gone"))),
        (waiting(LeaseSight(LeaseRole.HERE, is_fresh=True), found=FOUND), to.Leech(FOUND)),
        (waiting(LeaseSight(LeaseRole.HERE), found=Unusable("no answer")), to.End(NotFromLan("no answer"))),
        (waiting(LeaseSight(error="the tracker is gone")), to.End(NotFromLan("the tracker is gone"))),
        (waiting(LeaseSight(LeaseRole.FETCH), is_wanted=False), to.End(NotFromLan("cancelled"))),
    ],
)
def test_waiting_for_a_fetcher(sight: Sight, step: to.Step) -> None:
    assert decide(JobState.WAITING, sight, T) == step


FLOWS = LeechSight(done=5, size=9, was_met=True, is_connected=True, told=2, is_crowd=True, http_s=99.0)
SILENT = replace(FLOWS, silent_s=5.1, still_s=5.1, machine_still_s=5.1, http=Http.NOT_THERE)
UNMET = LeechSight(size=9, told=2, is_crowd=True, silent_s=3.1, still_s=3.1, machine_still_s=3.1, http=Http.NOT_THERE)
GONE = replace(UNMET, is_abandoned=True, silent_s=0.0, still_s=0.0)
NO_BYTE = "no byte for 5 s, 5 of 9 bytes had come"


def leeching(leech: LeechSight, **seen: object) -> Sight:
    return replace(Sight(found=FOUND, why_not_shared="", leech=leech), **seen)  # type: ignore[arg-type]


LEECHING: list[tuple[Sight, to.Step]] = [
    (leeching(FLOWS), to.Stay()),
    (leeching(replace(FLOWS, is_whole=True)), to.Verify()),
    (leeching(replace(FLOWS, is_whole=True), is_wanted=False), to.Verify()),
    (leeching(replace(FLOWS, failure="the disk said no")), to.GiveUp("the disk said no", BrokenOff("the disk said no"))),
    (leeching(FLOWS, is_wanted=False), to.GiveUp("cancelled", BrokenOff("cancelled"))),
    # nothing comes
    (leeching(replace(SILENT, silent_s=5.0)), to.Stay()),
    (leeching(replace(SILENT, http=Http.UNTRIED)), to.TakeHttp()),
    (leeching(replace(SILENT, http=Http.UNTRIED, is_searching=True)), to.AskTracker()),
    (leeching(SILENT), to.AskTracker()),
    (leeching(SILENT, why_not_shared=None), to.AskPermission()),
    (leeching(SILENT, why_not_shared="it is private"), to.GiveUp(NO_BYTE, BrokenOff(NO_BYTE), bury=True)),
    (leeching(replace(SILENT, is_crowd=False)), to.GiveUp(NO_BYTE, BrokenOff(NO_BYTE), bury=True)),
    (leeching(replace(SILENT, is_checking=True)), to.Stay()),
    # others of the machine get on
    (leeching(replace(SILENT, machine_still_s=5.0)), to.Stay()),
    (leeching(replace(SILENT, machine_still_s=0.0, is_connected=False)), to.AskTracker()),
    (leeching(replace(SILENT, machine_still_s=0.0, still_s=30.0)), to.Stay()),
    (leeching(replace(SILENT, machine_still_s=0.0, still_s=30.1)), to.AskTracker()),
    # no peer has answered
    (leeching(replace(UNMET, silent_s=3.0)), to.Stay()),
    (leeching(UNMET), to.AskTracker()),
    (
        leeching(replace(UNMET, is_crowd=False)),
        to.GiveUp("none of its 2 peers answered in 3 s", NotFromLan("none of its 2 peers answered in 3 s"), bury=True),
    ),
    (leeching(replace(UNMET, http=Http.TAKEN, http_s=3.0)), to.Stay()),
    (leeching(replace(UNMET, http=Http.TAKEN, http_s=3.1)), to.AskTracker()),
    (leeching(GONE), to.GiveUp("none of its 2 peers answered", NotFromLan("none of its 2 peers answered"), bury=True)),
    (leeching(replace(GONE, http=Http.UNTRIED)), to.TakeHttp()),
    (leeching(replace(GONE, http=Http.TAKEN)), to.Stay()),
    # too slow
    (leeching(replace(FLOWS, window=SLOW)), to.Stay()),
    (leeching(replace(FLOWS, window=ENOUGH), ordinary_rate=80), to.Stay()),
    (leeching(replace(FLOWS, window=Window(9.9, 0)), ordinary_rate=80), to.Stay()),
    (
        leeching(replace(FLOWS, window=SLOW), ordinary_rate=80),
        to.GiveUp(
            "it is much slower than the Hub has been, 5 of 9 bytes had come",
            BrokenOff("it is much slower than the Hub has been, 5 of 9 bytes had come"),
        ),
    ),
    (leeching(replace(FLOWS, window=SLOW, is_checking=True), ordinary_rate=80), to.Stay()),
    # more sources
    (leeching(replace(FLOWS, looked_s=1.5)), to.Stay()),
    (leeching(replace(FLOWS, looked_s=1.6)), to.LookAgain()),
    (leeching(replace(FLOWS, looked_s=1.6, is_searching=True)), to.Stay()),
    (leeching(replace(FLOWS, trades=True, http=Http.TAKEN)), to.DropHttp()),
]


@pytest.mark.parametrize(("sight", "step"), LEECHING)
def test_leeching(sight: Sight, step: to.Step) -> None:
    assert decide(JobState.LEECHING, sight, T) == step


@pytest.mark.parametrize(
    ("leech", "lease", "step"),
    [
        (SILENT, LeaseSight(), to.Stay()),
        (SILENT, LeaseSight(LeaseRole.WAIT, fetcher="bob"), to.Stay()),
        (SILENT, LeaseSight(LeaseRole.FETCH), to.TakeLease(NO_BYTE)),
        (SILENT, LeaseSight(LeaseRole.HERE, here_s=4.9), to.Stay()),
        (SILENT, LeaseSight(LeaseRole.HERE, here_s=5.0), to.GiveUp(NO_BYTE, BrokenOff(NO_BYTE), bury=True)),
        (SILENT, LeaseSight(passed_over_s=8.0), to.GiveUp(NO_BYTE, BrokenOff(NO_BYTE), bury=True)),
        (SILENT, LeaseSight(error="gone"), to.GiveUp(NO_BYTE, BrokenOff(NO_BYTE), bury=True)),
        (replace(SILENT, http=Http.UNTRIED), LeaseSight(LeaseRole.FETCH), to.TakeHttp()),
        (replace(SILENT, looked_s=1.6), LeaseSight(LeaseRole.WAIT, fetcher="bob"), to.LookAgain()),
        (replace(SILENT, has_come=True), LeaseSight(LeaseRole.FETCH), to.GoOn()),
        (replace(SILENT, is_whole=True), LeaseSight(LeaseRole.FETCH), to.Verify()),
        (replace(SILENT, failure="no"), LeaseSight(LeaseRole.FETCH), to.GiveUp("no", BrokenOff("no"))),
        # its other blobs get on meanwhile: there is time, whatever the tracker says
        (replace(SILENT, machine_still_s=0.0), LeaseSight(LeaseRole.FETCH), to.Stay()),
        (replace(SILENT, window=SLOW), LeaseSight(LeaseRole.WAIT, fetcher="bob"), to.Stay()),
        (UNMET, LeaseSight(LeaseRole.FETCH), to.TakeLease("none of its 2 peers answered in 3 s")),
    ],
)
def test_standing_still(leech: LeechSight, lease: LeaseSight, step: to.Step) -> None:
    assert decide(JobState.STANDING_STILL, leeching(leech, lease=lease, ordinary_rate=80), T) == step


@pytest.mark.parametrize(
    ("sight", "step"),
    [
        (Sight(verdict=""), to.HandOver(move=True)),
        (Sight(verdict="", writer_waits=False), to.HandOver(move=False)),
        (Sight(verdict="it is something else", is_accused=True), to.Accuse("it is something else")),
        (Sight(verdict="the disk said no"), to.GiveUp("the disk said no", BrokenOff("the disk said no"))),
    ],
)
def test_verifying(sight: Sight, step: to.Step) -> None:
    assert decide(JobState.VERIFYING, sight, T) == step


def test_handing_over() -> None:
    assert decide(JobState.HANDING_OVER, Sight(verdict="", is_moved=True), T) == to.GoOnSeeding()
    assert decide(JobState.HANDING_OVER, Sight(verdict="", is_moved=False), T) == to.End(Whole())


PLACE = Path("/cache/blobs/a")


@pytest.mark.parametrize(
    ("state", "fetch", "step"),
    [
        (JobState.GRANTED, FetchSight(granted_s=10.0), to.Stay()),
        (JobState.GRANTED, FetchSight(granted_s=10.1), to.LookAnew("the program that was to has not begun")),
        (JobState.GRANTED, FetchSight(granted_s=10.1, has_begun=True), to.Watch()),
        (JobState.GRANTED, FetchSight(granted_s=10.1, landed=PLACE), to.Read()),
        (JobState.WATCHED, FetchSight(granted_s=99.0, has_begun=True, done=7), to.Stay()),
        (JobState.WATCHED, FetchSight(has_begun=True, is_gone=True, landed=PLACE), to.Read()),
        (JobState.WATCHED, FetchSight(has_begun=True, is_gone=True, done=7), to.LookAnew("the download broke off after 7 bytes")),
        (JobState.READING, FetchSight(landed=PLACE, is_right=True), to.Publish()),
        (JobState.READING, FetchSight(landed=PLACE, is_right=False, failure="not its content"), to.LookAnew("not its content")),
        (JobState.PUBLISHING, FetchSight(landed=PLACE, is_right=True, is_published=True), to.GoOnSeeding()),
        (JobState.PUBLISHING, FetchSight(landed=PLACE, is_right=True, is_published=False), to.End(Whole())),
    ],
)
def test_ours_to_fetch_for_all(state: JobState, fetch: FetchSight, step: to.Step) -> None:
    assert decide(state, Sight(fetch=fetch), T) == step


def test_a_program_that_stands_still_holds_no_other_up() -> None:
    """It was suspended (Ctrl-Z), or hangs: its connection stays open, and its file does not grow."""
    still = FetchSight(has_begun=True, done=7, still_s=30.1)
    anew = to.LookAnew("the program that fetches it stands still after 7 bytes")
    assert decide(JobState.WATCHED, Sight(fetch=still, is_wanted=True), T) == anew
    assert decide(JobState.WATCHED, Sight(fetch=still, is_wanted=False), T) == to.Stay(), "it may go on when no other waits"
    assert decide(JobState.WATCHED, Sight(fetch=replace(still, still_s=30.0)), T) == to.Stay()
    assert decide(JobState.WATCHED, Sight(fetch=replace(still, landed=PLACE)), T) == to.Read()


def test_the_lan_is_too_slow_only_by_far_and_only_over_a_whole_window() -> None:
    assert not is_slow(Window(9.0, 0), 800, T)
    assert not is_slow(Window(10.0, 1000), 800, T), "an eighth of the Hub's rate is enough"
    assert is_slow(Window(10.0, 999), 800, T)
    assert is_slow(Window(10.0, 1008), 807, T), "an eighth, to the byte"
    assert not is_slow(Window(10.0, 1009), 807, T)
    assert not is_slow(Window(1000.0, 0), 0, T), "with nothing to compare it with, nothing is too slow"


def test_a_job_is_cancelled_by_the_end_of_its_programs_alone() -> None:
    assert is_cancellation(decide(JobState.LOOKING, Sight(is_wanted=False), T))
    assert is_cancellation(decide(JobState.WAITING, Sight(is_wanted=False), T))
    assert is_cancellation(to.GiveUp(CANCELLED, NotFromLan(CANCELLED)))
    assert not is_cancellation(to.End(NotFromLan("the LAN does not have it")))
    assert not is_cancellation(to.GiveUp("it stands still", NotFromLan("it stands still")))
    assert not is_cancellation(to.Stay())


# The table of transitions


def test_every_step_that_is_ever_decided_is_in_the_table() -> None:
    """The tables above, once more: what is decided in a state leads somewhere from it."""
    for sight, step in LEECHING:
        assert after(JobState.LEECHING, decide(JobState.LEECHING, sight, T)) is after(JobState.LEECHING, step)


def test_every_state_can_be_reached_and_left() -> None:
    ends = {state for state in JobState if state.is_over}
    assert {state for state, _ in TRANSITIONS} == set(JobState) - ends
    assert {*TRANSITIONS.values(), JobState.LOOKING} == set(JobState)


def test_a_step_that_a_state_does_not_know_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="a job that is looking cannot Verify"):
        after(JobState.LOOKING, to.Verify())
    for state in (JobState.SEEDING, JobState.ENDED):
        with pytest.raises(AssertionError):
            decide(state, Sight(), T)
    with pytest.raises(AssertionError):
        decide(JobState.VERIFYING, Sight(verdict=None), T)


def test_the_architecture_shows_the_table_as_it_is() -> None:
    text = (Path(__file__).parents[5] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition("## The states of a job")[2].partition("\n## ")[0]
    shown: dict[tuple[str, str], str] = {}
    for state, steps in re.findall(r"^\| (?!state )([a-z ]+) \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE):
        for part in steps.strip().split("; "):
            names, _, following = part.partition(" → ")
            for name in names.split(", "):
                shown[state, name] = state if following == "the same" else following
    assert {key for key in shown if key[1] != "–"} == {(state.value, step.__name__) for state, step in TRANSITIONS}
    assert all(shown[state.value, step.__name__] == following.value for (state, step), following in TRANSITIONS.items())
    assert {state for state, _ in shown} == {state.value for state in JobState}


def test_a_slow_fetcher_has_the_hub_measured_where_nothing_is_known_of_it() -> None:
    slow = LeaseSight(LeaseRole.WAIT, fetcher="wifi", window=Window(10.0, 1_000_000), left_bytes=8_000_000_000)
    state = JobState.WAITING
    assert decide(state, Sight(lease=slow), JobTimings()) == to.MeasureHub()
    assert decide(state, Sight(lease=slow, measuring=Measuring.UNDER_WAY), JobTimings()) == to.Stay()
    step = decide(state, Sight(lease=slow, measuring=Measuring.IN_VAIN), JobTimings())
    assert isinstance(step, to.End)
    assert isinstance(decide(state, Sight(lease=slow, ordinary_rate=10_000_000), JobTimings()), to.End)
    assert decide(state, Sight(lease=slow, ordinary_rate=200_000), JobTimings()) == to.Stay(), "the Hub is no faster here"
    assert decide(state, Sight(lease=replace(slow, window=Window(9.0, 0))), JobTimings()) == to.Stay(), (
        "it has not shown its pace"
    )
    assert decide(state, Sight(lease=replace(slow, left_bytes=17_000_000)), JobTimings()) == to.Stay(), "it is nearly over"
