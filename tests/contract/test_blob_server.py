"""The blob server and its clients, over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import SettingError
from llmpt.core.networks import CidrSet
from llmpt.core.rates import RateLimit
from llmpt.disk.inventory import FileStamp
from llmpt_seeder.blobs import BlobServer, Doors, FileSource, OpenBlob, State
from llmpt_seeder.blobs.connection import WITHHELD_BYTES, BlobLimits
from llmpt_seeder.cache.contents import BlobFile
from tests.support.cache_builder import lfs_sha256
from tests.support.waiting import eventually

CONTENT = Random(1).randbytes(3 << 20)  # the tests' names hold its etag
ETAG = Etag(lfs_sha256(CONTENT))
PATH = f"/blobs/{ETAG}"

Serve = Callable[..., BlobServer]


class Shelf:
    """The files of one folder, by etag."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[Etag, BlobFile] = {}

    def put(self, content: bytes) -> BlobFile:
        etag = Etag(lfs_sha256(content))
        path = self.folder / etag.value
        path.write_bytes(content)
        self.files[etag] = BlobFile(etag, path, FileStamp.of(path.stat()))
        return self.files[etag]


class GrowingFile:
    """A source with one blob, which has as many bytes as it was told."""

    def __init__(self, path: Path, etag: Etag, size: int) -> None:
        self.path, self.etag, self.size = path, etag, size
        self.state: State = "growing"
        self.opened = self.closed = 0
        path.touch()

    def grow(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def open(self, etag: Etag) -> OpenBlob | None:
        if etag != self.etag:
            return None
        self.opened += 1
        return _Growing(self)


class _Growing:
    def __init__(self, file: GrowingFile) -> None:
        self._growing, self._file = file, file.path.open("rb")
        self.size = file.size

    @property
    def state(self) -> State:
        return self._growing.state

    def available(self) -> int:
        return self._growing.path.stat().st_size

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._growing.closed += 1
        self._file.close()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    shelf.put(CONTENT)
    return shelf


@pytest.fixture
def serve(shelf: Shelf) -> Iterator[Serve]:
    """Start a blob server; it has ended, with all its threads, when the test has."""
    before = threading.active_count()
    with ExitStack() as stack:

        def start(*sources: Any, allowed: str = "127.0.0.0/8", **arguments: Any) -> BlobServer:
            of = sources or (FileSource(shelf.files.get),)
            server = BlobServer(of, Doors(("127.0.0.1",), 0, CidrSet.parse(allowed)), **arguments)
            return stack.enter_context(server)

        yield start
    eventually(lambda: threading.active_count() <= before, what="all threads to end")


def ask(server: BlobServer, path: str = PATH, method: str = "GET", **fields: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in fields.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def connect(server: BlobServer, *, timeout_s: float = 10) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=timeout_s)


def read_to_end(sock: socket.socket) -> bytes:
    data = b""
    while chunk := sock.recv(1 << 20):
        data += chunk
    return data


# Blobs


def test_a_blob_is_served_whole_and_in_parts(serve: Serve) -> None:
    server = serve()
    answer, body = ask(server)
    assert (answer.status, body == CONTENT) == (200, True)
    assert (answer.getheader("ETag"), answer.getheader("Accept-Ranges")) == (f'"{ETAG}"', "bytes")
    answer, body = ask(server, Range="bytes=1000000-2000000")
    assert (answer.status, body) == (206, CONTENT[1_000_000:2_000_001])
    assert answer.getheader("Content-Range") == f"bytes 1000000-2000000/{len(CONTENT)}"
    assert ask(server, Range=f"bytes={len(CONTENT)}-")[0].status == 416


def test_a_head_has_the_length_and_no_bytes(serve: Serve) -> None:
    answer, body = ask(serve(), method="HEAD")
    assert (answer.status, answer.getheader("Content-Length"), body) == (200, str(len(CONTENT)), b"")


def test_nothing_is_compressed_whatever_the_client_accepts(serve: Serve) -> None:
    answer, body = ask(serve(), Accept_Encoding="gzip, br")
    assert (answer.getheader("Content-Encoding"), body == CONTENT) == (None, True)


def test_an_empty_blob_is_served(serve: Serve, shelf: Shelf) -> None:
    answer, body = ask(serve(), f"/blobs/{shelf.put(b'').etag}")
    assert (answer.status, answer.getheader("Content-Length"), body) == (200, "0", b"")


@pytest.mark.parametrize(
    "path",
    ["/", "/blobs", "/blobs/", f"/blobs/{'0' * 64}", f"/blobs/../{ETAG}", f"/blobs/{ETAG}/", f"//blobs/{ETAG}", "/blobs/%2e%2e",
     f"/blobs/{str(ETAG).upper()}", "/etc/passwd", "/blobs/" + "x" * 10_000],
    ids=lambda path: path[:20],
)  # fmt: skip
def test_there_is_nothing_but_blobs(serve: Serve, path: str) -> None:
    answer, body = ask(serve(), path)
    assert (answer.status, json.loads(body)["error"]["code"]) == (404, "not_found")


def test_methods_that_make_no_sense_are_refused(serve: Serve) -> None:
    server = serve()
    assert ask(server, method="POST")[0].status == 405
    assert ask(server, method="DELETE")[0].status == 405
    assert ask(server, "/knock")[0].status == 405


def test_a_blob_whose_file_is_gone_is_not_there(serve: Serve, shelf: Shelf) -> None:
    shelf.files[ETAG].path.unlink()
    assert ask(serve())[0].status == 404


def test_a_file_that_was_written_to_is_never_sent_under_its_old_name(serve: Serve, shelf: Shelf) -> None:
    blob = shelf.files[ETAG]
    with blob.path.open("r+b") as file:
        file.write(b"changed")
    os.utime(blob.path, ns=(1, blob.stamp.mtime_ns + 1))
    assert ask(serve())[0].status == 404


def test_a_file_that_is_written_to_while_it_is_sent_is_cut_off(serve: Serve, shelf: Shelf) -> None:
    content = os.urandom(8 << 20)
    blob = shelf.put(content)
    server = serve(upload_limit=RateLimit.parse("4M"))
    with connect(server) as client:
        client.sendall(f"GET /blobs/{blob.etag} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        os.utime(blob.path, ns=(1, 1))
        with pytest.raises(ConnectionResetError):
            read_to_end(client)


def test_who_is_outside_the_lan_is_told_which_setting_says_so(serve: Serve) -> None:
    answer, body = ask(serve(allowed="10.0.0.0/8"))
    assert answer.status == 403
    assert "LLMPT_PEER_CIDRS" in json.loads(body)["error"]["message"]


def test_a_port_that_is_taken_is_named(serve: Serve) -> None:
    with pytest.raises(SettingError, match="LLMPT_BLOB_PORT"):
        BlobServer([], Doors(("127.0.0.1",), serve().port, CidrSet.parse("")))


# Connections


def test_a_connection_serves_many_requests_also_at_once(serve: Serve) -> None:
    request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n\r\n"
    with connect(serve()) as client:
        client.sendall("".join(request % (n, n) for n in range(50)).encode())
        client.sendall(f"\r\nHEAD {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answers = read_to_end(client).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"206"] * 50 + [b"200"]
    assert b"".join(answer[-1:] for answer in answers[:50]) == CONTENT[:50]


def test_a_client_of_old_is_served_and_let_go(serve: Serve) -> None:
    with connect(serve()) as client:
        client.sendall(f"GET {PATH} HTTP/1.0\r\n\r\n".encode())
        assert read_to_end(client).partition(b"\r\n\r\n")[2] == CONTENT


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (f"GET {PATH} HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello".encode(), b"400"),
    ],
    ids=["no request", "another version", "endless", "a body"],
)
def test_a_request_that_is_none_ends_the_connection(serve: Serve, request_: bytes, status: bytes) -> None:
    with connect(serve()) as client:
        client.sendall(request_)
        assert read_to_end(client).split(b" ")[1] == status


@pytest.mark.parametrize("said", [b"", b"GET /blobs/"], ids=["nothing", "half a request"])
def test_a_client_that_says_too_little_is_let_go(serve: Serve, said: bytes) -> None:
    with connect(serve(limits=BlobLimits(head_s=0.3, idle_s=0.3))) as client:
        client.sendall(said)
        assert read_to_end(client) == b""


def test_a_client_that_takes_nothing_is_let_go_and_holds_up_nobody(serve: Serve, shelf: Shelf) -> None:
    blob = shelf.put(bytes(32 << 20))
    server = serve(limits=BlobLimits(stall_s=0.4))
    with connect(server) as stalled:
        stalled.sendall(f"GET /blobs/{blob.etag} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert ask(server)[1] == CONTENT
        eventually(lambda: not server._connections, what="the stalled client to be let go")
        with pytest.raises(ConnectionResetError):
            read_to_end(stalled)


def test_too_many_clients_are_told_to_come_back(serve: Serve, shelf: Shelf) -> None:
    blob = shelf.put(bytes(32 << 20))
    server = serve(limits=BlobLimits(connections=2))
    with ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(connect(server))
            client.sendall(f"GET /blobs/{blob.etag} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            client.recv(1)
        answer, body = ask(server)
        assert (answer.status, answer.getheader("Retry-After")) == (503, "5")
        assert json.loads(body)["error"]["code"] == "busy"
    eventually(lambda: ask(server)[0].status == 200, what="room")


def test_a_client_that_asks_for_nothing_gives_way(serve: Serve) -> None:
    server = serve(limits=BlobLimits(connections=2))
    with connect(server) as idle, connect(server):
        eventually(lambda: len(server._connections) == 2)
        assert ask(server)[0].status == 200
        assert read_to_end(idle) == b""


def test_many_clients_at_once_get_all_of_it(serve: Serve) -> None:
    server = serve()
    same: list[bool] = []
    clients = [threading.Thread(target=lambda: same.append(ask(server)[1] == CONTENT)) for _ in range(64)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(30)
    assert same == [True] * 64
    eventually(lambda: server.report()["http_bytes"] == 64 * len(CONTENT), what="the bytes to be counted")


def test_it_answers_while_another_thread_computes(serve: Serve) -> None:
    server = serve()
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(10_000))

    busy = threading.Thread(target=compute)
    busy.start()
    try:
        took = []
        for _ in range(5):
            began = time.monotonic()
            assert ask(server, method="HEAD")[0].status == 200
            took.append(time.monotonic() - began)
        assert min(took) < 0.5  # what the tracker waits for it
    finally:
        done.set()
        busy.join()


def test_the_upload_limit_holds_for_all_clients_together(serve: Serve) -> None:
    server = serve(upload_limit=RateLimit.parse("8M"))
    began = time.monotonic()
    clients = [threading.Thread(target=ask, args=(server,)) for _ in range(2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(30)
    assert time.monotonic() - began > 0.8 * 2 * len(CONTENT) / (8 << 20)


def test_a_knock_is_passed_on_the_last_one_too_and_not_each_of_a_flood(serve: Serve) -> None:
    knocks: list[float] = []
    server = serve(on_knock=lambda: knocks.append(time.monotonic()))
    assert ask(server, "/knock", "POST")[0].status == 204
    assert len(knocks) == 1
    for _ in range(20):
        ask(server, "/knock", "POST")
    last = time.monotonic()
    eventually(lambda: knocks[-1] >= last, what="the last knock to be passed on")
    assert len(knocks) < 15


# Blobs that grow


@pytest.fixture
def growing(tmp_path: Path) -> GrowingFile:
    return GrowingFile(tmp_path / "growing", ETAG, len(CONTENT))


def test_a_blob_is_sent_while_it_grows_and_its_end_only_when_it_is_whole(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT[: 1 << 20])
    server = serve(growing)
    with connect(server) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        file = client.makefile("rb")
        while file.readline() != b"\r\n":
            pass
        assert file.read(1 << 20) == CONTENT[: 1 << 20]
        growing.grow(CONTENT[1 << 20 :])
        shown = len(CONTENT) - WITHHELD_BYTES - (1 << 20)
        assert file.read(shown) == CONTENT[1 << 20 :][:shown]
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        growing.state = "whole"
        assert read_to_end(client) == CONTENT[-WITHHELD_BYTES:]
    eventually(lambda: (growing.opened, growing.closed) == (1, 1), what="the file to be closed")


def test_a_part_of_a_growing_blob_can_be_had(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT[: 1 << 20])
    answer, body = ask(serve(growing), Range="bytes=1000-1999")
    assert (answer.status, body) == (206, CONTENT[1000:2000])


def test_a_blob_that_fails_is_cut_off_before_its_end(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT)
    with connect(serve(growing)) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        growing.state = "failed"
        with pytest.raises(ConnectionResetError):
            read_to_end(client)
    eventually(lambda: growing.closed == 1, what="the file to be closed")


def test_a_blob_that_grows_no_more_is_not_waited_for_without_end(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT[:1000])
    with connect(serve(growing, limits=BlobLimits(growth_s=0.3))) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            read_to_end(client)


def test_a_client_that_goes_while_a_blob_grows_is_noticed(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT[:1000])
    server = serve(growing)
    with connect(server) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.recv(1000)
    eventually(lambda: growing.closed == 1, what="the file to be closed")


def test_the_first_source_that_has_a_blob_is_the_one(serve: Serve, shelf: Shelf, growing: GrowingFile) -> None:
    server = serve(FileSource(shelf.files.get), growing)
    assert ask(server)[1] == CONTENT
    assert growing.opened == 0
    del shelf.files[ETAG]
    assert ask(server, method="HEAD")[0].status == 200
    assert growing.opened == 1


def test_closing_ends_clients_in_the_middle(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT[: 1 << 20])
    server = serve(growing)
    with connect(server) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.recv(1000)
        server.close()
        eventually(lambda: growing.closed == 1, what="the file to be closed")
