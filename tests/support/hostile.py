"""What attackers are built of: machines apart (addresses below 127.0.0.0/8), and many connections at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ATTACKER, OTHER = "127.0.0.66", "127.0.0.77"


def connect(port: int, source: str = OTHER, *, timeout_s: float = 5.0, receive_bytes: int = 0) -> socket.socket:
    """Connect from one machine's address to a port of this host; `receive_bytes` makes its window small."""
    sock = socket.socket()
    try:
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(timeout_s)
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


@contextmanager
def crowd(
    port: int, count: int, said: bytes = b"", *, source: str = ATTACKER, receive_bytes: int = 0
) -> Iterator[list[socket.socket]]:
    """Hold so many connections of one machine that say this much and no more; those that are refused are left out."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            try:
                sock = connect(port, source, receive_bytes=receive_bytes)
                held.append(sock)
                sock.sendall(said)
            except OSError:
                continue
        yield held
    finally:
        for sock in held:
            sock.close()


def ask(port: int, request: bytes, source: str = OTHER, *, timeout_s: float = 5.0) -> bytes:
    """Send one request on a connection of its own, and return all that comes back."""
    with connect(port, source, timeout_s=timeout_s) as sock:
        sock.sendall(request)
        answer = b""
        while chunk := sock.recv(1 << 16):
            answer += chunk
        return answer


def get(path: str, *fields: str) -> bytes:
    """Write a request that ends its connection."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *fields, "", ""]).encode("latin-1")


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
