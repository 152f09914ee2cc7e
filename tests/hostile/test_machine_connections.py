"""A machine without a token that opens connections faster than they can be looked at."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from llmpt.core.networks import parse_address
from llmpt_tracker.serve.http.bounds import ConnectionBounds, Memory, ServingLimits, TimeLimits
from llmpt_tracker.serve.http.connection import Connection
from llmpt_tracker.serve.http.framing import Frame
from llmpt_tracker.serve.http.loop import EventLoop
from llmpt_tracker.serve.http.places import SITE, Guest, Places
from llmpt_tracker.serve.http.reading import Reading
from llmpt_tracker.serve.http.turns import Turns
from llmpt_tracker.serve.http.ways import Ways

ATTACKER, ANOTHER = "127.0.0.66", "127.0.0.3"


def test_a_machine_that_comes_once_is_answered_before_one_that_came_three_hundred_times_before_it() -> None:
    answered: list[str] = []

    def note(connection: Connection) -> bool:
        answered.append(connection.guest.address)
        return False

    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening, ThreadPoolExecutor(4) as pool:
        at = listening.getsockname()
        origins = [ATTACKER] * 300 + [ANOTHER]
        socks = [socket.create_connection(at, timeout=5, source_address=(origin, 0)) for origin in origins]
        for sock in socks:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        loop = EventLoop([listening], note, pool, ways=Ways(guest=lambda text: Guest.of(parse_address(text))))
        deadline = time.monotonic() + 20
        while (len(answered) < len(origins) or loop.is_busy) and time.monotonic() < deadline:
            loop.run_once(0.05)
        loop.close()
        for sock in socks:
            sock.close()
    assert len(answered) == len(origins)
    assert answered.index(ANOTHER) < 150, "it came last"


@contextmanager
def slow_server(limits: ServingLimits = ServingLimits()) -> Iterator[tuple[EventLoop, list[str], tuple[str, int]]]:
    """Yield a loop that takes 0.3 s for each answer, from which addresses it has answered, and where it listens."""
    answered: list[str] = []

    def slowly(connection: Connection) -> bool:
        answered.append(connection.guest.address)
        time.sleep(0.3)
        return False

    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening, ThreadPoolExecutor(4) as pool:
        ways = Ways(guest=lambda text: Guest.of(parse_address(text)))
        yield EventLoop([listening], slowly, pool, ways=ways, limits=limits), answered, listening.getsockname()


def a_hundred_ask(at: tuple[str, int], said: bytes) -> list[socket.socket]:
    socks = [socket.create_connection(at, timeout=5, source_address=(ATTACKER, 0)) for _ in range(100)]
    for sock in socks:
        sock.sendall(said)
    return socks


def test_requests_of_a_machine_that_has_gone_are_not_answered() -> None:
    with slow_server() as (loop, answered, at):
        socks = a_hundred_ask(at, b"GET / HTTP/1.1\r\n\r\nGET /the-next HTTP/1.1\r\n")
        deadline = time.monotonic() + 20
        while len(answered) < 2:
            loop.run_once(0.05)
        for sock in socks:
            sock.close()
        while loop.is_busy and time.monotonic() < deadline:
            loop.run_once(0.05)
        loop.close()
    assert len(answered) < 10, "it asked a hundred times"


def test_a_machine_with_many_addresses_delays_its_own_neighbourhood() -> None:
    turns: Turns[str] = Turns(at_once=10)
    for number in range(100):
        turns.add(f"fd00::{number:x}", f"loud {number}")
    turns.add("10.0.0.2", "quiet")
    turns.add("fd00:0:0:1::1", "elsewhere")
    assert [turns.take() for _ in range(5)] == ["loud 0", "quiet", "elsewhere", "loud 1", None]
    turns.end("fd00::0")
    assert turns.take() == "loud 2"


def test_a_machine_with_many_prefixes_delays_its_own_site() -> None:
    turns: Turns[str] = Turns(at_once=10)
    for number in range(100):
        turns.add(f"fd00:0:0:{number:x}::1", f"loud {number}")
    turns.add("10.0.0.2", "quiet")
    turns.add("fd00:0:1::1", "elsewhere")
    found = [turns.take() for _ in range(6)]
    assert found == ["loud 0", "quiet", "elsewhere", "loud 1", "loud 2", None]


def test_a_machine_with_many_prefixes_gives_its_places_to_others() -> None:
    places = Places(ConnectionBounds(in_all=100, own=0))
    for number in range(100):
        places.enter(Guest.of(parse_address(f"fd00:0:0:{number:x}::1")))
    another, own = Guest.of(parse_address("10.0.0.2")), Guest.of(parse_address("fd00:0:0:ffff::1"))
    assert places.is_full(another)
    assert places.largest(another) == (SITE, another_site := own.origin.site)
    assert another_site not in another.origin
    large = Reading(TimeLimits(), Memory(large_bodies=12, of_address=4, of_site=8))
    taken = [large._take_place(_with_a_large_body(f"fd00:0:0:{number // 6:x}::{number:x}")) for number in range(18)]
    assert taken.count(True) == 8
    assert large._take_place(_with_a_large_body("10.0.0.2"))


def _with_a_large_body(address: str) -> Connection:
    connection = Connection(socket.socket(), None, None, Guest.of(parse_address(address)))
    connection.frame = Frame(1 << 20, expects=False)
    connection.sock.close()
    return connection


def test_requests_that_have_waited_in_vain_are_told_so_though_their_client_does_not_show_that_it_has_gone() -> None:
    with slow_server(ServingLimits(patience=TimeLimits(turn_s=0.5))) as (loop, answered, at):
        socks = a_hundred_ask(at, b"GET / HTTP/1.1\r\n\r\n")  # more than the kernel takes would hide that a client hangs up
        deadline = time.monotonic() + 20
        while (len(loop.crowd) < 100 or loop.is_busy) and time.monotonic() < deadline:
            loop.run_once(0.05)
        said = [sock.recv(4096)[:12] for sock in socks]
        loop.close()
        for sock in socks:
            sock.close()
    assert said.count(b"HTTP/1.1 503") > 90
    assert len(answered) < 10, "it asked a hundred times"
