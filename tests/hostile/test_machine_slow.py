"""A machine without a token that is slow on purpose: half a request, half a body, answers that it does not read."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.host.listening import raise_descriptor_limit
from llmpt.tracker.client import TrackerClient
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import MIB, packed, torrent

ATTACKER = "127.0.0.66"
FILE = torrent("wanted", 300 * MIB)
WHEEL_BYTES = 24 << 20
SOON_S = 1.0  # for another machine's look-up, whatever the attacker does
BEATS_S = 3.0


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    """A tracker with a torrent, and a file in /dist/ that no socket's buffers hold."""
    raise_descriptor_limit()
    folder = tmp_path_factory.mktemp("slow")
    (folder / "dist").mkdir()
    (folder / "dist" / "big-1.0-py3-none-any.whl").write_bytes(bytes(WHEEL_BYTES))
    with TrackerProcess(folder / "data", settings={"LLMPT_DIST": str(folder / "dist")}) as found:
        TrackerClient(found.url, token=found.token).publish({"torrents": packed(FILE)})
        yield found


def attack(tracker: TrackerProcess, count: int, start: bytes, *, buffer_bytes: int | None = None) -> contextlib.ExitStack:
    """Open so many connections from another address, and send the beginning of a request on each."""
    held = contextlib.ExitStack()
    for _ in range(count):
        sock = held.enter_context(socket.socket())
        if buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.bind((ATTACKER, 0))
        sock.settimeout(10)
        sock.connect((tracker.host, tracker.http_port))
        sock.sendall(start)
    return held


def look_up(tracker: TrackerProcess) -> float:
    """Look the file up from this machine; return the seconds that it took."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(tracker.host, tracker.http_port, timeout=10)
    with contextlib.closing(connection):
        body = json.dumps({"etags": [FILE.etag.value]})
        connection.request("POST", "/api/v1/lookup", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert len(json.loads(answer.read())["torrents"]) == 1
    return time.monotonic() - began


def slowest(tracker: TrackerProcess, looks: int = 10) -> float:
    """Return the slowest of some look-ups; a stray hiccup of the machine that runs the tests is none of the attacker's."""
    return sorted(look_up(tracker) for _ in range(looks))[-2]


HALF_A_HEAD = b"GET /api/v1/torrents HTTP/1.1\r\nHost: server\r\nX-Slow: "
HALF_A_BODY = b"POST /api/v1/lookup HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"
HALF_A_CHUNK = b"POST /api/v1/lookup HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{"
LARGE_BODY = b"POST /api/v1/publish HTTP/1.1\r\nHost: server\r\nContent-Length: 10000000\r\n\r\n" + b" " * 4096
A_WHEEL = b"GET /dist/big-1.0-py3-none-any.whl HTTP/1.1\r\nHost: server\r\n\r\n"
PART_OF_A_WHEEL = b"GET /dist/big-1.0-py3-none-any.whl HTTP/1.1\r\nHost: server\r\nRange: bytes=1-\r\n\r\n"


@pytest.mark.parametrize("count", [40, 300, 2000])
@pytest.mark.parametrize("start", [b"", b"G", HALF_A_HEAD], ids=["nothing", "a-byte", "half-a-head"])
def test_half_open_requests_hold_up_nobody_else(tracker: TrackerProcess, start: bytes, count: int) -> None:
    with attack(tracker, count, start):
        assert slowest(tracker) < SOON_S


@pytest.mark.parametrize("start", [HALF_A_BODY, HALF_A_CHUNK, LARGE_BODY], ids=["half", "chunked", "large"])
def test_slow_bodies_hold_up_nobody_else(tracker: TrackerProcess, start: bytes) -> None:
    with attack(tracker, 600, start):
        assert slowest(tracker) < SOON_S


def test_tiny_chunks_without_end_hold_up_nobody_else(tracker: TrackerProcess) -> None:
    is_over = threading.Event()

    def send() -> None:
        while not is_over.is_set():
            with contextlib.suppress(OSError), socket.socket() as sock:
                sock.bind((ATTACKER, 0))
                sock.settimeout(5)
                sock.connect((tracker.host, tracker.http_port))
                sock.sendall(HALF_A_CHUNK.partition(b"ffff")[0])
                while not is_over.is_set():
                    sock.sendall(b"1\r\nx\r\n" * 20_000)

    senders = [threading.Thread(target=send) for _ in range(8)]
    try:
        for one in senders:
            one.start()
        assert slowest(tracker) < SOON_S
    finally:
        is_over.set()
        for one in senders:
            one.join()


@pytest.mark.parametrize("start", [A_WHEEL, PART_OF_A_WHEEL], ids=["file", "range"])
def test_slow_readers_hold_up_nobody_else_and_no_memory(tracker: TrackerProcess, start: bytes) -> None:
    before = memory_bytes(tracker.pid)
    with attack(tracker, 400, start, buffer_bytes=4096):
        assert slowest(tracker) < SOON_S
        assert memory_bytes(tracker.pid) - before < 1 << 30, "400 answers are 9.4 GiB"


def test_a_large_body_of_another_machine_is_taken_meanwhile(tracker: TrackerProcess) -> None:
    with attack(tracker, 300, LARGE_BODY):
        body = json.dumps({"torrents": ["x" * 1_000_000]}).encode()
        connection = http.client.HTTPConnection(tracker.host, tracker.http_port, timeout=5)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {tracker.token}"}
            connection.request("POST", "/api/v1/publish", body, headers)
            assert connection.getresponse().status == 422, "read, and found to hold no torrent"


def test_a_seeders_heartbeats_arrive_meanwhile(tracker: TrackerProcess) -> None:
    said = {"port": 6881, "version": "1", "blobs": 0, "bytes": 0, "uploaded_bytes": 0, "upload_rate_bytes_s": 0}
    with attack(tracker, 2000, HALF_A_HEAD), attack(tracker, 1000, LARGE_BODY), attack(tracker, 200, A_WHEEL, buffer_bytes=4096):
        for _ in range(5):
            began = time.monotonic()
            connection = http.client.HTTPConnection(tracker.host, tracker.http_port, timeout=5)
            with contextlib.closing(connection):
                headers = {"Content-Type": "application/json", "Authorization": f"Bearer {tracker.token}"}
                connection.request("PUT", "/api/v1/seeders/appliance", json.dumps(said), headers)
                assert connection.getresponse().status == 200
            assert time.monotonic() - began < BEATS_S, "it counts as gone after 30 s without one"


def test_whole_requests_of_one_machine_delay_its_own(tracker: TrackerProcess) -> None:
    with attack(tracker, 500, b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"):
        assert slowest(tracker) < SOON_S


@pytest.mark.slow
def test_more_connections_than_there_may_be_leave_a_place_for_others(tracker: TrackerProcess) -> None:
    with attack(tracker, 9000, b""):
        assert slowest(tracker) < SOON_S


def memory_bytes(pid: int) -> int:
    """Return the resident memory of a process and all below it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:")), 0)
    return own + sum(memory_bytes(int(one)) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
