"""What is told to a tracker, and how long it may take to answer."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pydantic_core
import pytest

from llmpt.core.errors import TrackerSlow
from llmpt.net.authorities import SYSTEM, Trust
from llmpt.net.http import Bounds, Extension
from llmpt.tracker import wire
from llmpt.tracker.wire import Wire
from tests.support.certificates import Authority

LIVES, STUCK = b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TIMEOUT_S, AMPLE_S, BUSY_S = 0.3, 2.0, 8.0


def test_a_path_of_bytes_leaves_the_rest_of_what_is_told_readable() -> None:
    said = wire.written({"problems": [{"what": "/h\udcff/é", "reason": "it is not there"}]})
    assert pydantic_core.from_json(said) == {"problems": [{"what": "/h?/é", "reason": "it is not there"}]}


class Busy:
    """Takes questions, begins an answer with `first`, and ends it when it has said that it lives as often as it is to.

    Whether it lives, it says at once: each time the next of `lives`, and the last of them from then on.
    """

    def __init__(self, listening: socket.socket, lives: tuple[bytes, ...], first: bytes, tls: ssl.SSLContext | None) -> None:
        self.asked: list[str] = []
        self._tls = tls
        self.goes_on = threading.Event()
        self._listening, self._lives, self._first = listening, lives, first
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as connection:
            self.asked.append(connection.recv(4096).split()[1].decode())
            if self.asked[-1] == "/livez":
                said = self._lives[min(self.asked.count("/livez"), len(self._lives)) - 1]
                connection.sendall(said)
                if said == LIVES and self.asked.count("/livez") == len(self._lives):
                    self.goes_on.set()
                return
            connection.sendall(self._first)
            if self.goes_on.wait(2 * BUSY_S):
                connection.sendall(FINE)


@contextmanager
def busy(
    *lives: bytes, first: bytes = b"", timeout_s: float = TIMEOUT_S, authority: Authority | None = None
) -> Iterator[tuple[Busy, Wire]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, tls, trust = listening.getsockname()[1], None, SYSTEM
        if authority is not None:
            tls, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Trust(ca=str(authority.file))
            tls.load_cert_chain(authority.certificate("server.pem"))
        url = f"http://127.0.0.1:{port}" if authority is None else f"https://localhost:{port}"
        asked = Wire(url, timeout_s=timeout_s, trust=trust)
        asked.busy_s = BUSY_S
        yield Busy(listening, lives, first, tls), asked
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("tls", [False, True])
def test_a_tracker_that_lives_and_has_much_to_do_is_waited_for(tmp_path: Path, tls: bool) -> None:
    with busy(LIVES, timeout_s=AMPLE_S, authority=Authority(tmp_path, "ours") if tls else None) as (tracker, asked):
        assert asked.call("GET", "/x", {}).document == {}
    assert tracker.asked == ["/x", "/livez"], "it stays in its line, and is not asked again"


@pytest.mark.parametrize(
    ("lives", "first"),
    [(b"", b""), (STUCK, b""), (FINE, b""), (b"HTTP/1.1 2", b""), (LIVES, b"HTTP")],
    ids=["says-nothing", "answers-nothing", "something-else", "half-a-word", "trickles"],
)
def test_one_of_which_that_is_not_known_is_waited_for_no_longer_than_ever(lives: bytes, first: bytes) -> None:
    with busy(lives, first=first) as (_, asked):
        began = time.monotonic()
        with pytest.raises(TrackerSlow):
            asked.call("GET", "/x", {})
        assert TIMEOUT_S - 0.05 < time.monotonic() - began < BUSY_S / 2


def test_it_is_waited_for_as_long_as_it_lives() -> None:
    with busy(LIVES, LIVES, LIVES) as (tracker, asked):
        assert asked.call("GET", "/x", {}).document == {}
    assert tracker.asked == ["/x", "/livez", "/livez", "/livez"]


def test_one_that_stops_to_live_is_waited_for_no_longer() -> None:
    with busy(LIVES, LIVES, STUCK) as (tracker, asked):
        began = time.monotonic()
        with pytest.raises(TrackerSlow):
            asked.call("GET", "/x", {})
        assert time.monotonic() - began < BUSY_S / 2
    assert tracker.asked == ["/x", "/livez", "/livez", "/livez"]


def test_one_that_lived_is_waited_for_though_a_later_doubt_is_not_answered_in_time() -> None:
    now = time.monotonic()
    until, beyond = Extension(now, now + 60, lambda _: True, 1.0, 5.0).after(now)
    assert (until - now, beyond.doubt_at - now) == (10.0, 2.0)
    bounds = Bounds(until, replace(beyond, lives=lambda _: False))
    assert bounds.extend()
    assert bounds.deadline == until


def test_what_has_a_time_of_its_own_is_not_waited_for_longer() -> None:
    with busy(LIVES) as (tracker, asked), pytest.raises(TrackerSlow):
        asked.call("POST", "/publish", {}, {}, timeout_s=TIMEOUT_S)
    assert tracker.asked == ["/publish"]
