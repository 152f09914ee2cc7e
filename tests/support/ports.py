"""Ports for processes of the tests."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now, and that the system gives to no connection by itself."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("0.0.0.0", port))
            found += [port] if port not in found else []
    return found
