"""Processes that live and die together: started with a parent-death signal, ended all when one ends.

    with Supervisor() as family:
        family.start("tracker", [sys.executable, "-m", "llmpt_tracker", "serve"])
        family.start("seeder", [sys.executable, "-m", "llmpt_seeder", "run"])
        sys.exit(family.wait())

The parent is neutral: it serves nothing itself. (gunicorn's master reaps every child with `waitpid(-1)`, so nothing may be
its child that is not its worker.)
"""

from __future__ import annotations

import ctypes
import logging
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger("llmpt.host.supervisor")

STOP_TIMEOUT_S = 20.0  # longer than gunicorn's graceful time-out
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """A context manager that owns child processes; leaving it ends those that still run.

    It takes SIGTERM, SIGINT, SIGHUP and SIGCHLD (main thread only) and gives the old handlers back. On Linux the children
    also get SIGTERM when this process is killed; elsewhere only when it ends in an orderly way.
    """

    def __init__(self, *, stop_timeout_s: float = STOP_TIMEOUT_S) -> None:
        self._stop_timeout_s = stop_timeout_s
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._wake: queue.SimpleQueue[int] = queue.SimpleQueue()  # may be put into from a signal handler, unlike an Event
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

    @property
    def ended(self) -> tuple[str, int] | None:
        """Name and exit status (128 + signal, as shells have it) of a child that has ended; None while all run."""
        for name, child in self._children.items():
            if (code := child.poll()) is not None:
                return name, 128 - code if code < 0 else code
        return None

    def start(
        self, name: str, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
    ) -> None:
        """Start a child in a session of its own, so that Ctrl-C reaches it once, through us."""
        self._children[name] = subprocess.Popen(
            list(arguments),
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            preexec_fn=_die_with_parent(),
        )

    def wait(self, *, meanwhile: Callable[[], None] = lambda: None, every_s: float | None = None) -> int:
        """Return when a signal comes (0) or a child ends (its exit status, at least 1); the others have ended by then.

        `meanwhile` is called every `every_s` seconds, and once more before the end.
        """
        while not self.stopping and self.ended is None:
            try:
                self._wake.get(timeout=every_s)
            except queue.Empty:
                meanwhile()
        meanwhile()
        ended = None if self.stopping else self.ended
        self.stop()
        if ended is None:
            return 0
        name, status = ended
        log.error("%s ended with status %d; ending the rest", name, status)
        return status or 1

    def stop(self) -> None:
        """End every child, the youngest first, since it may lean on the older ones: SIGTERM, then SIGKILL when the time
        for all of them is over. Returns when they are gone."""
        deadline = time.monotonic() + self._stop_timeout_s
        for name, child in reversed(self._children.items()):
            if child.poll() is None:
                child.terminate()
            try:
                child.wait(max(deadline - time.monotonic(), 0.5))
            except subprocess.TimeoutExpired:
                log.warning("%s did not end in %g s: killing it", name, self._stop_timeout_s)
                child.kill()
                child.wait()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._signal = number
        self._wake.put(number)


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the kernel was asked
            os.kill(os.getpid(), signal.SIGTERM)

    return ask_the_kernel
