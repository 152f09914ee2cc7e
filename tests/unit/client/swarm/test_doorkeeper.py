"""Which addresses are shut out, and for how long."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from llmpt.swarm.doorkeeper import Doorkeeper, DoorLimits

LIMITS = DoorLimits(waiting=3, peers=5, failed=7, times=2, max_shut=2)


class Door:
    def __init__(self, *exempt: str) -> None:
        self.now = 0.0
        self.shut: list[str] = []
        self.keeper = Doorkeeper(self.note, LIMITS, exempt=frozenset(map(ip_address, exempt)), clock=lambda: self.now)

    def note(self, shut: object) -> None:
        assert isinstance(shut, tuple)
        self.shut = [str(one) for one in shut]

    def come(self, address: str, count: int, *, greets: bool = False, goes: bool = False) -> list[str]:
        for port in range(count):
            self.keeper.came((address, port))
            if greets:
                self.keeper.greeted((address, port))
            if goes:
                self.keeper.went((address, port))
        self.keeper.judge()
        return self.shut


@pytest.mark.parametrize(("count", "greets", "goes"), [(3, False, False), (5, True, False), (7, False, True), (99, True, True)])
def test_a_machine_may_have_what_it_needs(count: int, greets: bool, goes: bool) -> None:
    assert Door().come("10.0.0.1", count, greets=greets, goes=goes) == []


@pytest.mark.parametrize(("count", "greets", "goes"), [(4, False, False), (6, True, False), (8, False, True)])
def test_one_more_shuts_it_out_for_a_while(count: int, greets: bool, goes: bool) -> None:
    door = Door()
    assert door.come("10.0.0.1", count, greets=greets, goes=goes) == ["10.0.0.1/32"]
    for port in range(count):
        door.keeper.went(("10.0.0.1", port))
    door.now = 50
    door.keeper.judge()
    door.now = 100
    door.keeper.judge()
    assert door.shut == []


def test_all_addresses_of_a_prefix_are_shut_out_together() -> None:
    door = Door()
    for number in range(7):
        door.come(f"fd00::{number}", 1)
    assert door.shut == ["fd00::/64"]
    assert ip_address("fd00::99") in ip_network(door.shut[0])


def test_a_gateway_is_never_shut_out_and_there_is_an_end_to_what_is_kept() -> None:
    door = Door("172.18.0.1")
    assert door.come("172.18.0.1", 99) == []
    for last in range(1, 5):
        door.come(f"10.0.0.{last}", 9)
    door.keeper.judge()
    assert len(door.shut) <= LIMITS.max_shut
