"""The listening sockets of the API: opened by the parent, so that a taken port is an error before anything runs."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from llmpt.core.errors import SettingError

BACKLOG = 512


def listen(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """Listen on every address at `port`; 0 picks one free port for all. Raises `SettingError` when that cannot be.

    An IPv6 wildcard is left out on a host that has no IPv6, as long as something else is listened on.
    """
    for attempt in range(10):
        sockets: list[socket.socket] = []
        chosen = port
        try:
            for address in addresses:
                if (one := _bind(address, chosen, optional=address == "::" and len(addresses) > 1)) is not None:
                    sockets.append(one)
                    chosen = one.getsockname()[1]
            return sockets
        except OSError as error:
            for one in sockets:
                one.close()
            if port == 0 and sockets and error.errno == errno.EADDRINUSE and attempt < 9:
                continue  # free for one address, taken for another: try the next one
            if error.errno == errno.EADDRINUSE:
                raise SettingError(f"port {port} is in use: stop what listens there, or set LLMPT_HTTP_PORT") from None
            raise SettingError(
                f"cannot listen on {address} port {port} (LLMPT_BIND, LLMPT_HTTP_PORT): {error.strerror}"
            ) from None
    raise AssertionError("unreachable")


def _bind(address: str, port: int, *, optional: bool) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        one = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        if optional:
            return None
        raise
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        one.listen(BACKLOG)
    except OSError as error:
        one.close()
        if optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise
    return one
