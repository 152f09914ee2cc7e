"""What the jobs of a machine work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmpt.agent.directory import Directory
from llmpt.agent.seeding.seeds import Seeds
from llmpt.agent.transfer.shared_fetch import ForAll
from llmpt.agent.transfer.timings import JobTimings
from llmpt.core.metainfo import Metainfo
from llmpt.swarm import Engine


@dataclass(frozen=True, slots=True)
class JobParts:
    """What every job of a machine works with, one of each.

    `engine`: the swarm
    `directory`: what the tracker says
    `seeds`: the blobs that lie on this machine
    `for_all`: what it takes to fetch for the whole LAN; None where nothing is shared
    `on_wrong`: told of torrents whose content is not that of their etag, with the reason
    `timings`: how long is waited for what
    `doors`: a folder of this agent's alone, for the links by which the session comes to files; None: by their own paths
    """

    engine: Engine
    directory: Directory
    seeds: Seeds
    for_all: ForAll | None = None
    on_wrong: Callable[[Metainfo, str], None] = lambda _torrent, _reason: None
    timings: JobTimings = field(default_factory=JobTimings)
    doors: Path | None = None
