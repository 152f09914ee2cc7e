"""What one load of announces came to, and the load over UDP (BEP 15)."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

CONNECTIONS = 32


class Result(NamedTuple):
    per_second: float
    p99_ms: float
    cpu_us: float

    @classmethod
    def of(cls, latencies: list[float], *, elapsed_s: float, cpu_s: float) -> Result:
        """Sum up the seconds of each announce."""
        ordered, count = sorted(latencies), len(latencies)
        return cls(count / elapsed_s, 1000 * ordered[int(count * 0.99)], 1e6 * cpu_s / count)


def show(name: str, mode: str, result: Result) -> None:
    print(
        f"{name:12} {mode:10} {result.per_second:8,.0f} announces/s   p99 {result.p99_ms:5.2f} ms   "
        f"{result.cpu_us:5.1f} µs of server CPU each",
        flush=True,
    )


def udp_load(pid: int, server: tuple[str, int], tails: Sequence[bytes], *, seconds: float) -> Result:
    """Announce from `CONNECTIONS` sockets for `seconds`, one announce in flight on each."""
    poll = select.epoll()
    open_sockets: dict[int, socket.socket] = {}
    sent_at: dict[int, float] = {}
    latencies: list[float] = []
    connection, at = b"", 0

    def send(sock: socket.socket) -> None:
        nonlocal at
        sent_at[sock.fileno()] = time.perf_counter()
        sock.send(connection + tails[at % len(tails)])
        at += 1

    for _ in range(CONNECTIONS):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(server)
        open_sockets[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN)
    sock.settimeout(5)
    sock.send(struct.pack(">QII", 0x41727101980, 0, 7))
    connection = sock.recv(16)[8:]  # of the address, whatever the port
    cpu, started = cpu_seconds(pid), time.perf_counter()
    for sock in open_sockets.values():
        send(sock)
    while time.perf_counter() - started < seconds:
        for fd, _events in poll.poll(5):
            answer = open_sockets[fd].recv(4096)
            assert answer[:4] == bytes((0, 0, 0, 1)), answer[:200]
            latencies.append(time.perf_counter() - sent_at[fd])
            send(open_sockets[fd])
    result = Result.of(latencies, elapsed_s=time.perf_counter() - started, cpu_s=cpu_seconds(pid) - cpu)
    for sock in open_sockets.values():
        sock.close()
    poll.close()
    return result


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
