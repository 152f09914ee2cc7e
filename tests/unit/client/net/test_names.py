"""A name server that swallows questions costs no more than the time that there is, and what was found is remembered."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from llmpt.net.connecting import connect
from llmpt.net.names import Names
from tests.support.waiting import eventually

ROWS = [
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 80)),
]


class NameServer:
    """Answers when `answers` is set, and not before; with `error` if there is one."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.error: OSError | None = None
        self.rows: list[Any] = ROWS
        self.asked = 0

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        if not self.answers.wait(10):
            raise AssertionError("the test has not let it answer")
        if self.error is not None:
            raise self.error
        return self.rows


@pytest.fixture
def server() -> Iterator[NameServer]:
    one = NameServer()
    yield one
    one.answers.set()


def hosts(found: Any) -> list[str]:
    return [place.address[0] for place in found]


def test_a_name_that_does_not_resolve_costs_no_more_than_its_time(server: NameServer) -> None:
    names, began = Names(look_up=server), time.monotonic()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            names.places("server", 80, wait_s=0.02)
    assert time.monotonic() - began < 1
    assert server.asked == 1, "one look-up is enough for all that wait"


def test_what_is_found_too_late_is_there_for_the_next_question(server: NameServer) -> None:
    names = Names(look_up=server)
    with pytest.raises(TimeoutError):
        names.places("server", 80, wait_s=0)
    server.answers.set()
    eventually(lambda: names.known("server", 80), what="the answer")
    assert hosts(names.places("server", 80, wait_s=0)) == ["127.0.0.1", "127.0.0.2"]
    assert server.asked == 1


def test_a_known_host_is_not_waited_for_when_its_answer_has_grown_old(server: NameServer) -> None:
    now = [0.0]
    names = Names(look_up=server, fresh_s=60, clock=lambda: now[0])
    server.answers.set()
    names.places("server", 80, wait_s=5)
    server.answers.clear()
    now[0] = 61
    began = time.monotonic()
    assert hosts(names.places("server", 80, wait_s=5)) == ["127.0.0.1", "127.0.0.2"]
    assert time.monotonic() - began < 1
    server.rows = ROWS[1:]
    server.answers.set()
    eventually(lambda: hosts(names.known("server", 80)) == ["127.0.0.2"], what="the new answer")


def test_a_known_host_outlives_its_name_server(server: NameServer) -> None:
    names = Names(look_up=server)
    server.answers.set()
    names.places("server", 80, wait_s=5)
    server.error = socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution")
    names.doubt("server", 80)
    assert hosts(names.places("server", 80, wait_s=5)) == ["127.0.0.1", "127.0.0.2"]


def test_a_host_that_has_moved_is_found_at_the_next_try(server: NameServer) -> None:
    names = Names(look_up=server)
    server.answers.set()
    names.places("server", 80, wait_s=5)
    server.rows = ROWS[1:]
    names.doubt("server", 80)
    assert hosts(names.places("server", 80, wait_s=5)) == ["127.0.0.2"]


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError("label too long")], ids=["unknown", "odd"]
)
def test_a_name_that_there_is_not_is_an_os_error(error: Exception) -> None:
    def look_up(*_: Any, **__: Any) -> list[Any]:
        raise error

    with pytest.raises(OSError):
        Names(look_up=look_up).places("server", 80, wait_s=5)


def test_addresses_need_no_look_up(server: NameServer) -> None:
    names = Names(look_up=server)
    assert hosts(names.places("127.0.0.7", 80, wait_s=0)) == ["127.0.0.7"]
    assert hosts(names.places("::1", 80, wait_s=0)) == ["::1"]
    assert server.asked == 0


def test_a_fork_does_not_wait_for_its_parents_look_up(server: NameServer) -> None:
    names = Names(look_up=server)
    with pytest.raises(TimeoutError):
        names.places("server", 80, wait_s=0)
    child = os.fork()
    if child == 0:
        server.answers = threading.Event()
        server.answers.set()
        os._exit(0 if hosts(names.places("server", 80, wait_s=5)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_address_that_answers_is_tried_first_from_then_on() -> None:
    with socket.create_server(("127.0.0.2", 0)) as listening:
        port = listening.getsockname()[1]
        names = Names(look_up=lambda _host, port, **_: [(*row[:4], (row[4][0], port)) for row in ROWS])
        for _ in range(2):
            connect("server", port, wait_s=5, names=names).close()
        assert hosts(names.known("server", port)) == ["127.0.0.2", "127.0.0.1"]
