"""What a job sees at one moment: an immutable value, from which `decision` says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf
from pathlib import Path

from llmpt.core.leases import LeaseRole
from llmpt.swarm import Source


@dataclass(frozen=True, slots=True)
class Lacking:
    """The LAN does not have the blob now: one machine may fetch it for all."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """The LAN cannot give the blob, and waiting would not help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Away:
    """The tracker does not answer now, and may at any moment: it is asked again."""

    reason: str


LookUpAnswer = Source | Lacking | Unusable | Away


class Measuring(Enum):
    """Finding out how fast the Hub is here, by fetching a part of a file."""

    UNTRIED = "untried"
    UNDER_WAY = "under way"
    IN_VAIN = "in vain"


class Http(Enum):
    """A seeder's HTTP as a source of a running download."""

    UNTRIED = "untried"
    TAKEN = "taken"
    NOT_THERE = "not there"


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time: how long it is by now (seconds), and how many bytes came in it."""

    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class LeaseSight:
    """What the tracker has said of the machine that fetches a blob.

    `role`: None as long as there is no answer
    `is_fresh`: an answer has come since the last look
    `error`: why there will be none
    `passed_over_s`: seconds for which the tracker has been answering without a word on it; 0: it has none, or has said something
    `here_s`: seconds for which it has said HERE without a break
    `fetcher`: the machine that fetches it, by name
    `window`: what that machine got of late
    `left_bytes`: what it has still to get
    """

    role: LeaseRole | None = None
    is_fresh: bool = False
    error: str = ""
    passed_over_s: float = 0.0
    here_s: float = 0.0
    fetcher: str | None = None
    window: Window = Window()
    left_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LeechSight:
    """A download at one moment; sizes are bytes, times seconds.

    `is_whole`, `failure`: it has ended so; `failure` is the reason
    `is_checking`: what lay on disk before is being read
    `done`, `size`: what is there, of how much
    `has_come`: something came since the last look
    `was_met`: a peer was connected at some time; `is_connected`: one is now
    `is_abandoned`: every peer that it was told of could not be connected
    `told`: how many peers it was told of
    `is_crowd`: others want it too, or several have it
    `http`: a seeder's HTTP; `http_s`: how long ago it was taken or asked for
    `trades`: since HTTP was taken a seeder has sent it by BitTorrent, and others want it too
    `is_searching`: more sources are being looked for
    `silent_s`: time without a byte in which the session ran; `still_s`: all time without a byte
    `machine_still_s`: time without a byte of any blob of this machine
    `looked_s`: since something came, or more sources were looked for
    `window`: what the whole machine got from the LAN of late
    """

    is_whole: bool = False
    failure: str = ""
    is_checking: bool = False
    done: int = 0
    size: int = 0
    has_come: bool = False
    was_met: bool = False
    is_connected: bool = False
    is_abandoned: bool = False
    told: int = 0
    is_crowd: bool = False
    http: Http = Http.UNTRIED
    http_s: float = inf
    trades: bool = False
    is_searching: bool = False
    silent_s: float = 0.0
    still_s: float = 0.0
    machine_still_s: float = 0.0
    looked_s: float = 0.0
    window: Window = Window()


@dataclass(frozen=True, slots=True)
class FetchSight:
    """A blob that a program of this machine fetches for the whole LAN.

    `granted_s`: seconds since it was told to
    `has_begun`: it has said that it begins; `is_gone`: and has hung up
    `done`: bytes that are there by now; `still_s`: for how long they have been as many
    `landed`: where the file lies, when it has said so
    `is_right`: the file was read: is it what its etag says? None before
    `is_published`: the catalogue has taken it; None before
    `failure`: why it is not right, or was not taken
    """

    granted_s: float = 0.0
    has_begun: bool = False
    is_gone: bool = False
    done: int = 0
    still_s: float = 0.0
    landed: Path | None = None
    is_right: bool | None = None
    is_published: bool | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """All that a job decides by.

    `is_wanted`: a program waits for it
    `writer_waits`: the program in whose file it is written does
    `ordinary_rate`: bytes per second of the ordinary path on this machine; 0 when not measured
    `measuring`: what has become of measuring it
    `found`: the look-up's answer; None before it was made
    `skips_look_up`: the LAN lacked another file of the repo a moment ago, so the tracker's word on the lease is enough
    `why_not_shared`: why this blob may not be fetched for all; empty when it may, None before that was asked
    `lease`: what the tracker says of the machine that fetches it; None when it is not asked
    `leech`: the download; None when there is none
    `verdict`: None before the whole was verified, then what is wrong with it, empty when nothing is
    `is_accused`: the verdict speaks against the torrent, not against the disk
    `is_moved`: whether the file was moved to its destination; None before that was tried
    `fetch`: this machine's own fetch for all; None when there is none
    """

    is_wanted: bool = True
    writer_waits: bool = True
    ordinary_rate: int = 0
    measuring: Measuring = Measuring.UNTRIED
    found: LookUpAnswer | None = None
    skips_look_up: bool = False
    why_not_shared: str | None = None
    lease: LeaseSight | None = None
    leech: LeechSight | None = None
    verdict: str | None = None
    is_accused: bool = False
    is_moved: bool | None = None
    fetch: FetchSight | None = None
