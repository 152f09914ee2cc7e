"""The hook's side of the agent's socket: find the machine's agent, start it if there is none, have a file fetched.

Starting is single, however many threads and processes want an agent at once: whoever holds the start lock starts it, the
others wait and find it running, or learn that it could not be started.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmpt.agent import messages
from llmpt.agent.messages import FetchRequest, LineReader, Message
from llmpt.core.errors import AgentUnavailable, InvalidInput
from llmpt.settings import ClientSettings

log = logging.getLogger("llmpt")

CONNECT_TIMEOUT_S = 2.0
START_TIMEOUT_S = 5.0
START_LOCK_TIMEOUT_S = START_TIMEOUT_S + 3
RETRY_START_AFTER_S = 30.0
# The agent reports at least every half second once bytes flow; before, it may be waiting for the tracker and for peers.
SILENCE_MARGIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is. `done_bytes` may go down: a piece that fails its hash is fetched again."""

    done_bytes: int
    rate_bytes_s: int
    peers: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a fetch ended.

    `verified`: the content is there and is what its etag says, at the destination if `moved`, else in the temporary file.
    Otherwise `reason` says why not, and `begun` whether bytes had flowed.
    """

    verified: bool
    moved: bool = False
    begun: bool = False
    reason: str = ""
    bytes_from_lan: int = 0
    peers: int = 0


class Link:
    """The way from this process to the machine's agent. Holds no connection; safe in threads and after a fork."""

    def __init__(
        self, settings: ClientSettings, *, environ: Mapping[str, str], start_command: Sequence[str] | None = None
    ) -> None:
        """`start_command` stands in for the command that starts an agent."""
        self._settings = settings
        self._environ = environ
        self._start_command = start_command
        self._gave_up_at: float | None = None

    def fetch(self, request: FetchRequest, *, on_progress: Callable[[Progress], None]) -> Outcome:
        """Have `request` fetched; return when it is verified, refused or failed. Whatever is raised meanwhile cancels it.

        The agent's silence for `stall_timeout_s` and a margin counts as failure. Never raises for an agent that is not
        there, says nonsense, or dies.
        """
        begun = False
        try:
            with self._connected(start=True) as connection:
                connection.sendall(messages.encode(request.message()))
                reader = LineReader(connection)
                while True:
                    event = reader.read(timeout_s=self._settings.stall_timeout_s + SILENCE_MARGIN_S)
                    if event is None:
                        return Outcome(False, begun=begun, reason="the agent has gone away")
                    kind = event.get("event")
                    if kind == messages.PROGRESS:
                        progress = Progress(_count(event, "bytes"), _count(event, "rate_bytes_s"), _count(event, "peers"))
                        begun = begun or progress.done_bytes > 0
                        on_progress(progress)
                    elif kind == messages.DONE:
                        moved, lan = event.get("moved") is True, _count(event, "bytes_from_lan")
                        return Outcome(True, moved=moved, begun=True, bytes_from_lan=lan, peers=_count(event, "peers"))
                    elif kind in messages.TERMINAL:
                        return Outcome(False, begun=begun, reason=str(event.get("reason", ""))[:500] or "no reason given")
        except TimeoutError:
            return Outcome(False, begun=begun, reason="the agent is silent")
        except (AgentUnavailable, InvalidInput) as error:
            return Outcome(False, begun=begun, reason=str(error))
        except OSError as error:
            return Outcome(False, begun=begun, reason=f"the agent's socket broke: {error.strerror or error}")

    def landed(self, *, etag: str, path: str, tracker: str) -> None:
        """Tell the agent where the file of `etag` lies at last, so that it can seed it. An agent that is gone need not know."""
        try:
            self.ask({"op": messages.LANDED, "etag": etag, "path": path, "tracker": tracker})
        except AgentUnavailable as error:
            log.debug("the agent was not told where %s lies: %s", etag, error)

    def ask(self, message: Mapping[str, object], *, timeout_s: float = CONNECT_TIMEOUT_S) -> Message:
        """Send one request to a running agent and return its final reply. Raises `AgentUnavailable`; starts none.

        `timeout_s` bounds the agent's silence: what takes longer is accompanied by reports of progress.
        """
        try:
            with self._connected(start=False) as connection:
                connection.sendall(messages.encode(message))
                reader = LineReader(connection)
                reply = reader.read(timeout_s=timeout_s)
                while reply is not None and reply.get("event") == messages.PROGRESS:
                    reply = reader.read(timeout_s=timeout_s)
        except (OSError, InvalidInput) as error:
            raise AgentUnavailable(f"the agent gave no answer: {error}") from None
        if reply is None:
            raise AgentUnavailable("the agent closed the connection without an answer")
        return reply

    @contextmanager
    def _connected(self, *, start: bool) -> Iterator[socket.socket]:
        if not hasattr(socket, "AF_UNIX") or os.name != "posix":
            raise AgentUnavailable("this system has no agent yet (Linux and macOS have)")
        path = str(messages.socket_path(self._environ))
        connection = _connect(path)
        if connection is None and start:
            self._start(path)
            connection = _connect(path)
        if connection is None:
            raise AgentUnavailable("no agent is running")
        with connection:
            yield connection

    def _start(self, path: str) -> None:
        """Start an agent unless somebody else does. Raises `AgentUnavailable`."""
        asked_at = time.monotonic()
        if self._gave_up_at is not None and asked_at - self._gave_up_at < RETRY_START_AFTER_S:
            raise AgentUnavailable("no agent is running, and the last try to start one failed")
        try:
            with _locked(messages.start_lock_path(self._environ)) as lock:
                connection = _connect(path)
                if connection is not None:
                    connection.close()
                    return
                if asked_at <= _failed_at(lock) <= time.monotonic():  # not a time from before the last reboot
                    raise AgentUnavailable("no agent is running, and another try to start one has just failed")
                try:
                    self._run(self._command())
                except AgentUnavailable as error:
                    os.pwrite(lock, f"{time.monotonic():030.6f}".encode(), 0)
                    log.warning("llmpt has no agent: %s; downloads take the ordinary path", error)
                    raise
                log.info("started an agent")
        except AgentUnavailable:
            self._gave_up_at = time.monotonic()
            raise

    def _command(self) -> Sequence[str]:
        if self._start_command is not None:
            return self._start_command
        if sys.executable and importlib.util.find_spec("libtorrent") is not None:
            return [sys.executable, "-m", "llmpt.agent", "--daemonize"]
        own = Path(sys.executable or "/").parent.resolve()  # in an active environment the first of PATH
        folders = (self._environ.get("PATH") or os.defpath).split(os.pathsep)
        others = os.pathsep.join(folder for folder in folders if folder and Path(folder).resolve() != own)
        elsewhere = shutil.which("llmpt", path=others) if others else None
        if elsewhere is None:
            raise AgentUnavailable("this Python has no libtorrent, and no other environment's `llmpt` is on PATH")
        return [elsewhere, "agent", "start"]

    def _run(self, command: Sequence[str]) -> None:
        environ = {**self._environ, "LLMPT_TRACKER": self._settings.tracker or ""}
        with tempfile.TemporaryFile() as errors:  # not a pipe: the agent that goes on running must not hold us up
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, cwd="/", env=environ,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise AgentUnavailable(f"{command[0]} cannot be run: {error.strerror}") from None
            try:
                status = process.wait(timeout=START_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AgentUnavailable(f"it was not ready within {START_TIMEOUT_S:g} s") from None
            if status != 0:
                errors.seek(0)
                said = errors.read(65536).decode(errors="replace").strip().splitlines()
                raise AgentUnavailable(said[-1] if said else f"it ended with status {status}")


def _connect(path: str) -> socket.socket | None:
    """Return a connection; None when nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_TIMEOUT_S)
    try:
        connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    import fcntl  # not at the top: Windows has none

    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + START_LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise AgentUnavailable("another process has been starting one for too long") from None
                time.sleep(0.02)
        try:
            yield lock
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # at once, even if a forked child holds a copy of the descriptor
    finally:
        os.close(lock)


def _failed_at(lock: int) -> float:
    """Return when (on the machine's monotonic clock) a start failed the last time; 0 when none did."""
    try:
        return float(os.pread(lock, 64, 0) or b"0")
    except ValueError:
        return 0.0


def _count(event: Message, name: str) -> int:
    value = event.get(name)
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 60 else 0
