"""How the event loop knows its clients."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from llmpt_tracker.serve.http.places import Guest


@dataclass(frozen=True)
class Ways:
    """What is said of clients.

    guest: what is known of an address
    machine: whose request a head is, where many machines come through one address
    wrap: makes TLS of a socket
    on_limit: told of a limit that was reached, in a thread
    """

    guest: Callable[[str], Guest]
    machine: Callable[[Guest, bytes], str] = lambda guest, _head: guest.address
    wrap: Callable[[socket.socket], socket.socket] | None = None
    on_limit: Callable[[str], None] = lambda _sentence: None
