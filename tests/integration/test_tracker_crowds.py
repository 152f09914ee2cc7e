"""The real tracker under crowds: what keeps the LAN going is answered, whatever else waits, hangs or has given up."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from llmpt.core.leases import Poll
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.wire import Wire
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import packed, report, torrent

SOON_S = 2.0  # what a client of ours waits for an answer
UPSTREAM = report(upstream="http://127.0.0.1:9")


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    """A tracker that knows one torrent, whose seeder has an upstream and takes nothing from the queue."""
    with TrackerProcess(tmp_path_factory.mktemp("tracker") / "data") as process:
        client = TrackerClient(process.url, token=process.token)
        client.publish({"torrents": packed(torrent("known"))})
        client.heartbeat("bench", UPSTREAM)
        yield process


@contextlib.contextmanager
def asking(tracker: TrackerProcess, *paths: str) -> Iterator[list[socket.socket]]:
    """Ask for each path on a connection of its own, and read nothing."""
    with contextlib.ExitStack() as stack:
        clients = []
        for path in paths:
            sock = stack.enter_context(socket.create_connection((tracker.host, tracker.http_port), timeout=10))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            clients.append(sock)
        yield clients


def slowest(tracker: TrackerProcess) -> float:
    """Ask for what must never wait; return how long the slowest answer took."""
    client = TrackerClient(tracker.url, token=tracker.token, timeout_s=20)
    took = 0.0
    for ask in (
        Catalogue(client).health,
        lambda: client.heartbeat("bench", UPSTREAM),
        lambda: client.lookup(torrent("known").etag),
        lambda: client.leases(Poll("life", 5.0)),
    ) * 2:
        began = time.monotonic()
        ask()
        took = max(took, time.monotonic() - began)
    return took


def test_320_requests_that_wait_hold_up_nothing_else(tracker: TrackerProcess) -> None:
    with asking(tracker, *(f"/api/models/org/name{number}" for number in range(320))):
        assert Wire(tracker.url).lives(SOON_S)
        eventually(lambda: slowest(tracker) < SOON_S, timeout_s=6, what="answers beside a crowd that waits 8 s")


def test_clients_that_keep_their_end_open_hold_up_nobody(tracker: TrackerProcess) -> None:
    with asking(tracker, *["/healthz"] * 40) as clients:
        for client in clients:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert slowest(tracker) < SOON_S
