"""Which connection goes when there are too many."""

from __future__ import annotations

import ipaddress
import time

import pytest

from llmpt.core.networks import AddressGroups
from llmpt.host.visitors import VisitorLimits, Visitors, in_turn

LIMITS = VisitorLimits(per_address=3, per_neighbourhood=5, total=10, reserved=2)


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def room() -> Visitors[int]:
    return Visitors(LIMITS)


def test_an_address_at_its_limit_loses_what_has_not_got_on_for_longest() -> None:
    visitors = room()
    assert [visitors.enter(number, packed("10.0.0.1")) for number in range(3)] == [[], [], []]
    visitors.got_on(0)
    assert visitors.enter(3, packed("10.0.0.1")) == [1]
    assert visitors.enter(4, packed("10.0.0.2")) == []
    assert len(visitors) == 4


def test_all_addresses_of_a_prefix_have_one_limit() -> None:
    visitors = room()
    gone = [visitors.enter(number, packed(f"fd00::{number}")) for number in range(7)]
    assert gone == [[], [], [], [], [], [0], [1]]
    assert visitors.enter(9, packed("fd00:1::1")) == []


def test_the_appliances_own_have_places_that_nobody_else_takes() -> None:
    visitors = room()
    for number in range(20):
        visitors.enter(number, packed(f"10.0.1.{number}"))
    assert len(visitors) == LIMITS.total - LIMITS.reserved
    for number in range(20, 22):
        assert visitors.enter(number, packed(f"10.0.2.{number}"), is_own=True) == []
    assert visitors.enter(22, packed("10.0.2.22"), is_own=True) == [12]
    assert len(visitors) == LIMITS.total


def test_machines_that_cannot_be_told_apart_share_only_the_limit_of_all() -> None:
    visitors = room()
    for number in range(8):
        assert visitors.enter(number, packed("172.18.0.1"), is_many=True) == []
    assert visitors.enter(8, packed("172.18.0.1"), is_many=True) == [0]


def test_who_has_left_is_forgotten() -> None:
    visitors = room()
    visitors.enter(0, packed("fd00::1"))
    visitors.leave(0)
    visitors.leave(0)
    visitors.got_on(0)
    assert len(visitors) == 0


@pytest.mark.parametrize(("descriptors", "total", "reserved"), [(1 << 20, 10, 1), (8, 7, 0), (1, 2, 0)])
def test_the_limits_leave_room_in_the_descriptors(descriptors: int, total: int, reserved: int) -> None:
    limits = LIMITS.within(descriptors)
    assert (limits.total, limits.reserved) == (total, reserved)


def test_the_time_that_the_order_takes_is_none_of_those_who_wait() -> None:
    def slow(name: str) -> AddressGroups:
        time.sleep(0.001)  # as with thousands
        return AddressGroups.named(name)

    found = list(in_turn([f"machine {number}" for number in range(100)], slow, for_s=0.09))
    assert len(found) > 1, "or they wait for a round each"
