"""A program on a terminal of its own, and what stands on that terminal.

with Screen(machine, "-m", "llmpt", "status", "--watch") as screen:
    eventually(lambda: "agent" in screen.shown(), what="the agent to be shown")
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from types import TracebackType

from tests.support.machine import Machine

HOME, LEAVE = b"\x1b[H", b"\x1b[?1049l"  # a frame begins; the terminal is as it was before


class Screen:
    """A context manager; leaving it kills the program, if it still runs."""

    def __init__(self, machine: Machine, *arguments: str, lines: int = 40, columns: int = 160) -> None:
        self._machine, self._arguments, self._size = machine, arguments, (lines, columns)
        self._written = b""

    def __enter__(self) -> Screen:
        self._mine, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))
        self.process = subprocess.Popen(
            [str(self._machine.python), *self._arguments],
            env=self._machine.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"},
            stdin=its,
            stdout=its,
            stderr=its,
            cwd=self._machine.root,
        )
        os.close(its)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self._mine)

    def written(self) -> bytes:
        """Return all that the program has written."""
        while select.select([self._mine], [], [], 0)[0]:
            try:
                data = os.read(self._mine, 1 << 16)
            except OSError:  # it has ended
                break
            if not data:
                break
            self._written += data
        return self._written

    def shown(self) -> str:
        """Return the last whole frame; nothing before there is one."""
        return b"".join(self.written().split(HOME)[-2:-1]).decode(errors="replace")
