"""The hook's side of the agent's socket: have a file fetched by the machine's agent, which is started if there is none."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.errors import AgentEnding, AgentUnavailable, InvalidInput
from llmpt.link import answers, lock, paths, protocol
from llmpt.link.answers import Answer, Done, Ending, Failed, Ok, Progress, Refused, StatusReport
from llmpt.link.fields import Message
from llmpt.link.protocol import LineReader
from llmpt.link.requests import Fetching, FetchRequest, Landed, Request, Status
from llmpt.link.starter import Starter
from llmpt.settings import ClientSettings

log = logging.getLogger("llmpt")

CONNECT_TIMEOUT_S = 2.0
ENDING_TIMEOUT_S = 2.0
# The agent reports at least every half second once bytes flow; before, it may be waiting for the tracker and for peers.
SILENCE_MARGIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a fetch ended.

    `verified`: the content is there and is what its etag says, at the destination if `moved`, else in the temporary file.
    Otherwise `reason` says why not, `begun` whether bytes had flowed, and `have` which byte ranges [start, stop) of the
    temporary file are verified all the same, in order; `no_agent`: none runs, and none can be started; `fetch`: this machine
    is to fetch it, or the rest of it, for the whole LAN (`Link.fetching`); `in_use`: an agent may still write to the file.
    `bytes_by_http` are those of `bytes_from_lan` that a seeder sent by plain HTTP.
    """

    verified: bool
    moved: bool = False
    begun: bool = False
    reason: str = ""
    bytes_from_lan: int = 0
    bytes_by_http: int = 0
    peers: int = 0
    have: tuple[tuple[int, int], ...] = ()
    no_agent: bool = False
    fetch: bool = False
    in_use: bool = False


