"""The sockets that a server listens on: every address of LLMPT_BIND, all with the same port; and room for their clients."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Sequence

from llmpt.core.errors import SettingError

log = logging.getLogger(__name__)

BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn; a client that finds it full comes again after a second
_PORT_TRIES = 20


def listen_on(
    addresses: Sequence[str], port: int, *, setting: str, kind: socket.SocketKind = socket.SOCK_STREAM
) -> list[socket.socket]:
    """Listen, or receive datagrams, on every address at the same port (0: one free on all). A host without IPv6 needs no `::`.

    The sockets don't block. Raises `SettingError` naming the address that cannot be had, and `setting`, that of the port.
    """
    for tries_left in reversed(range(_PORT_TRIES)):
        bound: list[socket.socket] = []
        for address in addresses:
            try:
                sock = _bind(address, bound[0].getsockname()[1] if bound else port, kind)
            except OSError as error:
                _close(bound)
                if port == 0 and error.errno == errno.EADDRINUSE and tries_left:
                    break  # free for one family and taken for the other
                is_taken = error.errno == errno.EADDRINUSE
                reason = "it is in use; stop what listens there, or take another port" if is_taken else error.strerror
                raise SettingError(f"cannot listen on {address} port {port}: {reason} (LLMPT_BIND, {setting})") from None
            if sock is not None:
                bound.append(sock)
        else:
            if bound:
                return bound
            raise SettingError(f"LLMPT_BIND: this host has none of {', '.join(addresses)}")
    raise AssertionError("unreachable")


def raise_descriptor_limit(wanted: int | None = None) -> int:
    """Allow as many connections and files at once as the system lets us have, or as are wanted; return how many it lets us."""
    import resource  # not on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if wanted is None else max(soft, wanted if hard == resource.RLIM_INFINITY else min(wanted, hard))
    if soft not in (most, resource.RLIM_INFINITY):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (ValueError, OSError):  # macOS has a lower limit than it says
            log.debug("the limit of open files stays at %d", soft)
            return soft
    return most if most != resource.RLIM_INFINITY else 1 << 20


def _bind(address: str, port: int, kind: socket.SocketKind) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = None
    try:
        sock = socket.socket(family, kind)
        if kind == socket.SOCK_STREAM:  # datagrams of one port would go to one of two sockets
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        if address == "::" and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return None
        raise
    return sock


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
