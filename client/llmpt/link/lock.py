"""The agent's lock: its holder is this user's agent on this machine. The kernel lets go of it however a process ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

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
    descriptor = os.open(paths.lock_path(environ), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + ending_s
        while not _take(descriptor):
            if _answers(environ):
                raise AlreadyRunning("an agent runs already; `llmpt agent status` shows it, `llmpt agent stop` ends it")
            if time.monotonic() > deadline:
                raise AgentUnavailable("an agent runs already, and does not answer")
            time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(descriptor)


def is_held(environ: Mapping[str, str]) -> bool:
    """Whether some agent still lives."""
    descriptor = os.open(paths.lock_path(environ), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
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