class Link:
    """The way from this process to the machine's agent. Holds no connection; safe in threads and after a fork."""

    def __init__(
        self, settings: ClientSettings, *, environ: Mapping[str, str], start_command: Sequence[str] | None = None
    ) -> None:
        """`start_command` stands in for the command that starts an agent."""
        self._settings = settings
        self._environ = environ
        self._starter = Starter(settings.tracker or "", environ=environ, command=start_command)

    def fetch(self, request: FetchRequest, *, on_progress: Callable[[Progress], None]) -> Outcome:
        """Have `request` fetched; return when it is verified, refused or failed. Whatever is raised meanwhile cancels it.

        The agent's silence for `stall_timeout_s` and a margin counts as failure. An agent that dies, or makes room for
        another, has a successor, who is asked once more: it goes on with what is in the file. Never raises for an agent
        that is not there, says nonsense, or dies.
        """
        begun = False

        def note(progress: Progress) -> None:
            nonlocal begun
            begun = begun or (progress.done_bytes > 0 and not progress.waiting)
            on_progress(progress)

        for first in (True, False):
            outcome = self._fetch(request, note)
            if outcome is not None:
                return outcome if outcome.verified else replace(outcome, begun=begun)
            log.debug("the agent ended in the middle of a request%s", "; asked again" if first else "")
            if first:
                self._await_end()
        return Outcome(False, begun=begun, reason="the agent has gone away")

    def _await_end(self) -> None:
        """Give an agent that is dying the moment it takes: until then its socket accepts, and nobody answers there."""
        deadline = time.monotonic() + ENDING_TIMEOUT_S
        try:
            while lock.is_held(self._environ) and time.monotonic() < deadline:
                time.sleep(0.02)  # a lock has no event to wait for
        except (AgentUnavailable, OSError) as error:
            log.debug("the agent's lock cannot be looked at: %s", error)

    def _fetch(self, request: FetchRequest, on_progress: Callable[[Progress], None]) -> Outcome | None:
        """As `fetch`; None when the agent ended in the middle."""
        try:
            with self._connected(start=True) as connection:
                connection.sendall(protocol.encode(request.as_json()))
                reader = LineReader(connection)
                while True:
                    event = reader.read(timeout_s=self._settings.stall_timeout_s + SILENCE_MARGIN_S)
                    said = None if event is None else answers.parse(event)
                    if event is None or isinstance(said, Ending):
                        return None
                    if isinstance(said, Progress):
                        on_progress(said)
                    elif isinstance(said, Done):
                        return Outcome(
                            True,
                            moved=said.moved,
                            begun=True,
                            bytes_from_lan=said.bytes_from_lan,
                            bytes_by_http=said.bytes_by_http,
                            peers=said.peers,
                        )
                    elif isinstance(said, Failed):
                        return Outcome(False, reason=said.reason, have=said.have_of(request.size), fetch=said.fetch)
                    elif isinstance(said, Refused):
                        return Outcome(False, reason=said.reason, fetch=said.fetch)
        except TimeoutError:
            return Outcome(False, reason="the agent is silent", in_use=True)
        except AgentUnavailable as error:
            return Outcome(False, reason=str(error), no_agent=True)
        except InvalidInput as error:
            return Outcome(False, reason=str(error))
        except ConnectionError:
            return None
        except OSError as error:
            return Outcome(False, reason=f"the agent's socket broke: {error.strerror or error}", in_use=True)

    def fetching(self, until: ExitStack, *, etag: Etag, stem: Path, tracker: str) -> bool:
        """Tell the agent that `etag` is being downloaded for all, into a file whose path begins with `stem`; True if it knows.

        It watches until `until` is closed.
        """
        try:
            connection = until.enter_context(self._connected(start=False))
            connection.sendall(protocol.encode(Fetching(tracker, etag, stem).as_json()))
            answer = LineReader(connection).read(timeout_s=CONNECT_TIMEOUT_S)
        except (OSError, InvalidInput, AgentUnavailable) as error:
            log.debug("the agent was not told that %s is being fetched: %s", etag, error)
            return False
        return answer is not None and isinstance(answers.parse(answer), Ok)

    def landed(self, *, etag: Etag, path: Path, tracker: str, fetched: bool = False) -> None:
        """Tell the agent where the file of `etag` lies at last, so that it can seed it. An agent that is gone need not know.

        `fetched`: it was downloaded for all.
        """
        try:
            self.ask(Landed(tracker, etag, path, fetched))
        except AgentUnavailable as error:
            log.debug("the agent was not told where %s lies: %s", etag, error)

    def status(self, *, start: bool = False) -> Message:
        """Return what the agent says of itself; with `start`, start one if none runs. Raises `AgentUnavailable`."""
        answer = self.ask(Status(), start=start)
        if not isinstance(answer, StatusReport):
            raise AgentUnavailable("the agent does not say what it does")
        return dict(answer.report)

    def ask(self, request: Request, *, timeout_s: float = CONNECT_TIMEOUT_S, start: bool = False) -> Answer:
        """Send one request to the agent and return what ends its answer; with `start`, start one if none runs.

        Raises `AgentUnavailable`. `timeout_s` bounds the silence: what takes longer is accompanied by reports of progress.
        """
        try:
            with self._connected(start=start) as connection:
                connection.sendall(protocol.encode(request.as_json()))
                reader = LineReader(connection)
                while (event := reader.read(timeout_s=timeout_s)) is not None:
                    answer = answers.parse(event)
                    if isinstance(answer, Ending):
                        raise AgentEnding("the agent is ending")
                    if answer is not None and not isinstance(answer, Progress):
                        return answer
        except (OSError, InvalidInput) as error:
            raise AgentUnavailable(f"the agent gave no answer: {error}") from None
        raise AgentUnavailable("the agent closed the connection without an answer")

    @contextmanager
    def _connected(self, *, start: bool) -> Iterator[socket.socket]:
        if not hasattr(socket, "AF_UNIX") or os.name != "posix":
            raise AgentUnavailable("this system has no agent yet (Linux and macOS have)")
        if start:
            self._starter.ensure()
        path = paths.socket_path(self._environ)
        connection = paths.connect(path, timeout_s=CONNECT_TIMEOUT_S)
        if connection is None and start:  # the one that we knew was killed, and its socket lies there still
            self._starter.ensure(anew=True)
            connection = paths.connect(path, timeout_s=CONNECT_TIMEOUT_S)
        if connection is None:
            raise AgentUnavailable("no agent is running")
        opened_by = os.getpid()
        with connection:
            try:
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
