"""The real seeder as a process: `llmpt-seeder run` over a Hub cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.support.machine import quiet_environment


class SeederProcess:
    """A seeder that runs while the `with` block does. `data` is the LLMPT_DATA that it shares with its tracker."""

    def __init__(self, data: Path, cache: Path, *, tracker: str, hub: str, **settings: str) -> None:
        self.data, self.cache = data, cache
        self.log = data.parent / f"{data.name}.seeder.log"
        self._settings = {
            "HOME": str(data.parent),
            "LLMPT_DATA": str(data),
            "LLMPT_TRACKER": tracker,
            "LLMPT_PEER_PORT": "0",
            "LLMPT_BIND": "127.0.0.1",
            "LLMPT_SCAN_INTERVAL": "0.5",
            "HF_HUB_CACHE": str(cache),
            "HF_ENDPOINT": hub,
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> SeederProcess:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        command = [sys.executable, "-m", "llmpt_seeder", "run"]
        with self.log.open("ab") as log:
            environ = quiet_environment() | self._settings
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self) -> int:
        """Ask it to end (SIGTERM); return its exit status."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
            raise

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
