"""The announcer as a process: HTTP on a socket, slow and strange clients, its start and its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llmpt.core import bencode
from llmpt.core.networks import CidrSet
from llmpt_tracker.announcer.http.server import IDLE_S, REQUEST_S, FrontEnd
from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.visibility import Visibility
from llmpt_tracker.announcer.tracker import Tracker
from tests.support.announcer import AnnouncerProcess, ControlClient
from tests.support.waiting import eventually

HASH = b"h" * 20
QUERY = b"info_hash=" + HASH + b"&peer_id=" + b"p" * 20 + b"&port=6881&left=0"
GET = b"GET /announce?" + QUERY + b" HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def announcer() -> Iterator[AnnouncerProcess]:
    with AnnouncerProcess() as process:
        process.control.do("register", hashes=[HASH.hex()])
        process.open()
        yield process


class Client:
    """A raw connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._lines = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Read one answer: status, header fields, body."""
        status = int(self._lines.readline().split()[1])
        fields = {}
        while line := self._lines.readline().strip():
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        return status, fields, self._lines.read(int(fields[b"content-length"]))

    def is_closed(self) -> bool:
        """Wait until the other side closes; False when it sends something instead."""
        try:
            return self._lines.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


@pytest.fixture
def client(announcer: AnnouncerProcess) -> Iterator[Client]:
    client = Client(announcer.port)
    yield client
    client.close()


def test_a_connection_serves_one_announce_after_another(client: Client) -> None:
    for _ in range(3):
        client.send(GET)
        status, fields, body = client.answer()
        assert (status, fields[b"connection"]) == (200, b"keep-alive")
        assert bencode.decode(body)[b"complete"] == 1


def test_an_announce_that_arrives_byte_by_byte_is_answered(client: Client) -> None:
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in GET:
        client.send(bytes((byte,)))
    assert client.answer()[0] == 200


def test_requests_that_arrive_together_are_answered_in_order(client: Client) -> None:
    scrape = b"GET /scrape?info_hash=" + HASH + b" HTTP/1.1\r\n\r\n"
    client.send((GET + scrape) * 200 + GET[:30])
    for _ in range(200):
        assert b"complete" in bencode.decode(client.answer()[2])
        assert b"files" in bencode.decode(client.answer()[2])
    client.send(GET[30:])
    assert client.answer()[0] == 200


def test_answers_that_nobody_reads_are_kept_until_they_are(client: Client) -> None:
    scrape = b"GET /scrape?" + b"&".join(b"info_hash=%020d" % i for i in range(74)) + b" HTTP/1.1\r\n\r\n"
    client.socket.setblocking(False)
    sent = 0
    data = scrape * 2000
    try:
        while sent < len(data):
            sent += client.socket.send(data[sent:])
    except BlockingIOError:
        pass
    client.socket.settimeout(10)
    for _ in range(sent // len(scrape)):
        assert len(bencode.decode(client.answer()[2])[b"files"]) == 74


def test_http_1_0_is_answered_and_closed(client: Client) -> None:
    client.send(b"GET /announce?" + QUERY + b" HTTP/1.0\r\n\r\n")
    assert client.answer()[1][b"connection"] == b"close"
    assert client.is_closed()


def test_a_connection_is_closed_when_the_client_says_so(client: Client) -> None:
    client.send(GET.replace(b"Host: x", b"Connection: close"))
    assert client.answer()[0] == 200
    assert client.is_closed()


def test_a_refused_announce_has_status_200_and_says_why(client: Client) -> None:
    client.send(GET.replace(HASH, b"x" * 20))
    status, _, body = client.answer()
    assert status == 200
    assert bencode.decode(body)[b"failure reason"] == b"unregistered torrent"
    client.send(GET)
    assert client.answer()[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /announce HTTP/1.1\r\nContent-Length: 100\r\n\r\n" + b"x" * 100, 405),
        (b"\x13BitTorrent protocol\r\n\r\n", 400),
        (b"GET /announce?" + b"x" * 20_000, 431),
        (b"GET /announce?" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
def test_what_is_no_announce_gets_its_status_and_the_connection_ends(client: Client, request_bytes: bytes, status: int) -> None:
    client.send(request_bytes)
    found, fields, _ = client.answer()
    assert (found, fields[b"connection"]) == (status, b"close")
    assert client.is_closed()


def test_a_client_that_never_finishes_its_request_is_closed() -> None:
    async def scenario() -> None:
        front = FrontEnd(a_tracker())
        port = front.open(["127.0.0.1"], 0)
        slow, slow_writer = await asyncio.open_connection("127.0.0.1", port)
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        slow_writer.write(GET[:20])
        idle_writer.write(GET)
        await asyncio.wait_for(idle.readuntil(b"\r\n\r\n"), 5)
        started = front.now()
        front.now = lambda: started + REQUEST_S + 1
        front.reap()
        assert await asyncio.wait_for(slow.read(1), 5) == b""
        front.now = lambda: started + IDLE_S + 1
        front.reap()
        await asyncio.wait_for(idle.read(), 5)
        assert idle.at_eof()
        for writer in (slow_writer, idle_writer):
            writer.close()
            await writer.wait_closed()
        front.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_crowd_that_announces_leaves_the_application_its_turn() -> None:
    """What the application asks waits for no more than a moment of announces, however many there are."""

    async def scenario() -> None:
        tracker = a_tracker()
        front = FrontEnd(tracker)
        front.now = lambda: moment[0]
        answered = 0

        def slowly(*_: object) -> bytes:
            nonlocal answered
            answered += 1
            moment[0] += 0.001
            return b"de"

        tracker.answer = slowly  # type: ignore[assignment]
        port = front.open(["127.0.0.1"], 0)
        crowd = [Client(port) for _ in range(30)]  # the kernel takes them: the loop does not run meanwhile
        for client in crowd:
            client.send(GET)
        most = 0
        while answered < len(crowd):
            before = answered
            await asyncio.sleep(0)
            most = max(most, answered - before)
        assert most <= 3
        for client in crowd:
            client.close()
        front.close()

    moment = [1000.0]
    asyncio.run(asyncio.wait_for(scenario(), 20))


def a_tracker() -> Tracker:
    seeders = Seeders()
    return Tracker(MemoryStore(), seeders=seeders, visibility=Visibility(allowed=CidrSet.parse("127.0.0.0/8"), seeders=seeders))


def test_a_fault_of_ours_is_logged_and_answered_and_ends_that_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        tracker = a_tracker()
        front = FrontEnd(tracker)
        port = front.open(["127.0.0.1"], 0)
        tracker.store = None  # type: ignore[assignment]
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
            writer.close()
            await writer.wait_closed()
        front.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert "Traceback" in caplog.text


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_clients_that_vanish_leave_nothing_behind(announcer: AnnouncerProcess) -> None:
    before = announcer.descriptor_count()
    for _ in range(50):
        gone = Client(announcer.port)
        gone.send(GET[:40])
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        gone.close()
    eventually(lambda: announcer.descriptor_count() <= before, what="the descriptors of vanished clients")


def test_nothing_listens_before_the_list_is_loaded_and_the_port_is_opened() -> None:
    with AnnouncerProcess() as process:
        assert process.control.do("status")["open"] is False
        process.open()
        Client(process.port).close()


def test_every_start_has_a_boot_id_of_its_own_and_knows_nobody() -> None:
    with AnnouncerProcess() as process:
        process.control.do("register", hashes=[HASH.hex()])
        first, port = process.open(), process.port
        process.restart()
        assert process.control.do("status")["swarms"] == 0
        assert process.open() != first
        assert process.port == port


def test_opening_again_is_the_same_port() -> None:
    with AnnouncerProcess() as process:
        process.open()
        assert process.control.do("open")["announce_port"] == process.port


def test_a_peer_learns_at_its_next_announce_whether_others_can_connect_to_it(announcer: AnnouncerProcess, client: Client) -> None:
    def verdict(port: int) -> dict[bytes, Any]:
        client.send(GET.replace(b"port=6881", b"port=%d" % port))
        answer: dict[bytes, Any] = bencode.decode(client.answer()[2])
        return answer if b"llmpt reachable" in answer else {}

    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in (listening, closed)]
        reached, missed = (eventually(partial(verdict, port), what="the verdict") for port in ports)
        assert [announcer.control.do("reach", address="127.0.0.1", port=port)["reachable"] for port in ports] == [True, False]
    assert (reached[b"llmpt reachable"], missed[b"llmpt reachable"]) == (1, 0)
    assert b"warning message" not in reached
    assert str(ports[1]).encode() in missed[b"warning message"]


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, AnnouncerProcess() as process:
        process.stop()
        process.set_port(other.getsockname()[1])
        process.start()
        reply = process.control.ask("open")
        assert not reply["ok"]
        assert f"127.0.0.1 port {other.getsockname()[1]}" in reply["error"]
        assert "LLMPT_ANNOUNCE_PORT" in reply["error"]


def test_both_families_get_the_same_port() -> None:
    with AnnouncerProcess({"LLMPT_BIND": "0.0.0.0,[::]"}) as process:
        process.open()
        Client(process.port).close()
        if socket.has_ipv6:
            try:
                socket.create_connection(("::1", process.port), timeout=5).close()
            except OSError:
                with pytest.raises(OSError, match="assign"), socket.socket(socket.AF_INET6) as probe:
                    probe.bind(("::1", 0))  # this host has no IPv6


def test_an_address_outside_the_lan_is_told_the_name_of_the_setting() -> None:
    with AnnouncerProcess({"LLMPT_PEER_CIDRS": "10.0.0.0/8"}) as process:
        process.open()
        client = Client(process.port)
        client.send(GET)
        status, _, body = client.answer()
        client.close()
        assert status == 200
        assert b"127.0.0.1 is outside LLMPT_PEER_CIDRS" in body


def test_sigterm_ends_it_cleanly_with_clients_connected() -> None:
    with AnnouncerProcess() as process:
        process.open()
        client = Client(process.port)
        client.send(GET)
        client.answer()
        application = ControlClient(process.control_path)
        application.do("status")
        assert process.stop() == 0
        assert client.is_closed()
        client.close()
        application.close()
        assert "Traceback" not in process.log


def test_a_broken_control_line_ends_only_that_connection() -> None:
    with AnnouncerProcess() as process:
        other = ControlClient(process.control_path)
        assert not other.ask("nothing")["ok"]
        other.close()
        assert process.control.do("status")["swarms"] == 0


def test_without_a_control_socket_it_says_who_starts_it() -> None:
    with AnnouncerProcess() as process:
        process.stop()
        code, output = process.run_without_socket()
        assert code == 1
        assert "LLMPT_CONTROL_SOCKET" in output
