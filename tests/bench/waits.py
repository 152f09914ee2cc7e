"""Requests that wait for upstream, and what a tracker answers beside them: the slowest answer of each kind, and its memory.

The tracker has an upstream whose seeder takes every mirror and brings nothing; so many clients ask for as many repos. Beside them
the health check, a heartbeat, a look-up and a poll are asked one after the other. The reference is the same with none that waits.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.leases import Poll
from llmpt.core.mirrors import MirrorReport, MirrorState
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import packed, report, torrent

CROWDS = (0, 320, 640)
SECONDS = 4.0


def main() -> None:
    """Print the slowest answers for each number of requests that wait."""
    slowest: dict[int, float] = {}
    for crowd in CROWDS:
        with tempfile.TemporaryDirectory() as folder, TrackerProcess(Path(folder) / "data") as tracker:
            client = TrackerClient(tracker.url, token=tracker.token, timeout_s=30)
            client.publish({"torrents": packed(torrent("known"))})
            client.heartbeat("bench", report(upstream="http://127.0.0.1:9"))
            with _seeder(client), _waiting(tracker, crowd) as answered:
                time.sleep(0.5)
                took = _ask(client, torrent("known").etag)
                lost, rss = answered(), _rss(tracker.pid)
            worst = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in took.items())
            slowest[crowd] = max(took.values())
            print(f"{crowd:4} wait ({lost} of them were told to come back): slowest {worst}; {rss >> 20} MiB", flush=True)
    print(f"slowest answer beside 320 that wait ÷ beside none: {slowest[320] / slowest[0]:.1f}")


@contextlib.contextmanager
def _seeder(client: TrackerClient) -> Iterator[None]:
    """Take what is queued, and bring nothing."""
    over, taken = threading.Event(), set[int]()

    def run() -> None:
        while not over.wait(0.05):
            for mirror in client.mirrors([MirrorState.QUEUED]):
                if mirror.id not in taken:
                    taken.add(mirror.id)
                    client.report_mirror(mirror.id, MirrorReport(MirrorState.RUNNING))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _waiting(tracker: TrackerProcess, count: int) -> Iterator[Callable[[], int]]:
    """Have so many clients ask for a repo each; yield what says how many have an answer."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(count):
            sock = stack.enter_context(socket.create_connection((tracker.host, tracker.http_port), timeout=10))
            sock.sendall(f"GET /api/models/org/name{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            sock.setblocking(False)
            clients.append(sock)

        def answered() -> int:
            found = 0
            for one in clients:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    found += one.recv(20, socket.MSG_PEEK).startswith(b"HTTP/1.1 503")
            return found

        yield answered


def _ask(client: TrackerClient, etag: Etag) -> dict[str, float]:
    token = client.share_token("bench")
    sharer = TrackerClient(client.url, token=token, timeout_s=30)
    kinds: dict[str, Callable[[], object]] = {
        "health": Catalogue(client).health,
        "heartbeat": lambda: client.heartbeat("bench", report(upstream="http://127.0.0.1:9")),
        "look-up": lambda: client.lookup(etag),
        "poll": lambda: sharer.leases(Poll("life", 5.0)),
    }
    slowest = dict.fromkeys(kinds, 0.0)
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        for name, ask in kinds.items():
            began = time.monotonic()
            ask()
            slowest[name] = max(slowest[name], time.monotonic() - began)
        time.sleep(0.1)
    return slowest


def _rss(pid: int) -> int:
    """Return the memory of a process and all below it, in bytes; what they share is counted once."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    own = next(int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Pss:"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(_rss(int(child)) for child in children)


if __name__ == "__main__":
    main()
