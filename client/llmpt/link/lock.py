"""The agent's lock: its holder is this user's agent on this machine. The kernel lets go of it however a process ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from llmpt.core.errors import AgentUnavailable
from llmpt.link import paths

ENDING_TIMEOUT_S = 4.0
_PAUSE_S = 0.02  # a lock has no event to wait for


class AlreadyRunning(AgentUnavailable):
    """Another agent of this user holds the lock."""


@contextmanager
def held(environ: Mapping[str, str], *, ending_s: float = ENDING_TIMEOUT_S) -> Iterator[None]:
    """Hold the lock that makes this the only agent.

    One that holds it and answers no program is ending, or only starting: it is given `ending_s`. Raises
    `AlreadyRunning` when it answers, `AgentUnavailable` when it neither answers nor ends.
    """
    descriptor = paths.open_lock(paths.lock_path(environ))
    try:
        deadline = time.monotonic() + ending_s
        while not take(descriptor):
            if _answers(environ):
                raise AlreadyRunning("an agent runs already; `llmpt agent status` shows it, `llmpt agent stop` ends it")
            if time.monotonic() > deadline:
                raise AgentUnavailable("an agent runs already, and does not answer")
            time.sleep(_PAUSE_S)
        _note_holder(descriptor, environ)
        yield
    finally:
        os.close(descriptor)


def is_held(environ: Mapping[str, str]) -> bool:
    """Whether some agent still lives."""
    descriptor = paths.open_lock(paths.lock_path(environ))
    try:
        return not take(descriptor)
    finally:
        os.close(descriptor)


def holder(environ: Mapping[str, str]) -> int | None:
    """Return the process of the agent that lives, also of one that says nothing; None when it cannot be told from here."""
    if not is_held(environ):
        return None
    try:
        connection = paths.connect(paths.socket_path(environ), timeout_s=1.0)
        if connection is not None:
            with connection:  # what the kernel says of the other end holds, whatever state that is in
                return paths.peer_of(connection) or None
    except OSError:
        pass  # it takes no more connections
    try:
        pid = int((paths.lock_path(environ).read_bytes().split() or [b"0"])[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if b"llmpt" in command else None  # what another container wrote may be the number of any process here


def _note_holder(descriptor: int, environ: Mapping[str, str]) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {environ.get('LLMPT_TRACKER', '').strip()}".encode(), 0)
    except OSError:
        pass  # a full disk: only `llmpt agent stop` would read it, and only of an agent that is silent


def take(descriptor: int) -> bool:
    """Lock an open file, or folder; return whether that was granted."""
    import fcntl  # not at the top: Windows has none

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(environ: Mapping[str, str]) -> bool:
    try:
        connection = paths.connect(paths.socket_path(environ), timeout_s=1.0)
    except OSError:
        return False
    if connection is None:
        return False
    connection.close()
    return True
