"""A workstation of its own: HOME, XDG_RUNTIME_DIR and HF_HOME apart, so that one host can be several machines.

with Machine("ann", tracker=tracker.url, hub=hub.url) as ann:
    folder = ann.download("org/name")
    assert ann.status()["downloaded_bytes"] > 0
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from llmpt.core.errors import AgentUnavailable
from llmpt.link import lock
from llmpt.link.client import AgentClient
from llmpt.settings import ClientSettings
from tests.support.waiting import eventually

DOWNLOAD_TIMEOUT_S = 120


def quiet_environment() -> dict[str, str]:
    """The environment of a test's process: no tokens, no proxies, no telemetry, nothing of the developer's settings."""
    keep = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "TMPDIR")
    environ = {name: os.environ[name] for name in keep if name in os.environ}
    return environ | {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONWARNINGS": "default",
    }


class Machine:
    """A context manager; leaving it ends the machine's agent, if there is one, and removes its folders."""

    def __init__(self, name: str, *, tracker: str | None, hub: str, python: Path | None = None, **environ: str) -> None:
        self.name = name
        self.python = python or Path(sys.executable)
        self._tracker, self._hub, self._extra = tracker, hub, environ

    def __enter__(self) -> Machine:
        # Short, because the path of a Unix socket must be.
        self.root = Path(tempfile.mkdtemp(prefix=f"llmpt-{self.name}-"))
        self.hf_home = self.root / "hf"
        runtime = self.root / "run"
        runtime.mkdir(mode=0o700)
        self.environ = quiet_environment() | {
            "HOME": str(self.root),
            "XDG_RUNTIME_DIR": str(runtime),
            "HF_HOME": str(self.hf_home),
            "HF_ENDPOINT": self._hub,
            "LLMPT_PEER_PORT": "0",
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
        }
        if self._tracker is not None:
            self.environ["LLMPT_TRACKER"] = self._tracker
        self.environ |= self._extra
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.stop_agent()
        finally:
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def cache(self) -> Path:
        """The machine's Hub cache."""
        return self.hf_home / "hub"

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start this machine's Python; stdout and stderr are pipes."""
        return subprocess.Popen(
            [str(self.python), *arguments],
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",  # a program may write as another locale has it
            cwd=self.root,
        )

    def run(self, *arguments: str, check: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run this machine's Python to its end."""
        with self.start(*arguments, **environ) as process:
            try:
                out, err = process.communicate(timeout=DOWNLOAD_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if check and process.returncode != 0:
            raise AssertionError(f"{self.name}: exit code {process.returncode}\n{out}\n{err}\n{self.agent_log()}")
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def script(self, code: str, **environ: str) -> str:
        """Run Python source; return what it printed."""
        return self.run("-c", code, check=True, **environ).stdout.strip()

    def download(self, repo_id: str, **options: Any) -> Path:
        """Call an unmodified `snapshot_download`; return the snapshot's folder."""
        code = f"from huggingface_hub import snapshot_download\nprint(snapshot_download({repo_id!r}, **{options!r}))"
        return Path(self.script(code).splitlines()[-1])

    def start_download(self, repo_id: str) -> subprocess.Popen[str]:
        """Begin the same in the background."""
        return self.start("-c", f"from huggingface_hub import snapshot_download\nprint(snapshot_download({repo_id!r}))")

    def llmpt(self, *arguments: str, check: bool = True) -> str:
        """Run the command `llmpt`."""
        return self.run("-m", "llmpt", *arguments, check=check).stdout

    def status(self) -> dict[str, Any]:
        """Return what the agent says of itself, without the command's process; nothing when none runs."""
        environ = {**self.environ, "XDG_RUNTIME_DIR": str(self.root / "run")}
        try:
            return AgentClient(ClientSettings.read(environ), environ=environ).status()
        except AgentUnavailable:
            return {}

    def agent_log(self) -> str:
        try:
            return (self.root / "run" / "llmpt" / "agent.log").read_text()
        except OSError:
            return "(no agent log)"

    def kill_agent(self) -> None:
        """kill -9, in the middle of whatever it does."""
        pid = self.status()["pid"]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), what="the agent's end")

    def stop_agent(self) -> None:
        """End the agent as a shutdown does, and one that is only starting; the command would be a process each time."""
        told: set[int] = set()

        def has_ended() -> bool:
            alive = self._agents()
            for pid in alive - told:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                    os.kill(pid, signal.SIGCONT)  # a suspended one would never hear it
            told.update(alive)
            return not alive and not lock.is_held(self.environ)

        eventually(has_ended, what="the agent's end")

    def _agents(self) -> set[int]:
        """Return the processes that are agents of this machine."""
        ours, found = f"={self.root}".encode(), set()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended
                if b"llmpt.agent" in (process / "cmdline").read_bytes() and ours in (process / "environ").read_bytes():
                    found.add(int(process.name))
        return found
