"""The hook's side of the agent's socket: have a file fetched by the machine's agent, which is started if there is none."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from llmpt.core import errand
from llmpt.core.errors import AgentEnding, AgentUnavailable, InvalidInput
from llmpt.link import answers, lock, paths, protocol
from llmpt.link.answers import Answer, Done, Ending, Failed, Ok, Progress, Refused, StatusReport
from llmpt.link.fields import Message
from llmpt.link.protocol import LineReader
from llmpt.link.requests import FetchBegun, FetchRequest, Landed, Request, Status
from llmpt.link.starter import Starter
from llmpt.link.timings import TIMINGS, LinkTimings
from llmpt.settings import ClientSettings

log = logging.getLogger("llmpt")


@dataclass(frozen=True, slots=True)
class NoAgent:
    """None runs, and none can be started.

    `reason`: why, in words for people.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Silent:
    """The agent gives no answer, and may still write to the file, and give of it to others.

    `reason`: how it was silent.
    """

    reason: str


FetchResult: TypeAlias = Done | Refused | Failed | NoAgent | Silent


class AgentClient:
    """The way from this process to the machine's agent. Holds no connection; safe in threads and after a fork."""

    def __init__(
        self,
        settings: ClientSettings,
        *,
        environ: Mapping[str, str],
        start_command: Sequence[str] | None = None,
        timings: LinkTimings = TIMINGS,
    ) -> None:
        """`start_command` stands in for the command that starts an agent."""
        self._settings = settings
        self._environ = environ
        self._timings = timings
        self._starter = Starter(settings.tracker or "", environ=environ, command=start_command, timings=timings)
        self._met_at = -math.inf

    @property
    def min_blob_bytes(self) -> int:
        """Smaller files have no swarm, as the tracker has told an agent that runs; until then, as our settings say."""
        now = time.monotonic()
        if now - self._met_at > self._timings.looked_s:
            self._met_at = now
            self._starter.meet()
        told = self._starter.min_blob_bytes
        return self._settings.min_blob_bytes if told is None else told

    def fetch(self, request: FetchRequest, *, on_progress: Callable[[Progress], None]) -> FetchResult:
        """Have `request` fetched; return how it ended. Whatever is raised meanwhile cancels it.

        The agent's silence for `stall_timeout_s` and a margin counts as failure. An agent that dies, or makes room for
        another, has a successor, which is asked once more: it goes on with what is in the file. Never raises for an agent
        that is not there, says nonsense, or dies.
        """
        result = self._fetch(request, on_progress)
        if result is None:
            errand.check()
            log.debug("the agent ended in the middle of a request; asked again")
            self._await_end()
            result = self._fetch(request, on_progress)
        return Failed("the agent has gone away") if result is None else result

    def _await_end(self) -> None:
        """Give an agent that is dying the moment it takes: until then its socket accepts, and no answer comes."""
        deadline = time.monotonic() + self._timings.ending_s
        try:
            while lock.is_held(self._environ) and time.monotonic() < deadline:
                time.sleep(0.02)  # a lock has no event to wait for
        except (AgentUnavailable, OSError) as error:
            log.debug("the agent's lock cannot be looked at: %s", error)

    def _fetch(self, request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult | None:
        """As `fetch`; None when the agent ended in the middle."""
        is_asked = False
        try:
            with self._connected(start=True) as connection:
                connection.sendall(protocol.encode(request.as_json()))
                is_asked = True
                reader = LineReader(connection)
                while True:
                    event = reader.read(timeout_s=self._settings.stall_timeout_s + self._timings.silence_margin_s)
                    self._starter.heard()
                    said = None if event is None else answers.parse(event)
                    if event is None or isinstance(said, Ending):
                        return None
                    if isinstance(said, Progress):
                        on_progress(said)
                    elif isinstance(said, Failed):
                        return replace(said, have=said.have_of(request.size))
                    elif isinstance(said, Done | Refused):
                        return said
        except TimeoutError:
            self._starter.silent()
            return Silent("the agent is silent")
        except AgentUnavailable as error:
            return NoAgent(str(error))
        except InvalidInput as error:
            return Failed(str(error))
        except ConnectionError:
            return None
        except OSError as error:
            reason = f"the agent's socket broke: {error.strerror or error}"
            return Silent(reason) if is_asked else NoAgent(reason)

    def fetching(self, message: FetchBegun, *, until: ExitStack) -> bool:
        """Tell the agent what is being downloaded for all; True if it watches from here on, until `until` is closed."""
        try:
            connection = until.enter_context(self._connected(start=False))
            connection.sendall(protocol.encode(message.as_json()))
            answer = LineReader(connection).read(timeout_s=self._timings.connect_s)
        except (OSError, InvalidInput, AgentUnavailable) as error:
            self._note_silence(error)
            log.debug("the agent was not told that %s is being fetched: %s", message.etag, error)
            return False
        return answer is not None and isinstance(answers.parse(answer), Ok)

    def landed(self, message: Landed) -> None:
        """Tell the agent where a file lies at last, so that it can seed it. An agent that is gone need not know."""
        try:
            self.ask(message)
        except AgentUnavailable as error:
            log.debug("the agent was not told where %s lies: %s", message.etag, error)

    def status(self, *, start: bool = False) -> Message:
        """Return what the agent says of itself; with `start`, start one if none runs. Raises `AgentUnavailable`."""
        answer = self.ask(Status(), start=start)
        if not isinstance(answer, StatusReport):
            why = answer.reason if isinstance(answer, Refused | Failed) else "no reason given"
            raise AgentUnavailable(f"the agent does not say what it does: {why}")
        return dict(answer.report)

    def ask(self, request: Request, *, timeout_s: float | None = None, start: bool = False) -> Answer:
        """Send one request to the agent and return what ends its answer; with `start`, start one if none runs.

        Raises `AgentUnavailable`. `timeout_s` bounds the silence: what takes longer is accompanied by reports of progress.
        """
        silence_s = self._timings.connect_s if timeout_s is None else timeout_s
        try:
            with self._connected(start=start) as connection:
                connection.sendall(protocol.encode(request.as_json()))
                reader = LineReader(connection, max_line_bytes=protocol.MAX_ANSWER_BYTES)
                while (event := reader.read(timeout_s=silence_s)) is not None:
                    answer = answers.parse(event)
                    if isinstance(answer, Ending):
                        raise AgentEnding("the agent is ending")
                    if answer is not None and not isinstance(answer, Progress):
                        return answer
        except (OSError, InvalidInput) as error:
            self._note_silence(error)
            raise AgentUnavailable(f"the agent gave no answer: {error}") from None
        raise AgentUnavailable("the agent closed the connection without an answer")

    def _note_silence(self, error: Exception) -> None:
        if isinstance(error, TimeoutError | BlockingIOError):
            self._starter.silent()

    @contextmanager
    def _connected(self, *, start: bool) -> Iterator[socket.socket]:
        if not hasattr(socket, "AF_UNIX") or os.name != "posix":
            raise AgentUnavailable("this system has no agent yet (Linux and macOS have)")
        self._starter.check()
        if start:
            self._starter.ensure()
        path = paths.socket_path(self._environ)
        connection = paths.connect(path, timeout_s=self._timings.connect_s)
        if connection is None and start:  # the one that we knew was killed, and its socket lies there still
            self._starter.ensure(anew=True)
            connection = paths.connect(path, timeout_s=self._timings.connect_s)
        if connection is None:
            raise AgentUnavailable("no agent is running")
        opened_by = os.getpid()
        with connection:
            try:
                with errand.ending(lambda: _hang_up(connection)):
                    yield connection
            finally:
                if os.getpid() == opened_by:
                    _hang_up(connection)


def _hang_up(connection: socket.socket) -> None:
    """End the conversation: closing alone would not, if a child that was forked meanwhile holds a copy of the socket."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was quicker
