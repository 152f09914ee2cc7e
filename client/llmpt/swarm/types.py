"""The values that go in and out of the swarm engine."""

from __future__ import annotations

import enum
import socket
from dataclasses import dataclass
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo, info_dict
from llmpt.core.networks import Address, CidrSet
from llmpt.core.rates import NO_LIMIT, RateLimit
from llmpt.disk.stamp import FileStamp


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How an engine meets its peers.

    `listen`: the addresses to listen on.
    `port`: the TCP port; 0: any that is free.
    `or_another_port`: where that one is taken, any that is free.
    `peer_cidrs`: only these may connect or be connected to.
    `announce_address`: our own address towards the tracker, from which we announce, and which a tracker is told that sees a
    gateway instead of us.
    `upload_limit`, `download_limit`: they follow the hours of the day.
    `shares`: False to give nothing to other machines.
    `gateways`: behind these are machines that cannot be told apart: no limit of an address holds for them.
    `downloads`: False for a pure seeder, which drops peers as soon as they have everything.
    """

    listen: tuple[str, ...]
    port: int
    peer_cidrs: CidrSet
    announce_address: Address | None = None
    upload_limit: RateLimit = NO_LIMIT
    download_limit: RateLimit = NO_LIMIT
    shares: bool = True
    downloads: bool = True
    gateways: frozenset[Address] = frozenset()
    or_another_port: bool = False


@dataclass(frozen=True, slots=True)
class EngineTimings:
    """How long an engine waits, in seconds.

    busy_tick_s: between two looks at what is on its way
    idle_tick_s: between two looks at the session's counters
    limits_interval_s: between two looks at the limits of the hour
    disk_timeout_s: for a flush or a move, at most
    alone_s: without other leechers, until pieces come in order
    """

    busy_tick_s: float = 0.1
    idle_tick_s: float = 1.0
    limits_interval_s: float = 30.0
    disk_timeout_s: float = 60.0
    alone_s: float = 0.5


@dataclass(frozen=True, slots=True)
class SeededBlob:
    """A blob that lies complete and verified at `path`: all that is needed to seed it (no piece layer).

    `stamp`: what the file at `path` was like when it was verified: no other one is given; None: whatever lies there.
    """

    etag: Etag
    size: int
    root: bytes
    path: Path
    stamp: FileStamp | None = None

    @property
    def info(self) -> bytes:
        return info_dict(self.etag, self.size, self.root)


class Given(enum.Enum):
    """What came of seeding a blob.

    YES: it is seeded (where anything is shared)
    CHANGED: not that file lies there, or none
    UNSAFE: others could put another file there, and no more files can be kept open: it is not seeded
    """

    YES = "yes"
    CHANGED = "changed"
    UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True)
class Source:
    """Where to have a blob from.

    metainfo: its torrent
    peers: those that have it, or a part of it
    announce_url: the tracker's; None for the one that the engine was told
    announce_key: behind which the torrent is announced there; empty: none
    web_seed: a URL that gives it over HTTP (…/<etag>, BEP 19), for when peers are few or none
    """

    metainfo: Metainfo
    peers: tuple[tuple[str, int], ...] = ()
    announce_url: str | None = None
    web_seed: str | None = None
    announce_key: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """What an engine has moved since it started: payload bytes, rates in bytes per second, connected peers."""

    uploaded_bytes: int = 0
    downloaded_bytes: int = 0
    upload_rate_bytes_s: int = 0
    download_rate_bytes_s: int = 0
    peers: int = 0


@dataclass(frozen=True, slots=True)
class Receiver:
    """A peer that takes bytes from us: its IP address, and how fast."""

    address: str
    rate_bytes_s: int


def free_port(wanted: int) -> int:
    """Return `wanted` when nothing listens on it, else any free TCP port."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))  # noqa: S104 - asked only whether it is free
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free TCP port")
