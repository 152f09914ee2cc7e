"""A Valkey of the tests' own (or a Redis, which speaks the same): in a folder of its own, gone with them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

from tests.support.ports import free_ports
from tests.support.process import ServerProcess
from tests.support.waiting import eventually


def program() -> str | None:
    """Return the server that this machine has; None without one."""
    return shutil.which("valkey-server") or shutil.which("redis-server")


class ValkeyProcess(ServerProcess):
    """Runs while the `with` block does, on a port of 127.0.0.1 that stays the same over a restart; it keeps nothing."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="llmpt-valkey-"))
        super().__init__(self.folder / "log")
        (self._port,) = free_ports(1)

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self._port}"

    def start(self) -> None:
        command = [str(program()), "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self._spawn(command, {**os.environ})
        eventually(self._answers, timeout_s=20, what="Valkey answers")

    def hang(self) -> None:
        """Let it answer nothing, and close nothing (SIGSTOP), until it is killed or goes on."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def __exit__(self, *exc: object) -> None:
        if self.running:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self.running, self.log.read_text()
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False
