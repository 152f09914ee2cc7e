"""Starting the machine's agent on first need, and replacing one that is older than we are.

Starting is single, however many threads and processes want an agent at once: the holder of the start lock starts it, the
others wait and find it running, or learn that it could not be started. The agent belongs to none of them: it goes on when
its starter ends.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import AgentUnavailable, InvalidInput
from llmpt.link import answers, environment, interpreter, lock, paths, protocol, versions
from llmpt.link.fields import Message
from llmpt.link.protocol import LineReader
from llmpt.link.requests import Hello, Request, Retire
from llmpt.link.timings import TIMINGS, LinkTimings

log = logging.getLogger("llmpt")

RETRY_START = Pauses(first_s=5.0, longest_s=30.0)
AFTER_SILENCE = Pauses(first_s=5.0, longest_s=60.0)

Agent = tuple[int, int]  # one life of an agent: its socket's inode and change time


class Starter:
    """Finds the agent, starts it, replaces it. Holds nothing open; safe in threads and after a fork."""

    def __init__(
        self,
        tracker: str,
        *,
        environ: Mapping[str, str],
        command: Sequence[str] | None = None,
        breaker: Breaker | None = None,
        timings: LinkTimings = TIMINGS,
    ) -> None:
        """`command` stands in for the command that starts an agent. `breaker` says when one is tried again after a failure."""
        self._tracker = tracker
        self._environ = environ
        self._given_command = command
        self._timings = timings
        self._breaker = breaker or Breaker(RETRY_START)
        self.silence = Breaker(AFTER_SILENCE)
        self._heard_at = -math.inf
        self._said_no_place = False
        self._met: Agent | None = None
        self._heard: Agent | None = None
        self.min_blob_bytes: int | None = None  # as the agent's tracker has told it; None: not yet

    def ensure(self, *, anew: bool = False) -> None:
        """Return when an agent runs that is no older than this llmpt, or an older one that is busy. Raises `AgentUnavailable`.

        An agent is asked once how old it is, and what its tracker says, in each of its lives; `anew` asks in any case. One that
        was just started is asked the next time: its tracker has said nothing so far.
        """
        self.check()
        path = self._place()
        here = _agent_at(path)
        if not anew and here is not None and here == self._met:
            if time.monotonic() - self._heard_at > self._timings.believed_s:
                self._greet(path)  # it may have been suspended meanwhile
            return
        version = self._greet(path)
        if version is None:
            self._start(path)
            return
        if self._should_replace(version):
            self._start(path)
            return  # if it was busy it is asked again next time
        self._met = _agent_at(path)

    def meet(self) -> None:
        """Learn what the tracker of an agent says that runs already, once in each of its lives; start none, raise nothing."""
        here = None
        try:
            path = paths.socket_path(self._environ)
            here = _agent_at(path)
            if here is not None and here != self._heard:
                self.check()
                self._greet(path)
        except AgentUnavailable as error:  # silent, or there is no place for its socket
            self._heard = here
            log.debug("%s", error)

    def _place(self) -> Path:
        try:
            return paths.socket_path(self._environ)
        except AgentUnavailable as error:
            if not self._said_no_place:  # once: it stays so
                self._said_no_place = True
                _say(error)
            raise

    def check(self) -> None:
        """Raise `AgentUnavailable` while the agent is left alone, since it was silent: suspended, or out of descriptors."""
        if not self.silence.allows():
            raise AgentUnavailable("the agent is silent")

    def silent(self) -> None:
        """Note that it gives no answer: all of this process leave it alone for a while."""
        self.silence.failed(AgentUnavailable("the agent is silent"))

    def heard(self) -> None:
        """Note that it has said something."""
        self._heard_at = time.monotonic()
        self.silence.succeeded()

    def _greet(self, path: Path) -> str | None:
        """Return the version of the agent that answers at `path`; None when there is none."""
        self._heard = _agent_at(path)
        reply = self._ask(path, Hello())
        if reply is None:
            return None
        self.min_blob_bytes = answers.Greeting.parse(reply).min_blob_bytes
        return str(reply.get("version", ""))

    def _ask(self, path: Path, request: Request) -> Message | None:
        """Have an agent of whatever version answer; None when there is none. Raises `AgentUnavailable` when it is silent."""
        patience_s = self._timings.hello_s / (4 if self.silence.failures else 1)  # one that was silent has to be quick
        try:
            connection = paths.connect(path, timeout_s=patience_s)
            if connection is None:
                return None
            with connection:
                connection.sendall(protocol.encode(request.as_json()))
                reply = LineReader(connection).read(timeout_s=patience_s, any_version=True)
            self.heard()
            return reply
        except (TimeoutError, BlockingIOError):  # it takes no more connections
            self.silent()
            raise AgentUnavailable("the agent is silent") from None
        except InvalidInput as error:
            raise AgentUnavailable(str(error)) from None
        except (ConnectionError, BrokenPipeError):
            return None  # it has just ended
        except OSError as error:
            raise AgentUnavailable(f"the agent's socket broke: {error.strerror or error}") from None

    def _should_replace(self, version: str) -> bool:
        return versions.is_newer(versions.own_version(), version) and self._breaker.allows() and self._starts_its_own()

    def _starts_its_own(self) -> bool:
        """Whether what we start is of our own version: not the agent of another environment."""
        if self._given_command is not None:
            return True
        return interpreter.own() is not None and importlib.util.find_spec("libtorrent") is not None

    def _start(self, path: Path) -> None:
        """Start an agent unless another program does; an older one is asked to leave first. Raises `AgentUnavailable`."""
        asked_at = time.monotonic()
        if not self._breaker.allows():
            raise AgentUnavailable("no agent is running, and the last try to start one failed")
        try:
            with _locked(paths.start_lock_path(self._environ), timeout_s=self._timings.start_lock_s) as held:
                version = self._greet(path)
                if version is not None and not (self._should_replace(version) and self._retire(path, version)):
                    return
                if asked_at <= _failed_at(held) <= time.monotonic():  # not a time from before the last reboot
                    raise AgentUnavailable("no agent is running, and another try to start one has just failed")
                try:
                    self._run(self._command())
                except AgentUnavailable as error:
                    os.pwrite(held, f"{time.monotonic():030.6f}".encode(), 0)
                    _say(error)
                    raise
                self._breaker.succeeded()
                log.info("started an agent")
        except AgentUnavailable as error:
            self._breaker.failed(error)
            raise
        except OSError as error:  # a disk that is full, or the like
            unavailable = AgentUnavailable(f"the agent's folder {path.parent} cannot be used: {error.strerror or error}")
            _say(unavailable)
            self._breaker.failed(unavailable)
            raise unavailable from None

    def _retire(self, path: Path, version: str) -> bool:
        """Ask an older agent to make room; False when it goes on (something is under way)."""
        reply = self._ask(path, Retire())
        if reply is not None and not isinstance(answers.parse(reply), answers.Retiring):
            log.debug("the agent of llmpt %s goes on for now: %s", version or "?", reply.get("reason"))
            return False
        deadline = time.monotonic() + self._timings.retire_s
        while lock.is_held(self._environ) and time.monotonic() < deadline:
            time.sleep(0.02)  # the lock is all there is to look at; it has no event
        log.info("the agent of llmpt %s has made room for one of llmpt %s", version or "?", versions.own_version())
        return True

    def _command(self) -> Sequence[str]:
        if self._given_command is not None:
            return self._given_command
        own = interpreter.own()
        if own is not None and importlib.util.find_spec("libtorrent") is not None:
            return [own, "-m", "llmpt.agent", "--daemonize"]
        elsewhere = interpreter.llmpt_elsewhere(self._environ)
        if elsewhere is None:
            what = "this Python has no libtorrent" if own else "this program brings its own Python, which cannot run an agent"
            raise AgentUnavailable(f"{what}, and no other environment's `llmpt` is on PATH")
        return [elsewhere, "agent", "start"]

    def _run(self, command: Sequence[str]) -> None:
        environ = environment.clean({**self._environ, "LLMPT_TRACKER": self._tracker}, frozen=interpreter.is_frozen())
        folder = paths.runtime_dir(self._environ)  # there may be no folder for temporary files
        with tempfile.TemporaryFile(dir=folder) as errors:  # not a pipe: the agent that goes on running must not hold us up
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, cwd="/", env=environ,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise AgentUnavailable(f"{command[0]} cannot be run: {error.strerror}") from None
            try:
                status = process.wait(timeout=self._timings.start_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AgentUnavailable(f"it was not ready within {self._timings.start_s:g} s") from None
            errors.seek(0)
            said = errors.read(65536).decode(errors="replace").strip().splitlines()
            if status != 0 or (_reaps_by_itself() and self._greet(paths.socket_path(self._environ)) is None):
                raise AgentUnavailable(said[-1] if said else f"it ended with status {status}")


def _say(error: AgentUnavailable) -> None:
    log.warning("llmpt has no agent: %s; files come over HTTP where the LAN has them, else the ordinary way", error)


def _reaps_by_itself() -> bool:
    """Whether this program may learn nothing of how a child ends: it ignores SIGCHLD, or waits for every child."""
    return signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL


def _agent_at(path: Path) -> Agent | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


@contextmanager
def _locked(path: Path, *, timeout_s: float) -> Iterator[int]:
    import fcntl  # not at the top: Windows has none

    lock = paths.open_lock(path)
    try:
        deadline = time.monotonic() + timeout_s
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
