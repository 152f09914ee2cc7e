"""Who is looked at first, where many come at once, over real sockets."""

from __future__ import annotations

import socket

from llmpt.core.networks import AddressGroups
from llmpt.host.anteroom import Anteroom, accepted


def origin(name: str) -> AddressGroups:
    """Return the machine `ma` of `ma100`, its neighbourhood and site `m`; of `s.ma100` the site is `s`."""
    site, _, rest = name.rpartition(".")
    return AddressGroups(name[:-3], f"{site}.{rest[:1]}", site or rest[:1])


def test_a_machine_that_opens_one_connection_is_looked_at_before_one_that_opens_many() -> None:
    room = Anteroom(origin)
    for number in range(100, 300):
        assert room.add(f"ma{number}")
    assert room.add("vb100")
    order: list[str] = []
    room.let_in(order.append, for_s=60)
    assert order[0] == "vb100"
    assert len(order) == 201
    assert len(room) == 0


def test_a_machine_with_many_addresses_comes_after_one_with_a_single_one() -> None:
    room = Anteroom(origin)
    for number in range(200):
        assert room.add(f"m{number:03}100")
    assert room.add("v000100")
    order: list[str] = []
    room.let_in(order.append, for_s=60)
    assert order[0] == "v000100"


def test_a_machine_with_many_prefixes_comes_after_one_with_a_single_one() -> None:
    room = Anteroom(origin, of_each=(3, 5))
    taken = [room.add(f"s.{letter}a100") for letter in "abcdefg"]
    assert taken == [True] * 5 + [False] * 2
    assert room.add("t.va100")
    order: list[str] = []
    room.let_in(order.append, for_s=60)
    assert order[0] == "t.va100"


def test_only_a_moment_is_spent_and_the_rest_is_looked_at_the_next_time_in_front_of_nobody() -> None:
    room = Anteroom(origin)
    for number in range(100, 110):
        room.add(f"ma{number}")
    order: list[str] = []
    room.let_in(order.append, for_s=0)
    assert len(order) == 1, "one gets on, however little time there is"
    assert len(room) == 9
    room.add("vb100")
    room.let_in(order.append, for_s=0)
    assert order[-1] == "vb100"


def test_of_one_machine_so_many_wait_and_no_more_unless_it_is_many() -> None:
    room = Anteroom(origin, of_each=(3, 3))
    assert [room.add(f"ma{number}") for number in range(100, 105)] == [True, True, True, False, False]
    assert room.add("ma105", is_many=True)
    assert room.add("vb100")
    room.let_in(lambda _one: None, for_s=60)
    assert room.add("ma106"), "those that were looked at count no longer"
    assert room.clear() == ["ma106"]
    assert room.add("ma107")


def test_one_that_cannot_be_looked_at_keeps_no_other_one_waiting() -> None:
    room = Anteroom(origin)
    for name in ("ma100", "vb100", "wc100"):
        room.add(name)
    seen: list[str] = []

    def begin(name: str) -> None:
        seen.append(name)
        if len(seen) == 1:
            raise OSError("no more descriptors")

    for _ in range(3):
        try:
            room.let_in(begin, for_s=0)
        except OSError:
            assert len(room) == 2
    assert sorted(seen) == ["ma100", "vb100", "wc100"]


def test_all_that_have_come_are_taken_at_one_go() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        listening.setblocking(False)
        clients = [socket.create_connection(listening.getsockname()) for _ in range(50)]
        taken = [sock for sock, _ in accepted(listening, for_s=60)]
        assert len(taken) == 50
        assert not list(accepted(listening, for_s=60)), "and no longer than there are some"
        for sock in (*clients, *taken):
            sock.close()
