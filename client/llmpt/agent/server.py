"""The agent's socket: reads one request per connection, answers it, and notices when the other side goes away."""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from llmpt.agent import messages
from llmpt.agent.messages import FetchRequest, LineReader, Message
from llmpt.agent.offers import Offers
from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, LlmptError

log = logging.getLogger("llmpt.agent")

REQUEST_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 256

Fetch = Callable[[FetchRequest, Callable[[Message], None], Callable[[], bool]], Message]


class Server:
    """Listens at `path`; a context manager. Each connection has a thread of its own.

    `fetch` serves a download, `landed` is told where a blob came to lie, `offers` takes what people want seeded, `status`
    returns what `llmpt status` shows, `stop` ends the agent.
    """

    def __init__(
        self,
        path: Path,
        *,
        tracker: str | None,
        fetch: Fetch,
        landed: Callable[[Etag, Path], None],
        offers: Offers,
        status: Callable[[], dict[str, Any]],
        stop: Callable[[], None],
    ) -> None:
        self._path = path
        self._tracker = tracker
        self._fetch, self._landed, self._status, self._stop = fetch, landed, status, stop
        self._offers = offers
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
            request = LineReader(connection).read(timeout_s=REQUEST_TIMEOUT_S)
            if request is None:
                return
            reply = self._dispatch(request, connection)
        except InvalidInput as error:
            reply = {"event": messages.REFUSED, "reason": str(error)}
        connection.settimeout(REQUEST_TIMEOUT_S)
        connection.sendall(messages.encode(reply))

    def _dispatch(self, request: Message, connection: socket.socket) -> Message:
        op = request.get("op")
        if op in (messages.FETCH, messages.LANDED, messages.SEED) and request.get("tracker") != self._tracker:
            mine = self._tracker or "no tracker"
            return {"event": messages.REFUSED, "reason": f"this machine's agent uses {mine}, not {request.get('tracker')}"}
        if op == messages.FETCH:
            emit, cancelled = _line_to(connection)
            return self._fetch(FetchRequest.parse(request), emit, cancelled)
        if op == messages.LANDED:
            etag, path = Etag(str(request.get("etag"))), Path(str(request.get("path")))
            threading.Thread(target=self._land, args=(etag, path), name="agent-landed", daemon=True).start()
            return {"event": messages.OK}
        if op == messages.SEED:
            return self._offers.seed(Etag(str(request.get("etag"))), Path(str(request.get("path"))), *_line_to(connection))
        if op == messages.UNSEED:
            etags = request.get("etags")
            return self._offers.unseed(map(Etag, etags if isinstance(etags, list) else ()))
        if op == messages.STATUS:
            return {"event": messages.STATUS, **self._status()}
        if op == messages.STOP:
            self._stop()
            return {"event": messages.STOPPING}
        raise InvalidInput(f"not something this agent can do: {op!r:.40}")

    def _land(self, etag: Etag, path: Path) -> None:
        try:
            self._landed(etag, path)
        except (LlmptError, OSError) as error:
            log.warning("%s is not seeded: %s", path, error)


def _line_to(connection: socket.socket) -> tuple[Callable[[Message], None], Callable[[], bool]]:
    """Make the two ends a download needs: one that sends progress, one that says whether the hook has gone."""
    gone = False

    def emit(message: Message) -> None:
        nonlocal gone
        try:
            connection.settimeout(REQUEST_TIMEOUT_S)
            connection.sendall(messages.encode(message))
        except OSError:
            gone = True

    def cancelled() -> bool:
        # After its request the hook says nothing more: anything to read is the end of the connection.
        return gone or bool(select.select([connection], [], [], 0)[0])

    return emit, cancelled
