"""The blob server's connections: many, slow, broken, and what they may cost."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack

import pytest

from llmpt.core.blob import Etag
from llmpt.core.rates import RateLimit
from llmpt_seeder.blobs import BlobServer, FileSource, Notices
from llmpt_seeder.blobs.connection import BlobLimits
from tests.contract.blob_server.world import CONTENT, ETAG, PATH, Serve, Shelf, ask, connect, read_to_end
from tests.support.waiting import eventually


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
    server = serve(limits=BlobLimits(connections=2, place_s=0.1))
    with ExitStack() as stack:
        assert server.report()["problems"] == []
        _take_places(server, blob.etag, 2, stack)
        answer, body = ask(server)
        assert (answer.status, answer.getheader("Retry-After")) == (503, "5")
        assert json.loads(body)["error"]["code"] == "busy"
        assert "all 2 places" in str(server.report()["problems"]), "the heartbeat says so, for the page"
    eventually(lambda: ask(server)[0].status == 200, what="room")


def test_a_full_server_still_says_what_it_has(serve: Serve, shelf: Shelf) -> None:
    blob = shelf.put(bytes(32 << 20))
    server = serve(limits=BlobLimits(connections=2))
    with ExitStack() as stack:
        _take_places(server, blob.etag, 2, stack)
        assert ask(server, method="HEAD")[0].status == 200
        assert ask(server, f"/blobs/{'0' * 64}", "HEAD")[0].status == 404
        assert ask(server, "/knock", "POST")[0].status == 204


def test_a_client_gets_the_place_that_becomes_free_while_it_waits(serve: Serve, shelf: Shelf) -> None:
    blob = shelf.put(bytes(32 << 20))
    server = serve(limits=BlobLimits(connections=1, place_s=10))
    with ExitStack() as stack:
        _take_places(server, blob.etag, 1, stack)
        with connect(server) as waiting:
            waiting.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            eventually(lambda: len(server._connections) == 2, what="the second client to be heard")
            stack.close()
            assert read_to_end(waiting).partition(b"\r\n\r\n")[2] == CONTENT


def test_what_is_not_known_yet_is_not_said_to_be_missing(serve: Serve, shelf: Shelf) -> None:
    looked: list[bool] = []
    server = serve(FileSource(shelf.files.get, has_looked=lambda: bool(looked)))
    answer, _ = ask(server, f"/blobs/{'0' * 64}", "HEAD")
    assert (answer.status, answer.getheader("Retry-After")) == (503, "5")
    assert ask(server)[0].status == 200, "what it knows already is served"
    looked.append(True)
    assert ask(server, f"/blobs/{'0' * 64}", "HEAD")[0].status == 404


def test_a_file_that_cannot_be_opened_now_is_not_said_to_be_missing(serve: Serve, shelf: Shelf) -> None:
    path = shelf.files[ETAG].path
    path.unlink()
    path.symlink_to(path.name)  # opening it says ELOOP, as EIO and EMFILE would
    assert ask(serve())[0].status == 503


def test_a_client_that_asks_for_nothing_gives_way(serve: Serve) -> None:
    server = serve(limits=BlobLimits(connections=2, own=0))  # and this very host is nothing better
    with connect(server) as idle:
        eventually(lambda: [one for one in server._connections if one.idle_since])
        with connect(server):
            eventually(lambda: len([one for one in server._connections if one.idle_since]) == 2)
            assert ask(server)[0].status == 200
            assert read_to_end(idle) == b""


def _take_places(server: BlobServer, etag: Etag, count: int, stack: ExitStack) -> None:
    """Have clients get a large blob of which they take a byte."""
    for _ in range(count):
        client = stack.enter_context(connect(server))
        client.sendall(f"GET /blobs/{etag} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.recv(1)


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


def test_what_peers_of_swarms_take_is_counted_apart(serve: Serve) -> None:
    server = serve()
    for program in ("llmpt", "qBittorrent/4.6", "llmpt/0.1.0", "curl/8"):
        assert ask(server, User_Agent=program)[1] == CONTENT
    eventually(lambda: server.report()["http_bytes"] == 4 * len(CONTENT), what="the bytes to be counted")
    assert server.report()["peer_http_bytes"] == 2 * len(CONTENT)


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
    server = serve(notices=Notices(lambda: knocks.append(time.monotonic())))
    assert ask(server, "/knock", "POST")[0].status == 204
    assert len(knocks) == 1
    for _ in range(20):
        ask(server, "/knock", "POST")
    last = time.monotonic()
    eventually(lambda: knocks[-1] >= last, what="the last knock to be passed on")
    assert len(knocks) < 15
