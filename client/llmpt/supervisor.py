"""Processes that live and die together: started with a parent-death signal, ended all when one ends.

with Supervisor() as family:
    family.start("tracker", [sys.executable, "-m", "llmpt_tracker", "serve"])
    family.start("seeder", [sys.executable, "-m", "llmpt_seeder", "run"])
    sys.exit(family.wait())
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger("llmpt.supervisor")

STOP_TIMEOUT_S = 20.0
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """A context manager that owns child processes; leaving it ends those that still run.

    It takes SIGTERM, SIGINT, SIGHUP and SIGCHLD (main thread only) and gives the old handlers back. On Linux the children
    also get SIGTERM when this process is killed; elsewhere only when it ends in an orderly way.
    """

    def __init__(self, *, stop_timeout_s: float = STOP_TIMEOUT_S) -> None:
        self._stop_timeout_s = stop_timeout_s
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._wake = threading.Event()
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Supervisor:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def stopping(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._signal is not None

    def start(
        self, name: str, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a child in a session of its own, so that Ctrl-C reaches it once, through us."""
        child = subprocess.Popen(
            list(arguments),
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            preexec_fn=_die_with_parent(),
        )
        self._children[name] = child
        return child

    def wait(self) -> int:
        """Return when a signal comes (0) or a child ends (its exit code, at least 1); the others are ended by then."""
        while not self.stopping and not self._ended():
            self._wake.wait()
            self._wake.clear()
        ended = self._ended()
        self.stop()
        if self.stopping or ended is None:
            return 0
        name, code = ended
        log.error("%s ended (%s); ending the rest", name, f"exit code {code}" if code >= 0 else f"signal {-code}")
        return code if code > 0 else 1

    def stop(self) -> None:
        """End every child: SIGTERM, and SIGKILL for whoever has not left in time."""
        alive = [child for child in self._children.values() if child.poll() is None]
        for child in alive:
            child.send_signal(signal.SIGTERM)
        for child in alive:
            try:
                child.wait(self._stop_timeout_s)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _ended(self) -> tuple[str, int] | None:
        return next(((name, child.returncode) for name, child in self._children.items() if child.poll() is not None), None)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._signal = number
        self._wake.set()


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the kernel was asked
            os.kill(os.getpid(), signal.SIGTERM)

    return ask_the_kernel
