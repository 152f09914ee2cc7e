"""A peer that keeps what it is sent, right or wrong: it speaks just enough BitTorrent to ask for one block."""

from __future__ import annotations

import socket
import struct
import time

BLOCK = 16 << 10
_UNCHOKE, _INTERESTED, _REQUEST, _PIECE, _REJECT = 1, 2, 6, 7, 16


def ask_for_block(peer: tuple[str, int], info_hash: bytes, size: int = BLOCK, *, timeout_s: float = 3.0) -> bytes | None:
    """Return the first `size` bytes of a torrent as the peer sends them, unchecked; None when it sends none."""
    try:
        with socket.create_connection(peer, timeout=timeout_s) as connection:
            connection.sendall(b"\x13BitTorrent protocol" + bytes(7) + b"\x04" + info_hash[:20] + b"-RW0000-raw raw raw ")
            _exactly(connection, 68)
            connection.sendall(struct.pack(">IB", 1, 15))  # have none
            connection.sendall(struct.pack(">IB", 1, _INTERESTED))
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline:
                (length,) = struct.unpack(">I", _exactly(connection, 4))
                message = _exactly(connection, length)
                if message[:1] == bytes([_UNCHOKE]):
                    connection.sendall(struct.pack(">IBIII", 13, _REQUEST, 0, 0, size))
                elif message[:1] == bytes([_PIECE]):
                    return message[9:]
                elif message[:1] == bytes([_REJECT]):
                    return None
    except OSError:
        pass  # it has hung up, or says nothing
    return None


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionResetError("the peer has hung up")
        data += part
    return data
