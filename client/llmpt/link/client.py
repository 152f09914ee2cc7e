"""The hook's side of the agent's socket: have a file fetched by the machine's agent, which is started if there is none."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from llmpt.core.errors import AgentUnavailable, InvalidInput
from llmpt.link import lock, paths, protocol
from llmpt.link.protocol import FetchRequest, LineReader, Message
from llmpt.link.starter import Starter
from llmpt.settings import ClientSettings

log = logging.getLogger("llmpt")

CONNECT_TIMEOUT_S = 2.0
ENDING_TIMEOUT_S = 2.0
# The agent reports at least every half second once bytes flow; before, it may be waiting for the tracker and for peers.
SILENCE_MARGIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is. `done_bytes` may go down: a piece that fails its hash is fetched again.

    `waiting`: nothing has come; this is how far another machine is, that fetches it for all.
    """

    done_bytes: int
    rate_bytes_s: int
    peers: int
    waiting: bool = False


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
                connection.sendall(protocol.encode(request.message()))
                reader = LineReader(connection)
                while True:
                    event = reader.read(timeout_s=self._settings.stall_timeout_s + SILENCE_MARGIN_S)
                    if event is None:
                        return None
                    kind = event.get("event")
                    if kind == protocol.PROGRESS:
                        bytes_done, waiting = _count(event, "bytes"), event.get("waiting") is True
                        on_progress(Progress(bytes_done, _count(event, "rate_bytes_s"), _count(event, "peers"), waiting))
                    elif kind == protocol.DONE:
                        return Outcome(
                            True,
                            moved=event.get("moved") is True,
                            begun=True,
                            bytes_from_lan=_count(event, "bytes_from_lan"),
                            bytes_by_http=_count(event, "bytes_by_http"),
                            peers=_count(event, "peers"),
                        )
                    elif kind in protocol.TERMINAL:
                        reason = str(event.get("reason", ""))[:500] or "no reason given"
                        have, fetch = _ranges(event.get("have"), request.size), event.get("fetch") is True
                        return Outcome(False, reason=reason, have=have, fetch=fetch)
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

    def fetching(self, until: ExitStack, *, etag: str, stem: str, tracker: str) -> bool:
        """Tell the agent that `etag` is being downloaded for all, into a file whose path begins with `stem`; True if it knows.

        It watches until `until` is closed.
        """
        try:
            connection = until.enter_context(self._connected(start=False))
            connection.sendall(protocol.encode({"op": protocol.FETCHING, "etag": etag, "stem": stem, "tracker": tracker}))
            answer = LineReader(connection).read(timeout_s=CONNECT_TIMEOUT_S)
        except (OSError, InvalidInput, AgentUnavailable) as error:
            log.debug("the agent was not told that %s is being fetched: %s", etag, error)
            return False
        return answer is not None and answer.get("event") == protocol.OK

    def landed(self, *, etag: str, path: str, tracker: str, fetched: bool = False) -> None:
        """Tell the agent where the file of `etag` lies at last, so that it can seed it. An agent that is gone need not know.

        `fetched`: it was downloaded for all.
        """
        try:
            self.ask({"op": protocol.LANDED, "etag": etag, "path": path, "tracker": tracker, "fetched": fetched})
        except AgentUnavailable as error:
            log.debug("the agent was not told where %s lies: %s", etag, error)

    def ask(self, message: Mapping[str, object], *, timeout_s: float = CONNECT_TIMEOUT_S, start: bool = False) -> Message:
        """Send one request to the agent and return its final reply; with `start`, start one if none runs.

        Raises `AgentUnavailable`. `timeout_s` bounds the silence: what takes longer is accompanied by reports of progress.
        """
        try:
            with self._connected(start=start) as connection:
                connection.sendall(protocol.encode(message))
                reader = LineReader(connection)
                reply = reader.read(timeout_s=timeout_s)
                while reply is not None and reply.get("event") == protocol.PROGRESS:
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


def _count(event: Message, name: str) -> int:
    value = event.get(name)
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 60 else 0


def _ranges(value: object, size: int) -> tuple[tuple[int, int], ...]:
    """Read byte ranges of a file of `size` bytes; nothing where they make no sense."""
    found: list[tuple[int, int]] = []
    end = -1
    for part in value if isinstance(value, list) else ():
        if not (isinstance(part, list) and len(part) == 2 and all(type(at) is int for at in part)):
            return ()
        start, stop = part
        if not end < start < stop <= size:
            return ()
        found.append((start, stop))
        end = stop
    return tuple(found)
