"""A user's machine for tests of the hook: a home of its own, an environment, a Hub to talk to, a way to run scripts."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.hub import FakeHub

RUN_TIMEOUT_S = 180
TRACKER = "http://tracker.invalid:8000"  # nobody asks it: the agents of these tests serve from memory


class Workstation:
    """`python` is the interpreter of an environment in which llmpt is installed."""

    def __init__(self, python: Path, hub: FakeHub) -> None:
        self.python = python
        self.hub = hub
        self.home = Path(tempfile.mkdtemp(prefix="llmpt-"))  # short: the path of a socket may have 103 bytes
        self.runtime = self.home / "run"
        self.cache = self.home / "hf" / "hub"
        self.runtime.mkdir(mode=0o700)

    def close(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "HF_HOME": str(self.home / "hf"),
            "HF_ENDPOINT": self.hub.url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "DO_NOT_TRACK": "1",
            "NO_PROXY": "*",
            "LLMPT_TRACKER": TRACKER,
        }

    def start(self, *command: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env={**self.environ, **environ},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *flags: str, **environ: str) -> Run:
        """Run a Python script to its end; it must succeed."""
        return self.command(str(self.python), *flags, "-c", script, **environ)

    def command(self, *command: str, **environ: str) -> Run:
        with self.start(*command, **environ) as process:
            try:
                out, err = process.communicate(timeout=RUN_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)
                out, err = process.communicate()
        assert process.returncode == 0, f"status {process.returncode}\n{out}\n{err}"
        return Run(out, err)

    def leftovers(self, folder: Path | None = None) -> list[str]:
        """Temporary files that no successful download should leave."""
        return [str(path) for path in (folder or self.home).rglob("*incomplete*") if not path.is_socket()]


class Run:
    def __init__(self, out: str, err: str) -> None:
        self.out, self.err = out, err

    @property
    def result(self) -> Any:
        """What the script printed last, read as JSON."""
        return json.loads(self.out.strip().splitlines()[-1])

    @property
    def summary(self) -> list[str]:
        return [line for line in self.err.replace("\r", "\n").splitlines() if line.startswith("llmpt: ")]
