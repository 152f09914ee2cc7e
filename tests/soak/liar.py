"""A peer that says that it has everything, and sends what comes to its mind (BEP 3, 6)."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import quote_from_bytes

LIAR = "127.0.0.9"
_BLOCK = struct.Struct(">II")


@contextmanager
def liar(announce_url: str, swarms: Sequence[bytes]) -> Iterator[None]:
    """Have it announced to the swarms of these truncated info-hashes, and lie for as long as the block lasts."""
    with socket.create_server((LIAR, 0)) as server:
        server.settimeout(0.2)
        stop = threading.Event()
        thread = threading.Thread(target=_serve_lies, args=(server, stop))
        thread.start()
        try:
            for swarm in swarms:
                with suppress(OSError):
                    _announce(announce_url, swarm, server.getsockname()[1])
            yield
        finally:
            stop.set()
            thread.join()


def _announce(announce_url: str, info_hash: bytes, port: int) -> None:
    host, _, rest = announce_url.removeprefix("http://").partition(":")
    query = f"info_hash={quote_from_bytes(info_hash, safe='')}&peer_id=-XX0000-liarliarliar&port={port}"
    query += "&left=0&uploaded=0&downloaded=0&compact=1"
    with socket.create_connection((host, int(rest.partition("/")[0])), timeout=2, source_address=(LIAR, 0)) as connection:
        connection.sendall(f"GET /announce?{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        connection.recv(1024)


def _serve_lies(server: socket.socket, stop: threading.Event) -> None:
    while not stop.is_set():
        with suppress(OSError):
            connection, _ = server.accept()
            threading.Thread(target=_lie, args=(connection, stop), daemon=True).start()


def _lie(connection: socket.socket, stop: threading.Event) -> None:
    with connection, suppress(OSError, struct.error):
        connection.settimeout(10)
        hello = _exactly(connection, 68)
        reserved = bytes((0, 0, 0, 0, 0, 0, 0, 0x04 | 0x10))  # fast extension, v2
        connection.sendall(b"\x13BitTorrent protocol" + reserved + hello[28:48] + b"-XX0000-liarliarliar")
        connection.sendall(struct.pack(">IB", 1, 14) + struct.pack(">IB", 1, 1))  # have all, unchoke
        while not stop.is_set():
            length = int.from_bytes(_exactly(connection, 4), "big")
            message = _exactly(connection, length) if length else b""
            if message[:1] == b"\x06":  # request
                piece, begin, size = struct.unpack(">III", message[1:])
                connection.sendall(struct.pack(">IB", 9 + size, 7) + _BLOCK.pack(piece, begin) + os.urandom(size))


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        more = connection.recv(count - len(parts))
        if not more:
            raise OSError("closed")
        parts += more
    return parts
