"""What the announcer tells the application: values that both ends of the control socket share.

`as_json` writes one, `parse` reads it again; what cannot be one raises `KeyError`, `TypeError` or `ValueError`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AnnouncerStatus:
    """How the announcer is.

    `boot_id`: another one after each start.
    `open`: whether it answers announces.
    `announce_port`: 0 before it is open.
    `swarms`: on the closed list.
    `peers`: of all swarms.
    `troubles`: what it does again and again and cannot now, a sentence each.
    `age_s`: since its start; None: its port is not open yet, or it is one of old.
    `limits`: of the application, those that were reached of late, a sentence each.
    `counts`: how many announces and scrapes came since the start, and how many of both were refused.
    `roles`: of the peers, how many are seeders, leechers and paused.
    `reaches_replicas`: whether Valkey answers, by which replicas know of each other; None: none is used.
    """

    boot_id: str
    open: bool
    announce_port: int
    swarms: int
    peers: int
    troubles: tuple[str, ...] = ()
    age_s: float | None = None
    limits: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    roles: Mapping[str, int] = field(default_factory=dict)
    reaches_replicas: bool | None = None

    @classmethod
    def parse(cls, said: Json) -> AnnouncerStatus:
        return cls(
            boot_id=str(said["boot_id"]),
            open=bool(said["open"]),
            announce_port=int(said["announce_port"] or 0),
            swarms=int(said["swarms"]),
            peers=int(said["peers"]),
            troubles=tuple(map(str, said["troubles"])),
            age_s=None if said.get("age_s") is None else float(said["age_s"]),
            limits=tuple(map(str, said.get("limits", ()))),
            counts={str(name): int(count) for name, count in said.get("counts", {}).items()},
            roles={str(name): int(count) for name, count in said.get("roles", {}).items()},
            reaches_replicas=None if said.get("reaches_replicas") is None else bool(said["reaches_replicas"]),
        )

    def as_json(self) -> dict[str, Any]:
        said = {**dataclasses.asdict(self), "announce_port": self.announce_port or None}
        left_out = {name for name in ("age_s", "limits", "counts", "roles") if not said[name]}
        left_out |= {"reaches_replicas"} if self.reaches_replicas is None else set()
        return {name: value for name, value in said.items() if name not in left_out}


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
class BlobAddress:
    """Where a seeder that is alive serves blobs.

    `address` and `port`: as the tracker reaches it.
    `shown`: the address for the asker; None is the very one at which it reaches the tracker.
    `seeder`: how it calls itself.
    `token_id`: with which token.
    `for_all`: it may serve what it has not published.
    `tls`: it speaks TLS there.
    """

    address: str
    port: int
    shown: str | None
    seeder: str = ""
    token_id: int | None = None
    for_all: bool = False
    tls: bool = False

    @classmethod
    def parse(cls, said: Json) -> BlobAddress:
        place = (str(said["address"]), int(said["port"]), said["shown"])
        return cls(*place, str(said.get("id", "")), said.get("token_id"), bool(said.get("for_all")), bool(said.get("tls")))

    def as_json(self) -> dict[str, Any]:
        its = {"id": self.seeder, "token_id": self.token_id, "for_all": self.for_all, "tls": self.tls}
        return {**its, "address": self.address, "port": self.port, "shown": self.shown}


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A file that a machine fetches from the Hub now.

    `size`, `bytes`: of the file, and of what `fetcher` has of it.
    `repo`: None while that is not known.
    `waiting`: how many other machines want it.
    """

    etag: Etag
    size: int
    repo: RepoRef | None
    fetcher: str
    bytes: int
    rate_bytes_s: int
    waiting: int

    @classmethod
    def parse(cls, said: Json) -> HeldLease:
        kind, _, name = str(said["repo"]).partition("/")
        return cls(
            Etag(said["etag"]),
            int(said["size"]),
            RepoRef(kind, name) if name else None,
            str(said["fetcher"]),
            int(said["bytes"]),
            int(said["rate_bytes_s"]),
            int(said["waiting"]),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "etag": self.etag.value,
            "size": self.size,
            "repo": "" if self.repo is None else f"{self.repo.type}/{self.repo.id}",
            "fetcher": self.fetcher,
            "bytes": self.bytes,
            "rate_bytes_s": self.rate_bytes_s,
            "waiting": self.waiting,
        }


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came to machines since this was asked last.

    `arrived`: how many machines got a torrent to the end, by its truncated info-hash.
    `hub_bytes`: what came from the Hub, for all.
    `mirrored`: those of them that the appliance fetched for others, by repo.
    """

    arrived: Mapping[bytes, int] = field(default_factory=dict)
    hub_bytes: int = 0
    mirrored: Mapping[RepoRef, int] = field(default_factory=dict)

    def __add__(self, other: Traffic) -> Traffic:
        arrived, mirrored = Counter(self.arrived) + Counter(other.arrived), Counter(self.mirrored) + Counter(other.mirrored)
        return Traffic(arrived, self.hub_bytes + other.hub_bytes, mirrored)

    @classmethod
    def parse(cls, said: Json) -> Traffic:
        arrived = {bytes.fromhex(name): int(count) for name, count in said["arrived"].items()}
        mirrored = {RepoRef(*name.split("/", 1)): int(count) for name, count in said["mirrored"].items()}
        return cls(arrived, int(said["hub_bytes"]), mirrored)

    def as_json(self) -> dict[str, Any]:
        mirrored = {f"{repo.type}/{repo.id}": count for repo, count in self.mirrored.items()}
        return {
            "arrived": {name.hex(): count for name, count in self.arrived.items()},
            "hub_bytes": self.hub_bytes,
            "mirrored": mirrored,
        }


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a machine that polls is: the token that it asks with (its id in the database), and the name of that."""

    token: int
    name: str

    @classmethod
    def parse(cls, said: Json) -> Owner:
        return cls(int(said["token"]), str(said["name"]))

    def as_json(self) -> dict[str, Any]:
        return {"token": self.token, "name": self.name}
