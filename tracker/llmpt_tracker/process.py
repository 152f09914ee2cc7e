"""Child processes that never outlive us.

The parent is neutral: it serves nothing itself. Each child is told by the kernel (Linux) when its parent dies, and the
parent ends all of them when one ends. (gunicorn's own master reaps every child with `waitpid(-1)`, so nothing may be its
child that is not its worker.)
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TERM_GRACE_S = 15.0  # longer than gunicorn's graceful time-out


class Stopped(Exception):
    """We were asked to end (SIGTERM, SIGINT)."""


class Children:
    """The child processes of a parent that runs them together. A context manager: leaving it ends them all."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def __enter__(self) -> Children:
        for number in SIGNALS:
            signal.signal(number, _stop)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def spawn(self, name: str, command: Sequence[str], *, environ: Mapping[str, str], fds: Sequence[int] = ()) -> None:
        """Start `command` under `name`. It keeps the file descriptors in `fds` and has a session of its own, so that
        Ctrl-C reaches it through us alone."""
        parent = os.getpid()

        def die_with_parent() -> None:
            if self._libc is not None:
                self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
                if os.getppid() != parent:
                    os._exit(1)  # the parent died before the kernel knew

        self._running[name] = subprocess.Popen(
            list(command),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(fds),
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def ended(self) -> tuple[str, int] | None:
        """Return name and exit status (128 + signal, as shells have it) of a child that has ended; None while all run."""
        for name, process in self._running.items():
            code = process.poll()
            if code is not None:
                return name, 128 - code if code < 0 else code
        return None

    def wait(self) -> tuple[str, int]:
        """Wait until a child ends; return its name and exit status. Raises `Stopped` when we are asked to end."""
        while True:
            if hasattr(os, "waitid"):
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # WNOWAIT leaves the exit status to Popen
            else:
                time.sleep(0.2)  # macOS before Python 3.13
            if (found := self.ended()) is not None:
                return found

    def stop(self) -> None:
        """End all children, the youngest first, since it may lean on the older ones: SIGTERM, then SIGKILL when the grace
        for all of them is over. Returns when they are gone."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # we are ending already; a second Ctrl-C must not leave children behind
        deadline = time.monotonic() + TERM_GRACE_S
        for name, process in reversed(self._running.items()):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(max(deadline - time.monotonic(), 0.5))
            except subprocess.TimeoutExpired:
                log.warning("%s did not end in %g s: killing it", name, TERM_GRACE_S)
                process.kill()
                process.wait()


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped
