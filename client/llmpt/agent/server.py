"""The agent's socket: reads one request per connection, answers it, and notices when the other side goes away."""

from __future__ import annotations

import logging
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from llmpt.agent.seeding.offers import Offers
from llmpt.agent.sharing.fetches import Fetches
from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, LlmptError
from llmpt.link import protocol
from llmpt.link.protocol import FetchRequest, LineReader, Message

log = logging.getLogger("llmpt.agent")

REQUEST_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 256

Fetch = Callable[[FetchRequest, Callable[[Message], None], Callable[[], bool]], Message]


class _Retired(Exception):
    """This agent takes no more work."""


class Server:
    """Listens at `path`; a context manager. Each connection has a thread of its own.

    `fetch` serves a download, `landed` is told where a blob came to lie, `fetches` of what this machine fetches for all
    (None: nothing), `offers` takes what people want seeded, `status` returns what `llmpt status` shows, `used_by` is told
    which processes have something fetched, `stop` ends the agent.
    """

    def __init__(
        self,
        path: Path,
        *,
        tracker: str | None,
        fetch: Fetch,
        landed: Callable[[Etag, Path], None],
        fetches: Fetches | None = None,
        offers: Offers,
        status: Callable[[], dict[str, Any]],
        used_by: Callable[[int], None],
        stop: Callable[[], None],
    ) -> None:
        self._path = path
        self._tracker = tracker
        self._fetch, self._landed, self._status, self._stop = fetch, landed, status, stop
        self._fetches, self._offers, self._used_by = fetches, offers, used_by
        self._lock = threading.Lock()
        self._working = 0
        self._retired = False
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Server:
        self._path.unlink(missing_ok=True)  # whoever comes here holds the agent's lock: what lies there is stale
        self._socket.bind(str(self._path))
        self._path.chmod(0o600)
        self._inode = self._path.stat().st_ino
        self._socket.listen(128)
        threading.Thread(target=self._accept, name="agent-socket", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.in_place():
            self._path.unlink(missing_ok=True)
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
                raise _Retired
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1

    def _accept(self) -> None:
        while True:
            self._slots.acquire()
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed: the agent is ending
            threading.Thread(target=self._serve, args=(connection,), name="agent-request", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._answer(connection)
        except (OSError, TimeoutError) as error:
            log.debug("a connection broke: %s", error)
        finally:
            self._slots.release()

    def _answer(self, connection: socket.socket) -> None:
        try:
            request = LineReader(connection).read(timeout_s=REQUEST_TIMEOUT_S, any_version=True)
            if request is None:
                return
            if request.get("op") in protocol.OF_EVERY_VERSION:
                reply = self._govern(request["op"])
            else:
                protocol.check_version(request)
                reply = self._dispatch(request, connection)
        except _Retired:
            return  # without an answer: whoever asked turns to the agent that comes after us
        except InvalidInput as error:
            reply = {"event": protocol.REFUSED, "reason": str(error)}
        if reply:
            connection.settimeout(REQUEST_TIMEOUT_S)
            connection.sendall(protocol.encode(reply))

    def _govern(self, op: str) -> Message:
        """Answer what concerns the agent itself; every version of it does."""
        if op == protocol.HELLO:
            return {"event": protocol.HELLO}
        if op == protocol.STATUS:
            return {"event": protocol.STATUS, **self._status()}
        if op == protocol.RETIRE and not self.retire():
            return {"event": protocol.REFUSED, "reason": "something is under way"}
        self._stop()
        return {"event": protocol.RETIRING if op == protocol.RETIRE else protocol.STOPPING}

    def _dispatch(self, request: Message, connection: socket.socket) -> Message:
        """Return the last word of the answer, nothing when all is said."""
        op = request.get("op")
        if op in (protocol.FETCH, protocol.FETCHING, protocol.LANDED, protocol.SEED) and request.get("tracker") != self._tracker:
            mine = self._tracker or "no tracker"
            return {"event": protocol.REFUSED, "reason": f"this machine's agent uses {mine}, not {request.get('tracker')}"}
        if op == protocol.FETCH:
            wanted = FetchRequest.parse(request)
            with self._work():
                self._used_by(_pid_behind(connection))
                return self._fetch(wanted, *_line_to(connection))
        if op == protocol.FETCHING:
            with self._work():
                return self._watch(Etag(str(request.get("etag"))), Path(str(request.get("stem"))), *_line_to(connection))
        if op == protocol.LANDED:
            etag, path = Etag(str(request.get("etag"))), Path(str(request.get("path")))
            fetched = request.get("fetched") is True and self._fetches is not None and self._fetches.landed(etag)
            threading.Thread(target=self._land, args=(etag, path, fetched), name="agent-landed", daemon=True).start()
            return {"event": protocol.OK}
        if op == protocol.SEED:
            etag, path = Etag(str(request.get("etag"))), Path(str(request.get("path")))
            with self._work():
                return self._offers.seed(etag, path, *_line_to(connection))
        if op == protocol.UNSEED:
            etags = request.get("etags")
            return self._offers.unseed(map(Etag, etags if isinstance(etags, list) else ()))
        raise InvalidInput(f"not something this agent can do: {op!r:.40}")

    def _watch(self, etag: Etag, stem: Path, emit: Callable[[Message], None], gone: Callable[[], bool]) -> Message:
        if self._fetches is None:
            return {"event": protocol.OK}
        self._fetches.watch(etag, stem, gone, ready=lambda: emit({"event": protocol.OK}))
        return {}

    def _land(self, etag: Etag, path: Path, fetched: bool) -> None:
        try:
            with self._work():
                if fetched and self._fetches is not None:
                    self._fetches.finish(etag, path)
                else:
                    self._landed(etag, path)
        except _Retired:
            log.info("%s is not seeded: the agent is ending", path)
        except (LlmptError, OSError) as error:
            log.warning("%s is not seeded: %s", path, error)


def _pid_behind(connection: socket.socket) -> int:
    """Return the process at the other end of a Unix socket; 0 when it cannot be told or seen from here."""
    if sys.platform.startswith("linux"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])
    return connection.getsockopt(0, 2)  # macOS: SOL_LOCAL, LOCAL_PEERPID


def _line_to(connection: socket.socket) -> tuple[Callable[[Message], None], Callable[[], bool]]:
    """Make the two ends a download needs: one that sends progress, one that says whether the hook has gone."""
    gone = False

    def emit(message: Message) -> None:
        nonlocal gone
        try:
            connection.settimeout(REQUEST_TIMEOUT_S)
            connection.sendall(protocol.encode(message))
        except OSError:
            gone = True

    def cancelled() -> bool:
        # After its request the hook says nothing more: anything to read is the end of the connection.
        return gone or bool(select.select([connection], [], [], 0)[0])

    return emit, cancelled
