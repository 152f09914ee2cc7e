"""Where connections come in."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from llmpt.host.anteroom import Anteroom, accepted
from llmpt_tracker.serve.http.places import Guest
from llmpt_tracker.serve.http.refusals import refusal

_UNREAD_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, eq=False)
class Newcomer:
    """A connection that has come in: the client's address, ours, and what is known of the client."""

    sock: socket.socket
    client: Any
    server: Any
    guest: Guest


class Door:
    """The listening sockets, while they are watched, and the `newcomers`. `guest` says what is known of an address.

    Without a descriptor left it shuts itself, lest the loop spin on a connection that it cannot take, and calls `on_exhausted`.
    """

    def __init__(
        self,
        listening: Sequence[socket.socket],
        poller: selectors.BaseSelector,
        guest: Callable[[str], Guest],
        *,
        on_exhausted: Callable[[], None],
    ) -> None:
        self._listening, self._poller = list(listening), poller
        self._guest, self._on_exhausted = guest, on_exhausted
        self._is_open = False
        self.newcomers: Anteroom[Newcomer] = Anteroom(lambda one: one.guest.origin)

    def open(self) -> None:
        """Take connections from now on."""
        if not self._is_open:
            self._is_open = True
            for sock in self._listening:
                sock.setblocking(False)
                self._poller.register(sock, selectors.EVENT_READ, partial(self._accept, sock, sock.getsockname()))

    def pause(self) -> None:
        """Take no more for now."""
        if self._is_open:
            self._is_open = False
            for sock in self._listening:
                self._poller.unregister(sock)

    def shut(self) -> None:
        """Take no more, and send those away who were not looked at."""
        self.pause()
        for one in self.newcomers.clear():
            one.sock.close()

    def _accept(self, listening: socket.socket, server: Any) -> None:
        if not self._is_open:
            return
        try:
            for sock, client in accepted(listening):
                guest = self._guest(client[0])
                if not self.newcomers.add(Newcomer(sock, client, server, guest), is_many=guest.is_own or guest.is_many):
                    sock.close()
        except OSError:
            self.pause()
            self._on_exhausted()


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
