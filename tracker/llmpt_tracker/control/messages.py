"""What the announcer tells the application: values that both ends of the control socket share.

`as_json` writes one, `parse` reads it again; what cannot be one raises `KeyError`, `TypeError` or `ValueError`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AnnouncerStatus:
    """How the announcer is.

    `boot_id`: another one after each start.
    `open`: whether it answers announces.
    `announce_port`: 0 before it is open.
    `swarms`: on the closed list.
    `peers`: of all swarms.
    """

    boot_id: str
    open: bool
    announce_port: int
    swarms: int
    peers: int

    @classmethod
    def parse(cls, said: Json) -> AnnouncerStatus:
        return cls(
            boot_id=str(said["boot_id"]),
            open=bool(said["open"]),
            announce_port=int(said["announce_port"] or 0),
            swarms=int(said["swarms"]),
            peers=int(said["peers"]),
        )

    def as_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "announce_port": self.announce_port or None}


@dataclass(frozen=True, slots=True)
class SwarmPeer:
    """A peer of a swarm; no address means: the very address at which you reach this tracker."""

    address: str | None
    port: int

    @classmethod
    def parse(cls, said: Json) -> SwarmPeer:
        return cls(said["address"], int(said["port"]))

    def as_json(self) -> dict[str, Any]:
        return {"address": self.address, "port": self.port}


@dataclass(frozen=True, slots=True)
class Swarm:
    """The live counts of a swarm, and some of its peers when they were asked for."""

    seeders: int = 0
    leechers: int = 0
    completed: int = 0
    peers: tuple[SwarmPeer, ...] = ()

    @classmethod
    def parse(cls, said: Json) -> Swarm:
        peers = tuple(map(SwarmPeer.parse, said.get("peers", ())))
        return cls(int(said["seeders"]), int(said["leechers"]), int(said["completed"]), peers)

    def as_json(self) -> dict[str, Any]:
        counts: dict[str, Any] = {"seeders": self.seeders, "leechers": self.leechers, "completed": self.completed}
        return {**counts, "peers": [peer.as_json() for peer in self.peers]} if self.peers else counts


@dataclass(frozen=True, slots=True)
class SeederReport:
    """What a seeder last said of itself, `age_s` seconds ago."""

    id: str
    age_s: float
    report: Json = field(default_factory=dict)

    @classmethod
    def parse(cls, said: Json) -> SeederReport:
        return cls(str(said["id"]), float(said["age_s"]), dict(said["report"]))

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "age_s": self.age_s, "report": dict(self.report)}


@dataclass(frozen=True, slots=True)
class BlobServer:
    """Where a seeder that is alive serves blobs.

    `address` and `port`: as the tracker reaches it.
    `shown`: the address for the asker; None is the very one at which it reaches the tracker.
    """

    address: str
    port: int
    shown: str | None

    @classmethod
    def parse(cls, said: Json) -> BlobServer:
        return cls(str(said["address"]), int(said["port"]), said["shown"])

    def as_json(self) -> dict[str, Any]:
        return {"address": self.address, "port": self.port, "shown": self.shown}


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A file that a machine fetches from the Hub now.

    `size`, `bytes`: of the file, and of what `fetcher` has of it.
    `repo`: `type/id`; empty while that is not known.
    `waiting`: how many other machines want it.
    """

    etag: str
    size: int
    repo: str
    fetcher: str
    bytes: int
    rate_bytes_s: int
    waiting: int

    @classmethod
    def parse(cls, said: Json) -> HeldLease:
        return cls(**said)

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class LeaseReply:
    """What a machine is told: `leases` as the API shows them, and when to ask again."""

    leases: Sequence[Json]
    poll_s: float
    boot_id: str

    @classmethod
    def parse(cls, said: Json) -> LeaseReply:
        return cls([dict(one) for one in said["leases"]], float(said["poll_s"]), str(said["boot_id"]))
