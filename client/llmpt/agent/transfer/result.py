"""How a job ends for a program that waits for it. One of these is always said; that none was is a failure."""

from __future__ import annotations

from dataclasses import dataclass

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """The blob is there and verified."""


@dataclass(frozen=True, slots=True)
class BrokenOff:
    """The file is not whole. `have`: the byte ranges [start, stop) of it that are on disk and verified, in order."""

    reason: str
    have: Ranges = ()


@dataclass(frozen=True, slots=True)
class NotFromLan:
    """Nothing was transferred: the ordinary path."""

    reason: str


@dataclass(frozen=True, slots=True)
class FetchForAll:
    """This machine holds the lease: the program fetches the blob, or all but `have` of it, for the whole LAN."""

    reason: str
    have: Ranges = ()


JobResult = Whole | BrokenOff | NotFromLan | FetchForAll
