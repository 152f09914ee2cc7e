"""The agent's socket: reads one request per connection, answers it, and notices when the other side goes away.

Every request gets an answer: also one that makes no sense, one that meets a bug of ours, and one that comes while the agent
is ending.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from llmpt.agent.conversation import Conversation
from llmpt.agent.seeding.offers import Offers
from llmpt.core import request_id
from llmpt.core.blob import Etag
from llmpt.core.errors import AgentEnding, AgentUnavailable, InvalidInput, LlmptError
from llmpt.link import protocol, requests
from llmpt.link.answers import Answer, Ending, Failed, Greeting, Ok, Refused, Retiring, StatusReport, Stopping
from llmpt.link.protocol import LineReader
from llmpt.link.requests import FetchBegun, FetchRequest, Hello, Landed, Request, Retire, Seed, Status, Stop, Unseed

if TYPE_CHECKING:  # it loads libtorrent
    from llmpt.agent.transfer.jobs import Jobs

log = logging.getLogger("llmpt.agent")

MAX_WORKING = 256
MAX_CONNECTIONS = 2 * MAX_WORKING  # so that there is room for questions about the agent itself


@dataclass(frozen=True, slots=True)
class Services:
    """What the agent does for those that ask.

    `jobs`: serves downloads, and watches what this machine fetches for all.
    `landed`: is told where a blob came to lie.
    `offers`: takes what people want seeded.
    `status`: returns what `llmpt status` shows.
    `used_by`: is told which processes have something fetched.
    `stop`: ends the agent.
    `min_blob_bytes`: the size below which files have no swarm, as the tracker says; None: it has not said so far.
    """

    jobs: Jobs
    landed: Callable[[Etag, Path], None]
    offers: Offers
    status: Callable[[], Mapping[str, Any]]
    used_by: Callable[[int], None]
    stop: Callable[[], None]
    min_blob_bytes: Callable[[], int | None] = lambda: None


@dataclass(frozen=True, slots=True)
class SocketTimings:
    """How long the socket's owner waits, in seconds.

    `request_s`: for the other side to say what it wants, and to take what it is told.
    `full_s`: before a connection is accepted again when the process has no more descriptors.
    """

    request_s: float = 5.0
    full_s: float = 0.5


TIMINGS = SocketTimings()


class Server:
    """Listens at `path`; a context manager. Each connection has a thread of its own."""

    def __init__(
        self,
        path: Path,
        services: Services,
        *,
        tracker: str | None,
        timings: SocketTimings = TIMINGS,
        max_working: int = MAX_WORKING,
    ) -> None:
        """`tracker` is the agent's; requests that name another one are refused, and fetches beyond `max_working`."""
        self._path, self._services, self._tracker, self._timings = path, services, tracker, timings
        self._max_working = max_working
        self._lock = threading.Lock()
        self._working = 0
        self._retired = self._closed = False
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._handlers: dict[type[Request], Callable[[Any, Conversation], Answer | None]] = {
            FetchRequest: self._fetch,
            FetchBegun: self._watch,
            Landed: self._landed,
            Seed: self._seed,
            Unseed: self._unseed,
            Hello: lambda _request, _asker: Greeting(self._services.min_blob_bytes()),
            Status: lambda _request, _asker: StatusReport(self._services.status()),
            Retire: self._retire,
            Stop: self._stop,
        }

    def __enter__(self) -> Server:
        self._path.unlink(missing_ok=True)  # the process here holds the agent's lock: what lies there is stale
        self._socket.bind(str(self._path))
        self._path.chmod(0o600)
        self._inode = self._path.stat().st_ino
        self._socket.listen(128)
        threading.Thread(target=self._accept, name="agent-socket", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.in_place():
            self._path.unlink(missing_ok=True)
        self._closed = True
        self._socket.close()

    def in_place(self) -> bool:
        """Whether the socket can still be found at its path (its folder goes when the user logs out)."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def retire(self) -> bool:
        """Take no more work, and leave the path to another agent; False (and nothing has changed) while work is under way."""
        with self._lock:
            if self._working:
                return False
            self._retired = True
        if self.in_place():
            self._path.unlink(missing_ok=True)
        return True

    @contextmanager
    def _work(self) -> Iterator[None]:
        with self._lock:
            if self._retired:
                raise AgentEnding("the agent is ending")
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1

    def _check_room(self) -> None:
        """Raise `AgentUnavailable` when there is too much to do for another thread that stays."""
        if self._working >= self._max_working:
            raise AgentUnavailable(f"the agent serves {self._working} requests already")

    def _beside(self, work: Callable[[], None]) -> None:
        """Do it on a thread of its own; raise `AgentUnavailable` when there is none to be had."""
        try:
            threading.Thread(target=request_id.carrying(work), name="agent-landed", daemon=True).start()
        except RuntimeError as error:
            raise AgentUnavailable(f"the agent has no thread left: {error}") from None

    def _accept(self) -> None:
        while True:
            self._slots.acquire()
            connection: socket.socket | None = None
            try:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), name="agent-request", daemon=True).start()
            except (OSError, RuntimeError) as error:  # no more descriptors, or threads
                self._slots.release()
                if connection is not None:
                    connection.close()  # its program is to know at once
                if self._closed:
                    return
                log.warning("the agent's socket takes nothing for a moment: %s", error)
                time.sleep(self._timings.full_s)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                asker = Conversation(connection, timeout_s=self._timings.request_s)
                if (answer := self._answer(LineReader(connection), asker)) is not None:
                    asker.tell(answer)
        finally:
            self._slots.release()

    def _answer(self, reader: LineReader, asker: Conversation) -> Answer | None:
        """Read one request and return the last word of its answer; None when all is said, or nothing was asked.

        This thread, which serves no other connection, works for the request's id from here on.
        """
        request: Request | None = None
        try:
            message = reader.read(timeout_s=self._timings.request_s, any_version=True)
            if message is None:
                return None
            request_id.put(request_id.parse(message.get("request")))
            if not requests.is_of_every_version(message):
                protocol.check_version(message)
            request = requests.parse(message)
            if isinstance(request, FetchRequest | Seed) and asker.gone():
                return None  # it was asked while this process was suspended, and its program went another way
            self._check_tracker(request)
            return self._handlers[type(request)](request, asker)
        except AgentEnding:
            return Ending()
        except (InvalidInput, AgentUnavailable) as error:
            return Refused(str(error))
        except Exception as error:  # a bug of ours must leave no hook waiting
            if request is None and isinstance(error, OSError):
                log.debug("a connection broke before anything was asked: %s", error)
                return None
            log.exception("a bug of llmpt, met by %r", request)
            reason = "a bug of llmpt in the agent; its log says more"
            return Failed(reason) if isinstance(request, FetchRequest) else Refused(reason)

    def _check_tracker(self, request: Request) -> None:
        """Raise `InvalidInput` for a request that another tracker's agent should get."""
        if isinstance(request, FetchRequest | FetchBegun | Landed | Seed) and request.tracker != self._tracker:
            raise InvalidInput(f"this machine's agent uses {self._tracker or 'no tracker'}, not {request.tracker}")

    def _fetch(self, request: FetchRequest, asker: Conversation) -> Answer:
        least = self._services.min_blob_bytes()
        if least is not None and request.size < least:
            return Refused(f"files of less than {least} bytes have no swarm here")
        self._check_room()
        with self._work():
            self._services.used_by(asker.asked_by())
            return self._services.jobs.fetch(request, asker.tell, asker.gone)

    def _watch(self, request: FetchBegun, asker: Conversation) -> Answer | None:
        with self._work():
            self._services.jobs.watch(request.etag, request.stem, asker.gone, ready=lambda: asker.tell(Ok()))
            return None  # it was said when the watch began

    def _landed(self, request: Landed, _asker: Conversation) -> Answer:
        await_job = self._services.jobs.landed(request.etag, request.path) if request.fetched else None
        self._beside(lambda: self._land(request, await_job))
        return Ok()

    def _land(self, request: Landed, await_job: Callable[[], None] | None) -> None:
        try:
            with self._work():
                if await_job is not None:
                    await_job()
                else:
                    self._services.landed(request.etag, request.path)
        except AgentEnding as error:
            log.info("%s is not seeded: %s", request.path, error)
        except (LlmptError, OSError) as error:
            log.warning("%s is not seeded: %s", request.path, error)

    def _seed(self, request: Seed, asker: Conversation) -> Answer:
        self._check_room()
        with self._work():
            return self._services.offers.seed(request.etag, request.path, asker.tell, asker.gone)

    def _unseed(self, request: Unseed, _asker: Conversation) -> Answer:
        return self._services.offers.unseed(request.etags)

    def _retire(self, _request: Retire, _asker: Conversation) -> Answer:
        if not self.retire():
            return Refused("something is under way")
        self._services.stop()
        return Retiring()

    def _stop(self, _request: Stop, _asker: Conversation) -> Answer:
        self._services.stop()
        return Stopping()
