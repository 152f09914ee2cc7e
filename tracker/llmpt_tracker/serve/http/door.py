"""Where connections come in."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llmpt_tracker.serve.http.refusals import refusal

ACCEPTED_AT_ONCE = 32
_UNREAD_BYTES = 64 << 10


class Door:
    """The listening sockets, while they are watched. `on_connection` gets (socket, client's address, ours).

    Without a descriptor left it shuts itself, lest the loop spin on a connection that it cannot take, and calls `on_exhausted`.
    """

    def __init__(
        self,
        listening: Sequence[socket.socket],
        poller: selectors.BaseSelector,
        on_connection: Callable[[socket.socket, Any, Any], None],
        *,
        on_exhausted: Callable[[], None],
    ) -> None:
        self._listening, self._poller = list(listening), poller
        self._on_connection, self._on_exhausted = on_connection, on_exhausted
        self._is_open = False

    def open(self) -> None:
        """Take connections from now on."""
        if not self._is_open:
            self._is_open = True
            for sock in self._listening:
                sock.setblocking(False)
                self._poller.register(sock, selectors.EVENT_READ, partial(self._accept, sock))

    def shut(self) -> None:
        """Take no more."""
        if self._is_open:
            self._is_open = False
            for sock in self._listening:
                self._poller.unregister(sock)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE if self._is_open else 0):
            try:
                sock, client = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self.shut()
                self._on_exhausted()
                return
            self._on_connection(sock, client, listening.getsockname())


def turn_away(sock: socket.socket, *, in_words: bool) -> None:
    """End a connection for which there is no place."""
    try:
        sock.setblocking(False)
        if in_words:
            sock.send(refusal(503, "too many connections are open here; try again in a moment"))
            sock.shutdown(socket.SHUT_WR)
            sock.recv(_UNREAD_BYTES)  # closing with bytes unread would reset the connection, and lose what was said
    except OSError:
        pass
    sock.close()
