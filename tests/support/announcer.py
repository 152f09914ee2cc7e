"""The announcer as a process, with a client of its control socket."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from tests.support.waiting import eventually

_COMMAND = [sys.executable, "-m", "llmpt_tracker.announcer"]


class ControlClient:
    """One connection to a control socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(10)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send one operation; return the reply, whatever it says."""
        self._socket.sendall(json.dumps({"op": op, **arguments}).encode() + b"\n")
        reply = json.loads(self._lines.readline())
        assert isinstance(reply, dict)
        return reply

    def do(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send one operation that must succeed."""
        reply = self.ask(op, **arguments)
        assert reply["ok"], reply
        return reply

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class AnnouncerProcess:
    """`python -m llmpt_tracker.announcer` on a free port of 127.0.0.1.

    Enter it, `control.do("register", hashes=[…])`, then `open()`; `announce_url` is known from there on.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(environ or {})
        self._folder = Path(tempfile.mkdtemp(prefix="llmpt-announcer-"))
        self._port = 0
        self.udp_port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log: BinaryIO | None = None
        self._control: ControlClient | None = None

    def __enter__(self) -> AnnouncerProcess:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it; return when the control socket answers. The port stays the same over a restart."""
        self.control_path.unlink(missing_ok=True)
        self._log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(_COMMAND, env=self._environment(), stdout=self._log, stderr=self._log)
        self._control = eventually(self._connect, timeout_s=20, what="the announcer's control socket")

    def run_without_socket(self) -> tuple[int, str]:
        """Run it without a control socket to the end; return the exit code and what it wrote."""
        environ = self._environment()
        del environ["LLMPT_CONTROL_SOCKET"]
        done = subprocess.run(_COMMAND, env=environ, capture_output=True, text=True, timeout=20, check=False)
        return done.returncode, done.stdout + done.stderr

    def _environment(self) -> dict[str, str]:
        environ = {name: text for name, text in os.environ.items() if not name.startswith("LLMPT_")}
        environ |= {"LLMPT_BIND": "127.0.0.1", "XDG_CONFIG_HOME": str(self._folder)} | self._environ
        return environ | {"LLMPT_ANNOUNCE_PORT": str(self._port), "LLMPT_CONTROL_SOCKET": str(self.control_path)}

    def _connect(self) -> ControlClient | None:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            return ControlClient(self.control_path)
        except OSError:
            return None

    @property
    def control(self) -> ControlClient:
        assert self._control is not None, "not started"
        return self._control

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def descriptor_count(self) -> int:
        """How many descriptors it holds (Linux)."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self._folder / "log").read_text(errors="replace")

    @property
    def control_path(self) -> Path:
        return self._folder / "control.sock"

    def set_port(self, port: int) -> None:
        """Choose the announce port of the next start (0: a free one)."""
        self._port = port

    @property
    def port(self) -> int:
        assert self._port, "not opened"
        return self._port

    @property
    def announce_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/announce"

    def open(self) -> str:
        """Open the announce port; return the boot id."""
        reply = self.control.do("open")
        self._port, self.udp_port = reply["announce_port"], reply["udp_port"]
        return str(reply["boot_id"])

    def stop(self) -> int | None:
        """End it with SIGTERM (and SIGKILL, when that takes more than 10 s); return the exit code."""
        if self._control is not None:
            self._control.close()
            self._control = None
        code = None
        if self._process is not None:
            self._process.terminate()
            try:
                code = self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                code = self._process.wait(10)
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
        return code

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def restart(self) -> None:
        """Stop and start it: it has forgotten everything, and its port is closed until `open`."""
        self.stop()
        self.start()
