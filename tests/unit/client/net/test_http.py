"""Every answer has one deadline, its head included, however it comes."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import LlmptError
from llmpt.doctor.probe import Probe
from llmpt.hub.asking import ask
from llmpt.net.http import Bounds, Connection, Extension
from llmpt.tracker.blobs import BlobHttp, BlobTimings
from llmpt.tracker.wire import Wire

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
TRICKLE_S = 0.02


@contextmanager
def trickling(first: bytes, piece: bytes) -> Iterator[str]:
    """Something that says `first`, and then `piece` again and again, a byte at a time."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=trickle, args=(connection,), daemon=True).start()

        def trickle(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.sendall(first)
                    while not over.wait(TRICKLE_S):
                        for byte in piece:
                            connection.sendall(bytes([byte]))
                            if over.wait(TRICKLE_S):
                                return
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        over.set()


def by_wire(url: str) -> object:
    return Wire(url, timeout_s=0.15).call("GET", "/healthz", {})


def by_blob_head(url: str) -> object:
    return BlobHttp(url, stall_timeout_s=5, timings=BlobTimings(answer_s=0.15)).locate(Etag("e" * 64))


def by_blob(url: str) -> object:
    blobs = BlobHttp(url, stall_timeout_s=5, timings=BlobTimings(answer_s=0.15))
    with tempfile.TemporaryFile() as file:
        return blobs.fetch(Etag("e" * 64), 9, file.fileno(), on_progress=lambda _: None)


def of_the_hub(url: str) -> object:
    return ask(url, head_s=0.15, body_s=0.15)


def by_the_doctor(url: str) -> object:
    found = Probe.of(url, timeout_s=0.1)
    assert not found.well
    raise LlmptError(found.reason)


@pytest.mark.parametrize("way", [by_wire, by_blob_head, by_blob, of_the_hub, by_the_doctor])
@pytest.mark.parametrize(
    ("first", "piece"), [(b"", b"HTTP/1.1 200 OK"), (HEAD, b"X-A: b\r\n")], ids=["the first line", "one field after the other"]
)
def test_a_head_that_trickles_is_given_up_in_time(way: Callable[[str], object], first: bytes, piece: bytes) -> None:
    with trickling(first, piece) as url:
        began = time.monotonic()
        with pytest.raises(LlmptError):
            way(url)
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("way", [by_wire, of_the_hub])
def test_a_body_that_trickles_is_given_up_in_time(way: Callable[[str], object]) -> None:
    with trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b"{") as url:
        began = time.monotonic()
        with pytest.raises(LlmptError):
            way(url)
        assert time.monotonic() - began < 1.5


def test_an_answer_may_be_read_when_its_connection_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = Connection("127.0.0.1", listening.getsockname()[1], tls=False, bounds=Bounds.of(5), connect_s=1)
        connection.connect()
        connection.request("GET", "/")
        peer, _ = listening.accept()
        with peer:
            peer.recv(4096)
            peer.sendall(HEAD + b"Connection: close\r\n\r\nok")
            with connection.getresponse() as response:
                connection.close()
                assert response.read() == b"ok"


@pytest.mark.parametrize("lives", [True, False])
def test_one_that_was_held_up_itself_asks_all_the_same_whether_the_other_end_lives(lives: bool) -> None:
    """A program that wakes when its time is long over has not heard that the other end is silent."""
    now = time.monotonic()
    asked: list[float] = []
    bounds = Bounds(now - 9.0, Extension(now - 10.0, now + 60.0, lambda within_s: asked.append(within_s) or lives))  # type: ignore[func-returns-value]
    assert bounds.extend()
    assert asked == [1.0]
    assert (bounds.deadline > now) == lives
    assert (bounds.extension is not None) == lives


def test_at_the_very_end_it_does_not_matter_whether_the_other_end_lives() -> None:
    now = time.monotonic()
    bounds = Bounds(now - 1.0, Extension(now - 2.0, now - 1.0, lambda _: True))
    assert not bounds.extend()
