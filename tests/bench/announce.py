"""Announces per second: our announcer beside a reference in the same run, with one load generator for both; and over UDP.

1,000 swarms of 20 peers (preloaded through the store; the reference gets them as announces), 32 connections, kept alive or a
new one for each announce, which is what BitTorrent clients do. The ports that are announced listen, so that ours finds them
reachable, and says so. The reference is opentracker (C, Debian package `opentracker`) where it is installed, else an asyncio
server that answers a constant; Debian's opentracker closes the connection after every answer, whatever the client asks for. The
load comes from this host's own address where it has one besides loopback: peers on loopback go through the address rules one by
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from llmpt.core.networks import CidrSet
from llmpt.host.routes import address_towards
from tests.bench._announcing import CONNECTIONS, Result, cpu_seconds, show, udp_load

SWARMS = 1000
PEERS_PER_SWARM = 20
SECONDS = 3.0
PORTS_PER_SWARM = 6


def main() -> None:
    print(f"{SWARMS} swarms × {PEERS_PER_SWARM} peers, {CONNECTIONS} connections, {SECONDS:g} s each; load from {_address()}")
    rates: dict[tuple[str, bool], float] = {}
    cpu: dict[tuple[str, str], float] = {}
    reference = "opentracker" if shutil.which("opentracker") else "constant"
    for name in ("llmpt", reference):
        with _peers(), _server(name) as (pid, port):
            if name == "opentracker":
                _load(pid, port, keep_alive=True, count=SWARMS * PORTS_PER_SWARM)
            for keep_alive in (True, False):
                result = _load(pid, port, keep_alive=keep_alive)
                rates[name, keep_alive] = result.per_second
                mode = "keep-alive" if keep_alive else "close"
                cpu[name, mode] = result.cpu_us
                show(name, mode, result)
            if name != "constant":
                result = udp_load(pid, (_address(), port), _datagrams(), seconds=SECONDS)
                cpu[name, "UDP"] = result.cpu_us
                show(name, "UDP", result)
    for keep_alive in (True, False):
        mode = "keep-alive" if keep_alive else "close"
        print(f"HTTP ÷ UDP of llmpt, server CPU of an announce, {mode}: {cpu['llmpt', mode] / cpu['llmpt', 'UDP']:.2f}")
    for keep_alive in (True, False):
        mode = "keep-alive" if keep_alive else "close"
        print(f"llmpt ÷ {reference}, {mode}: {rates['llmpt', keep_alive] / rates[reference, keep_alive]:.2f}")


def _address() -> str:
    return str(address_towards("10.255.255.254", 9) or "127.0.0.1")


def _hashes() -> list[bytes]:
    return [b"swarm" + b"%015d" % i for i in range(SWARMS)]


def _requests(*, keep_alive: bool) -> list[bytes]:
    tail = b"HTTP/1.1\r\nHost: %s:6969\r\nUser-Agent: bench\r\n%s\r\n" % (
        _address().encode(),
        b"Connection: %s\r\n" % (b"keep-alive" if keep_alive else b"close"),
    )
    return [
        b"GET /announce?info_hash=%s&peer_id=-LT2110-%012d&port=%d&uploaded=0&downloaded=0&left=%d&corrupt=0&key=2A17F5E3"
        b"&numwant=50&compact=1&no_peer_id=1&supportcrypto=1&redundant=0 %s"
        % (b"".join(b"%%%02x" % byte for byte in info_hash), port, 7000 + port, 1000 * (port % 2), tail)
        for port in range(PORTS_PER_SWARM)
        for info_hash in _hashes()
    ]


def _datagrams() -> list[bytes]:
    """Return announces of BEP 15, without the connection id that comes first."""
    return [
        struct.pack(
            ">II20s20sQQQIIIiH", 1, 9, info_hash, b"-LT2110-%012d" % port, 0, 1000 * (port % 2), 0, 0, 0, 42, 50, 7000 + port
        )
        for port in range(PORTS_PER_SWARM)
        for info_hash in _hashes()
    ]


@contextlib.contextmanager
def _peers() -> Iterator[None]:
    """Listen on the ports that the load announces."""
    with contextlib.ExitStack() as stack:
        for port in range(PORTS_PER_SWARM):
            stack.enter_context(socket.create_server((_address(), 7000 + port)))
        yield


def _load(pid: int, port: int, *, keep_alive: bool, count: int = 0) -> Result:
    """Announce from `CONNECTIONS` connections for `SECONDS` (or `count` times), one announce in flight on each."""
    requests = _requests(keep_alive=keep_alive)
    target, poll = (_address(), port), select.epoll()
    open_sockets: dict[int, socket.socket] = {}
    sent_at: dict[int, float] = {}
    latencies: list[float] = []
    at = 0

    def send(sock: socket.socket) -> None:
        nonlocal at
        sent_at[sock.fileno()] = time.perf_counter()
        sock.send(requests[at % len(requests)])
        at += 1

    def connect() -> None:
        sock = socket.create_connection(target)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_sockets[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN)
        send(sock)

    cpu = cpu_seconds(pid)
    started = time.perf_counter()
    for _ in range(CONNECTIONS):
        connect()
    while len(latencies) < count if count else time.perf_counter() - started < SECONDS:
        for fd, _events in poll.poll(5):
            sock = open_sockets[fd]
            try:
                answer = sock.recv(16384)
            except ConnectionResetError:  # closed between two requests, as a server may: the announce is made again
                answer = b""
            if answer:
                assert b"\r\n\r\nd8:complete" in answer, answer[:200]
                latencies.append(time.perf_counter() - sent_at[fd])
            if answer and keep_alive:
                send(sock)
            elif answer or keep_alive:
                poll.unregister(fd)
                open_sockets.pop(fd).close()
                connect()
    result = Result.of(latencies, elapsed_s=time.perf_counter() - started, cpu_s=cpu_seconds(pid) - cpu)
    for sock in open_sockets.values():
        sock.close()
    poll.close()
    return result


@contextlib.contextmanager
def _server(name: str) -> Iterator[tuple[int, int]]:
    """Start a server; yield its process id and port."""
    if name == "opentracker":
        with socket.socket() as probe:
            probe.bind((_address(), 0))
            port = probe.getsockname()[1]
        with tempfile.NamedTemporaryFile("w") as config, tempfile.NamedTemporaryFile("w") as whitelist:
            config.write(f"listen.tcp {_address()}:{port}\nlisten.udp {_address()}:{port}\naccess.whitelist {whitelist.name}\n")
            config.flush()
            whitelist.write("".join(f"{info_hash.hex()}\n" for info_hash in _hashes()))
            whitelist.flush()
            Path(whitelist.name).chmod(0o644)  # opentracker drops its rights before it reads
            process = subprocess.Popen(["opentracker", "-f", config.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                _await_port(port)
                yield process.pid, port
            finally:
                process.kill()
                process.wait()
        return
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.announce", name], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _await_port(port: int) -> None:
    from tests.support.waiting import eventually

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((_address(), port)) == 0

    eventually(listens, timeout_s=5, what="opentracker")


async def _serve_ours() -> None:
    from llmpt_tracker.announcer.http.server import FrontEnd
    from llmpt_tracker.announcer.peers.memory_store import MemoryStore
    from llmpt_tracker.announcer.peers.seeders import Seeders
    from llmpt_tracker.announcer.peers.store import Role
    from llmpt_tracker.announcer.peers.visibility import Visibility
    from llmpt_tracker.announcer.tracker import Tracker
    from llmpt_tracker.announcer.udp.server import DatagramFrontEnd

    store, seeders = MemoryStore(), Seeders()
    store.register(_hashes())
    for info_hash in _hashes():
        for number in range(PEERS_PER_SWARM):
            endpoint = bytes((10, 0, number, 1)) + (6881).to_bytes(2, "big")
            store.put(info_hash, endpoint, Role(number % 2), now=time.monotonic(), owner=b"-LT2110-%012d" % number)
    visibility = Visibility(allowed=CidrSet.parse("0.0.0.0/0"), seeders=seeders)
    tracker = Tracker(store, seeders=seeders, visibility=visibility)
    port = FrontEnd(tracker).open([_address()], 0)
    DatagramFrontEnd(tracker, per_second=1_000_000).open([_address()], port)  # all of the load comes from one address
    print(port, flush=True)
    await tracker.prober.run(tracker.health)


class _Constant(asyncio.Protocol):
    """The floor of an asyncio server: the same answer to whatever arrives."""

    body = b"d8:completei10e10:incompletei10e8:intervali900e5:peers120:" + bytes(120) + b"e"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.body), self.body))
        if b"Connection: close" in data:
            self.transport.close()


async def _serve_constant() -> None:
    server = await asyncio.get_running_loop().create_server(_Constant, _address(), 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(_serve_constant() if sys.argv[1] == "constant" else _serve_ours())
    else:
        main()
