"""The swarm engine: libtorrent, set up for a LAN, behind a few verbs (seed, download, withdraw).

The agent of a workstation and the seeder of a server run the same engine. Only this package imports libtorrent.
"""

from __future__ import annotations

from llmpt.core.errors import SwarmError

try:
    from llmpt.swarm.engine import Engine
except ImportError as error:
    raise SwarmError(
        f"libtorrent cannot be loaded ({error}); it has wheels for CPython 3.9 to 3.13 on Linux (x86-64, ARM64) and "
        "macOS (ARM64): use one of these, or an agent from another environment"
    ) from None
from llmpt.swarm.download import HTTP, Download, DownloadFigures
from llmpt.swarm.types import EngineSettings, EngineTimings, Given, SeededBlob, Source, Totals, free_port

__all__ = [
    "HTTP",
    "Download",
    "DownloadFigures",
    "Engine",
    "EngineSettings",
    "EngineTimings",
    "Given",
    "SeededBlob",
    "Source",
    "Totals",
    "free_port",
]
