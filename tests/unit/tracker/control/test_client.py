"""The client of the control socket: whatever the other side does, one error, in bounded time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmpt_tracker.control.client import AnnouncerClient
from llmpt_tracker.control.messages import BlobAddress, Swarm, SwarmPeer
from llmpt_tracker.errors import AnnouncerUnavailable

STATUS = {"ok": True, "boot_id": "b", "open": True, "announce_port": 6969, "swarms": 1, "peers": 2, "troubles": []}


class Responder:
    """A control socket that answers each line with what `reply` makes of it; None closes the connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reply: Callable[[dict[str, Any]], bytes | None] = lambda _: json.dumps(STATUS).encode() + b"\n"
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def drop_all(self) -> None:
        for one in self._open:
            one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(5)
        self._listener.close()
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(5)
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            try:
                for line in lines:
                    answer = self.reply(json.loads(line))
                    if answer is None:
                        connection.shutdown(socket.SHUT_RDWR)
                        return
                    connection.sendall(answer)
            except OSError:
                return


@pytest.fixture
def responder(tmp_path: Path) -> Iterator[Responder]:
    one = Responder(tmp_path / "a.sock")
    yield one
    one.close()


@pytest.fixture
def client(responder: Responder) -> Iterator[AnnouncerClient]:
    one = AnnouncerClient(responder.path, timeout_s=0.3)
    yield one
    one.close()


def test_a_connection_is_kept(client: AnnouncerClient, responder: Responder) -> None:
    for _ in range(3):
        assert client.status().announce_port == 6969
    assert responder.connections == 1


def test_a_connection_that_died_is_replaced(client: AnnouncerClient, responder: Responder) -> None:
    client.status()
    responder.drop_all()
    assert client.status().boot_id == "b"
    assert responder.connections == 2


def test_swarms_are_parsed_and_the_request_is_as_agreed(client: AnnouncerClient, responder: Responder) -> None:
    asked: list[dict[str, Any]] = []

    def reply(request: dict[str, Any]) -> bytes:
        asked.append(request)
        swarm = {"seeders": 1, "leechers": 2, "completed": 3, "peers": [{"address": None, "port": 6881}]}
        return json.dumps({"ok": True, "swarms": {"ab" * 20: swarm}, "boot_id": "b"}).encode() + b"\n"

    responder.reply = reply
    found, boot_id = client.swarms(["ab" * 20], peers=5, asker="10.0.0.1")
    assert (found, boot_id) == ({"ab" * 20: Swarm(1, 2, 3, (SwarmPeer(None, 6881),))}, "b")
    assert asked == [{"op": "swarms", "hashes": ["ab" * 20], "peers": 5, "asker": "10.0.0.1"}]


def test_the_blob_servers_are_told_with_the_address_for_who_asks(client: AnnouncerClient, responder: Responder) -> None:
    asked: list[dict[str, Any]] = []

    def reply(request: dict[str, Any]) -> bytes:
        asked.append(request)
        server = {"id": "s", "address": "172.18.0.3", "port": 8001, "shown": None}
        return json.dumps({"ok": True, "servers": [server, {**server, "shown": "10.0.0.7"}]}).encode() + b"\n"

    responder.reply = reply
    found = client.blob_servers(asker="10.0.0.9")
    assert found == [BlobAddress("172.18.0.3", 8001, shown, "s") for shown in (None, "10.0.0.7")]
    assert asked == [{"op": "blob_servers", "asker": "10.0.0.9"}]


@pytest.mark.parametrize("reachable", [True, False, None])
def test_what_the_announcer_says_of_a_port_is_passed_on(
    client: AnnouncerClient, responder: Responder, reachable: bool | None
) -> None:
    asked: list[dict[str, Any]] = []

    def reply(request: dict[str, Any]) -> bytes:
        asked.append(request)
        return json.dumps({"ok": True, "reachable": reachable}).encode() + b"\n"

    responder.reply = reply
    assert client.reach("10.0.0.5", 6882) is reachable
    assert asked == [{"op": "reach", "address": "10.0.0.5", "port": 6882}]


@pytest.mark.parametrize(
    "answer",
    [b"nonsense\n", b"[]\n", b"{}\n", b'{"ok":true}\n', b'{"ok":false,"error":"no"}\n', b'{"ok":true,"boot_id":1', None],
)
def test_an_answer_that_makes_no_sense_is_the_announcer_being_away(
    client: AnnouncerClient, responder: Responder, answer: bytes | None
) -> None:
    responder.reply = lambda _: answer
    with pytest.raises(AnnouncerUnavailable):
        client.status()


def test_silence_ends_in_time(client: AnnouncerClient, responder: Responder) -> None:
    responder.reply = lambda _: b""
    begun = time.monotonic()
    with pytest.raises(AnnouncerUnavailable):
        client.status()
    assert time.monotonic() - begun < 3


def test_no_socket_is_the_announcer_being_away(tmp_path: Path) -> None:
    with pytest.raises(AnnouncerUnavailable):
        AnnouncerClient(tmp_path / "none").status()


def test_threads_do_not_get_each_others_answers(client: AnnouncerClient, responder: Responder) -> None:
    responder.reply = lambda request: json.dumps({"ok": True, "boot_id": request["seeder"]}).encode() + b"\n"
    wrong: list[str] = []

    def beat(name: str) -> None:
        for _ in range(20):
            if client.heartbeat(name, key="k", report={}, address="10.0.0.1") != name:
                wrong.append(name)

    threads = [threading.Thread(target=beat, args=(f"seeder-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert wrong == []
