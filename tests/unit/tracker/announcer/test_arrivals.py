"""A peer's word that it has it all counts, once a day for its machine, within bounds."""

from __future__ import annotations

import ipaddress

from llmpt_tracker.announcer.arrivals import ONCE_PER_S, Arrivals
from llmpt_tracker.announcer.peers import swarms
from llmpt_tracker.announcer.peers.wire import Event
from tests.unit.tracker.announcer.world import HASH, World

OTHER = b"o" * 20


def at(address: str, port: int = 6881) -> bytes:
    return ipaddress.ip_address(address).packed + port.to_bytes(2, "big")


def test_a_machine_counts_once_a_day_for_a_torrent_whatever_it_says() -> None:
    arrivals = Arrivals()
    for port in range(7000, 7010):
        arrivals.note(HASH, at("10.0.0.1", port), 0)
    arrivals.note(HASH, at("10.0.0.2"), 1)
    arrivals.note(OTHER, at("10.0.0.1"), 1)
    assert arrivals.take() == {HASH: 2, OTHER: 1}
    arrivals.note(HASH, at("10.0.0.1"), ONCE_PER_S - 1)
    assert arrivals.take() == {}
    arrivals.note(HASH, at("10.0.0.1"), ONCE_PER_S)
    assert arrivals.take() == {HASH: 1}


def test_all_addresses_of_an_ipv6_network_are_one_machine() -> None:
    arrivals = Arrivals()
    for address in ("fd00::1", "fd00::2", "fd00:0:0:1::1"):
        arrivals.note(HASH, at(address), 0)
    assert arrivals.take() == {HASH: 2}


def test_what_is_remembered_is_bounded() -> None:
    arrivals = Arrivals(per_machine=2, total=3)
    for number in range(9):
        arrivals.note(b"%020d" % number, at("10.0.0.1"), 0)
    assert len(arrivals.take()) == 2
    for number in range(9):
        arrivals.note(HASH, at(f"10.0.1.{number}"), 0)
    assert arrivals.take() == {HASH: 1}


def test_only_a_leecher_that_becomes_a_seeder_has_arrived() -> None:
    world, arrivals = World(), Arrivals()
    world.probes = swarms.Probes(arrived=lambda info_hash, endpoint: arrivals.note(info_hash, endpoint, world.now))
    world.announce("10.0.0.1", left=0, event=Event.COMPLETED)
    world.announce("10.0.0.2", left=0)
    assert arrivals.take() == {}
    world.announce("10.0.0.3", left=5, event=Event.STARTED)
    world.announce("10.0.0.3", left=0, event=Event.COMPLETED)
    assert arrivals.take() == {HASH: 1}
