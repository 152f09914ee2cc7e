"""The states of a job, and the way from one to the next. ARCHITECTURE.md shows the same table.

A job is one blob that is wanted on this machine: on its way in from the LAN, or fetched here for the whole LAN.
"""

from __future__ import annotations

from enum import Enum

from llmpt.agent.transfer import steps as to


class JobState(Enum):
    """Where a job is. The last two are its ends."""

    LOOKING = "looking"
    WAITING = "waiting for a fetcher"
    LEECHING = "leeching"
    STANDING_STILL = "standing still"
    VERIFYING = "verifying"
    HANDING_OVER = "handing over"
    GRANTED = "granted"
    WATCHED = "watched"
    READING = "reading"
    PUBLISHING = "publishing"
    SEEDING = "seeding"
    ENDED = "ended"

    @property
    def is_ours(self) -> bool:
        """Whether this machine fetches the blob for the whole LAN."""
        return self in (JobState.GRANTED, JobState.WATCHED, JobState.READING, JobState.PUBLISHING)

    @property
    def is_over(self) -> bool:
        return self in (JobState.SEEDING, JobState.ENDED)


_S = JobState

# What a decision makes of a state. What is not here cannot happen: `step` says so.
TRANSITIONS: dict[tuple[JobState, type[to.Step]], JobState] = {
    (_S.LOOKING, to.LookUp): _S.LOOKING,
    (_S.LOOKING, to.AskPermission): _S.LOOKING,
    (_S.LOOKING, to.AskTracker): _S.WAITING,
    (_S.LOOKING, to.Leech): _S.LEECHING,
    (_S.LOOKING, to.End): _S.ENDED,
    (_S.WAITING, to.Stay): _S.WAITING,
    (_S.WAITING, to.LookUp): _S.WAITING,
    (_S.WAITING, to.MeasureHub): _S.WAITING,
    (_S.WAITING, to.Leech): _S.LEECHING,
    (_S.WAITING, to.TakeLease): _S.GRANTED,
    (_S.WAITING, to.End): _S.ENDED,
    (_S.LEECHING, to.Stay): _S.LEECHING,
    (_S.LEECHING, to.LookAgain): _S.LEECHING,
    (_S.LEECHING, to.TakeHttp): _S.LEECHING,
    (_S.LEECHING, to.DropHttp): _S.LEECHING,
    (_S.LEECHING, to.AskPermission): _S.LEECHING,
    (_S.LEECHING, to.AskTracker): _S.STANDING_STILL,
    (_S.LEECHING, to.Verify): _S.VERIFYING,
    (_S.LEECHING, to.GiveUp): _S.ENDED,
    (_S.STANDING_STILL, to.Stay): _S.STANDING_STILL,
    (_S.STANDING_STILL, to.LookAgain): _S.STANDING_STILL,
    (_S.STANDING_STILL, to.TakeHttp): _S.STANDING_STILL,
    (_S.STANDING_STILL, to.GoOn): _S.LEECHING,
    (_S.STANDING_STILL, to.TakeLease): _S.GRANTED,
    (_S.STANDING_STILL, to.Verify): _S.VERIFYING,
    (_S.STANDING_STILL, to.GiveUp): _S.ENDED,
    (_S.VERIFYING, to.HandOver): _S.HANDING_OVER,
    (_S.VERIFYING, to.Accuse): _S.ENDED,
    (_S.VERIFYING, to.GiveUp): _S.ENDED,
    (_S.HANDING_OVER, to.GoOnSeeding): _S.SEEDING,
    (_S.HANDING_OVER, to.End): _S.ENDED,
    (_S.GRANTED, to.Stay): _S.GRANTED,
    (_S.GRANTED, to.Watch): _S.WATCHED,
    (_S.GRANTED, to.Read): _S.READING,
    (_S.GRANTED, to.LookAnew): _S.LOOKING,
    (_S.WATCHED, to.Stay): _S.WATCHED,
    (_S.WATCHED, to.Read): _S.READING,
    (_S.WATCHED, to.LookAnew): _S.LOOKING,
    (_S.READING, to.Publish): _S.PUBLISHING,
    (_S.READING, to.LookAnew): _S.LOOKING,
    (_S.PUBLISHING, to.GoOnSeeding): _S.SEEDING,
    (_S.PUBLISHING, to.End): _S.ENDED,
}


def after(state: JobState, step: to.Step) -> JobState:
    """Return the state that `step` leads to from `state`; raise `AssertionError` for one that is not in the table."""
    following = TRANSITIONS.get((state, type(step)))
    if following is None:
        raise AssertionError(f"a job that is {state.value} cannot {type(step).__name__}")
    return following
