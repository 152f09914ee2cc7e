"""What a job can do next: one class for each kind of step."""

from __future__ import annotations

from dataclasses import dataclass

from llmpt.agent.transfer.result import JobResult
from llmpt.swarm import Source


class Step:
    """What to do next. One class for each kind."""


@dataclass(frozen=True, slots=True)
class Stay(Step):
    """Nothing but to look again."""


@dataclass(frozen=True, slots=True)
class LookUp(Step):
    """Ask the catalogue which machines have the blob."""


@dataclass(frozen=True, slots=True)
class AskPermission(Step):
    """Find out whether the blob may be fetched for all."""


@dataclass(frozen=True, slots=True)
class AskTracker(Step):
    """Ask whose turn it is to fetch it, and go on asking."""


@dataclass(frozen=True, slots=True)
class MeasureHub(Step):
    """Find out how fast the Hub is here, beside the job: another machine fetches it, and needs long."""


@dataclass(frozen=True, slots=True)
class Leech(Step):
    """Take it from there."""

    source: Source


@dataclass(frozen=True, slots=True)
class LookAgain(Step):
    """Look for more sources beside the download."""


@dataclass(frozen=True, slots=True)
class TakeHttp(Step):
    """Take it from a seeder's HTTP too, if one gives it."""


@dataclass(frozen=True, slots=True)
class DropHttp(Step):
    """Leave the seeder's HTTP alone: others want it too, and the seeder sends it by BitTorrent."""


@dataclass(frozen=True, slots=True)
class GoOn(Step):
    """Something comes again: the tracker is no longer asked."""


@dataclass(frozen=True, slots=True)
class Verify(Step):
    """The last byte is there: read what was not read yet, and hold the whole against the etag."""


@dataclass(frozen=True, slots=True)
class HandOver(Step):
    """It is right: see it to its destination; `move` False leaves that to the hook."""

    move: bool


@dataclass(frozen=True, slots=True)
class Accuse(Step):
    """The torrent is whole, and not what the etag says."""

    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp(Step):
    """Let go of the download and say what of it can be used; `nothing` is the end when nothing of it can."""

    reason: str
    nothing: JobResult
    bury: bool = False


@dataclass(frozen=True, slots=True)
class TakeLease(Step):
    """This machine fetches it for all, or what is missing of it (`reason` says why the LAN does not give that)."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Watch(Step):
    """The program that fetches has begun."""


@dataclass(frozen=True, slots=True)
class Read(Step):
    """It has landed: read it once, for the etag's check and the torrent."""


@dataclass(frozen=True, slots=True)
class Publish(Step):
    """It is right: have the catalogue list it."""


@dataclass(frozen=True, slots=True)
class LookAnew(Step):
    """The fetch for all has failed: the lease goes back, and programs that still wait begin at the beginning."""

    reason: str


@dataclass(frozen=True, slots=True)
class GoOnSeeding(Step):
    """It lies at its place, and is given to others from now on."""


@dataclass(frozen=True, slots=True)
class End(Step):
    """That was it."""

    result: JobResult
