"""One connection to the agent's socket, from the agent's side: what is told to the hook, and whether it is still there."""

from __future__ import annotations

import logging
import select
import socket

from llmpt.link import paths, protocol
from llmpt.link.answers import Answer

log = logging.getLogger("llmpt.agent")


class Conversation:
    """One connection, from the agent's side: which process asks, whether it is still there, and what it is told meanwhile."""

    def __init__(self, connection: socket.socket, *, timeout_s: float) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self._broken = False
        self._poll = select.poll()  # not select: a busy agent has descriptors above 1024
        self._poll.register(connection, select.POLLIN)

    def tell(self, answer: Answer) -> None:
        """Say something; once the other side has gone nothing happens but that `gone` says so."""
        try:
            self._connection.settimeout(self._timeout_s)
            self._connection.sendall(protocol.encode(answer.as_json()))
        except OSError as error:
            log.debug("a connection broke: %s", error)
            self._broken = True

    def gone(self) -> bool:
        """Whether the other side has hung up. After its request it says nothing more: all that can come is the end."""
        return self._broken or bool(self._poll.poll(0))

    def asked_by(self) -> int:
        """Return the process at the other end; 0 when it cannot be told or seen from here."""
        return paths.peer_of(self._connection)
