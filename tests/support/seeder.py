"""The real seeder as a process: `llmpt-seeder run` over a Hub cache."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.machine import quiet_environment
from tests.support.process import ServerProcess


class SeederProcess(ServerProcess):
    """A seeder that runs while the `with` block does. `data` is the LLMPT_DATA that it shares with its tracker."""

    def __init__(self, data: Path, cache: Path, *, tracker: str, hub: str, **settings: str) -> None:
        super().__init__(data.parent / f"{data.name}.seeder.log")
        self.data, self.cache = data, cache
        self._settings = {
            "HOME": str(data.parent),
            "LLMPT_DATA": str(data),
            "LLMPT_TRACKER": tracker,
            "LLMPT_PEER_PORT": "0",
            "LLMPT_BLOB_PORT": "0",
            "LLMPT_BIND": "127.0.0.1",
            "LLMPT_SCAN_INTERVAL": "0.5",
            "HF_HUB_CACHE": str(cache),
            "HF_ENDPOINT": hub,
            **settings,
        }

    def start(self) -> None:
        self._spawn([sys.executable, "-m", "llmpt_seeder", "run"], quiet_environment() | self._settings)
