"""The real tracker as a process: `llmpt-tracker serve` on free ports, with a data folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.process import ServerProcess
from tests.support.waiting import eventually

READY = re.compile(r"llmpt-tracker: ready, https?://\S+:(\d+), announce port (\d+)")


class TrackerProcess(ServerProcess):
    """A tracker that runs while the `with` block does.

    `data` is its LLMPT_DATA (kept over restarts); `settings` are further variables. `restart` keeps the ports, so that
    those who know the tracker find it again.
    """

    def __init__(self, data: Path, *, settings: Mapping[str, str] | None = None, host: str = "127.0.0.1") -> None:
        super().__init__(data.parent / f"{data.name}.tracker.log")
        self.data, self.host = data, host
        self.http_port = self.announce_port = 0
        self._settings = dict(settings or {})

    @property
    def url(self) -> str:
        """The API's URL."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def announce_url(self) -> str:
        """The announce URL, without a key."""
        return f"http://{self.host}:{self.announce_port}/announce"

    @property
    def token(self) -> str:
        """The token of the first start."""
        return (self.data / "publish.token").read_text().strip()

    @property
    def environ(self) -> dict[str, str]:
        """The environment it runs in: nothing of LLMPT_… or HF_… is inherited."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("LLMPT_", "HF_"))}
        return {
            **inherited,
            "HOME": str(self.data.parent),
            "XDG_CONFIG_HOME": str(self.data.parent / "no-config"),
            "LLMPT_DATA": str(self.data),
            "LLMPT_HTTP_PORT": str(self.http_port),
            "LLMPT_ANNOUNCE_PORT": str(self.announce_port),
            "LLMPT_BIND": self.host,
            **self._settings,
        }

    def make_token(self, *options: str) -> str:
        """Have the command line make a token, with these options; return it."""
        return self.command("token", "create", *options).strip()

    def command(self, *words: str) -> str:
        """Run llmpt-tracker beside it; return what it says."""
        command = [sys.executable, "-m", "llmpt_tracker", *words]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        offset = self.log.stat().st_size if self.log.exists() else 0
        self._spawn([sys.executable, "-m", "llmpt_tracker", "serve"], self.environ)
        try:
            ready = eventually(lambda: self._ready(offset), timeout_s=40, what="the tracker is ready")
        except BaseException:
            self.stop()
            raise
        self.http_port, self.announce_port = int(ready[1]), int(ready[2])

    def restart(self) -> None:
        """Stop and start it again on the same ports, with the same data."""
        self.stop()
        self.start()

    def _ready(self, offset: int) -> re.Match[str] | None:
        assert self._process is not None
        text = self.log.read_bytes()[offset:].decode(errors="replace")
        if self._process.poll() is not None:
            raise AssertionError(f"the tracker ended with status {self._process.returncode}:\n{text}")
        return READY.search(text)
