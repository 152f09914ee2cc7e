"""Connections of the application's server, over real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from llmpt.core.networks import parse_address
from llmpt_tracker.serve.http import desk
from llmpt_tracker.serve.http.bounds import ConnectionBounds, Memory, ServingLimits, TimeLimits
from llmpt_tracker.serve.http.connection import Connection
from llmpt_tracker.serve.http.loop import EventLoop
from llmpt_tracker.serve.http.places import OUTSIDE, Guest
from llmpt_tracker.serve.http.ways import Ways

GET = b"GET / HTTP/1.1\r\n\r\n"


def post(body: bytes, *fields: bytes) -> bytes:
    """Return a request with a body."""
    return b"\r\n".join((b"POST / HTTP/1.1", b"Content-Length: %d" % len(body), *fields, b"", body))


def echo(connection: Connection) -> bool:
    """Answer with the request's body; keep the connection unless it says END."""
    body = b"".join(connection.body)
    connection.outbox.sendall(b"<%d>" % len(body) + body)
    return not body.endswith(b"END")


PLAIN = Ways(guest=lambda text: Guest.of(parse_address(text)))


@contextmanager
def serving(
    handler: Callable[[Connection], bool] = echo, *, limits: ServingLimits = ServingLimits(), ways: Ways = PLAIN
) -> Iterator[tuple[str, int]]:
    """Run the loop in a thread; yield where it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(4) as pool:
        loop, ends = EventLoop([listening], handler, pool, ways=ways, limits=limits), threading.Event()

        def run() -> None:
            while not ends.is_set():
                loop.run_once(0.05)
            loop.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            ends.set()
            loop.call(lambda: None)
            thread.join()


def connected(at: tuple[str, int], start: bytes = b"") -> socket.socket:
    """Return a connection on which that much was sent."""
    sock = socket.create_connection(at, timeout=5)
    sock.sendall(start)
    return sock


def read_all(sock: socket.socket) -> bytes:
    """Read until the end."""
    data = b""
    while part := sock.recv(65536):
        data += part
    return data


def test_a_connection_is_kept_and_requests_that_come_together_are_answered_in_order() -> None:
    with serving() as at, connected(at, post(b"one") + post(b"two") + GET + post(b"END")) as sock:
        assert read_all(sock) == b"<3>one<3>two<0><3>END"


def test_a_request_may_come_byte_by_byte() -> None:
    with serving() as at, connected(at) as sock:
        for byte in post(b"END"):
            sock.sendall(bytes([byte]))
        assert read_all(sock) == b"<3>END"


def test_a_client_that_waits_to_be_told_so_is_told_to_go_on() -> None:
    with serving() as at, connected(at, post(b"END", b"Expect: 100-continue")[:-3]) as sock:
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"END")
        assert read_all(sock) == b"<3>END"


def test_an_answer_that_its_client_does_not_read_holds_no_thread() -> None:
    answered = []

    def big(connection: Connection) -> bool:
        connection.outbox.sendall(bytes(8 << 20))
        answered.append(connection)
        return False

    with serving(big) as at:
        socks = [connected(at, GET) for _ in range(20)]
        deadline = time.monotonic() + 4
        while len(answered) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(answered) == 20, "by four threads"
        assert len(read_all(socks[-1])) == 8 << 20
        for sock in socks:
            sock.close()


def test_clients_that_are_too_slow_are_let_go() -> None:
    patience = TimeLimits(head_s=0.1, body_step_s=0.1, send_step_s=0.1)
    with serving(limits=ServingLimits(patience)) as at:
        for start, said in ((b"", b""), (b"GET /", b"408"), (post(b"x" * 100)[:-1], b"408")):
            with connected(at, start) as sock:
                assert said in read_all(sock)


def test_what_is_no_request_is_refused_in_words() -> None:
    for start, status in (
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"x" * 40000, b"431"),
        (post(b"x" * 2000), b"413"),
    ):
        with serving(limits=ServingLimits(memory=Memory(body_bytes=1000))) as at, connected(at, start) as sock:
            assert read_all(sock).startswith(b"HTTP/1.1 " + status)


def test_a_newcomer_gets_the_place_of_a_connection_that_does_nothing() -> None:
    with serving(limits=ServingLimits(bounds=ConnectionBounds(8, 1, 6, 6, 1))) as at:
        idle = [connected(at) for _ in range(20)]
        with connected(at, post(b"END")) as sock:
            assert read_all(sock) == b"<3>END"
        for one in idle:
            one.close()


def test_one_machine_has_a_few_large_bodies_read_at_once_and_the_next_one_waits() -> None:
    memory = Memory(small_bytes=10, large_bodies=2, of_address=1)
    with serving(limits=ServingLimits(memory=memory)) as at, connected(at, post(b"x" * 100)[:-1]) as first:
        for _ in range(2):  # rounds of the loop, after which it has read of the first
            with connected(at, post(b"END")) as sock:
                assert read_all(sock) == b"<3>END"
        second, small = connected(at, post(b"y" * 97 + b"END")), connected(at, post(b"END"))
        with second, small:
            assert read_all(small) == b"<3>END"
            second.settimeout(0.2)
            try:
                assert not second.recv(10), "there was no place for it"
            except TimeoutError:
                pass
            second.settimeout(5)
            first.sendall(b"x")
            assert read_all(second).endswith(b"END")


def test_a_bug_in_an_answer_ends_its_connection_alone() -> None:
    def fails(connection: Connection) -> bool:
        raise RuntimeError("on purpose")

    with serving(fails) as at:
        for _ in range(8):
            with connected(at, GET) as sock:
                assert read_all(sock) == b""


ALIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def test_whether_it_lives_is_said_however_many_requests_wait_for_their_turn() -> None:
    entered, go_on = threading.Semaphore(0), threading.Event()

    def busy(connection: Connection) -> bool:
        entered.release()
        assert go_on.wait(10)
        return echo(connection)

    with serving(busy) as at, ExitStack() as until:
        asking = [until.enter_context(connected(at, post(b"END"))) for _ in range(40)]
        assert entered.acquire(timeout=5)
        with connected(at, ALIVE) as sock:
            assert read_all(sock).startswith(b"HTTP/1.1 204 ")
        go_on.set()
        assert [read_all(sock) for sock in asking] == [b"<3>END"] * 40


def test_a_server_that_answers_nothing_any_more_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def stuck(connection: Connection) -> bool:
        entered.set()
        assert go_on.wait(10)
        return echo(connection)

    with serving(stuck) as at, connected(at, post(b"END")) as asking:
        assert entered.wait(5)
        monkeypatch.setattr(desk, "STUCK_S", 0.0)
        with connected(at, ALIVE) as sock:
            assert read_all(sock).startswith(b"HTTP/1.1 503 ")
        go_on.set()
        assert read_all(asking) == b"<3>END"
        with connected(at, ALIVE) as sock:
            assert read_all(sock).startswith(b"HTTP/1.1 204 "), "one that has nothing to do gets on"


def test_a_stranger_is_told_by_the_application_alone() -> None:
    with serving(ways=Ways(guest=lambda _: OUTSIDE)) as at, connected(at, ALIVE + post(b"END")) as sock:
        assert read_all(sock) == b"<0><3>END"
