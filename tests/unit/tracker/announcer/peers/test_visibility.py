"""Under which address a peer is handed out, and to whom."""

from __future__ import annotations

import ipaddress

import pytest

from llmpt.core.networks import CidrSet
from llmpt.host.routes import HostNetwork
from llmpt_tracker.announcer.peers.visibility import is_own_address
from llmpt_tracker.announcer.peers.wire import Event
from tests.unit.tracker.announcer.world import CONTAINER, GATEWAY, KEY, World


def seeded(source: str, **arguments: object) -> World:
    """Return a world with one live seeder of ours that announced from `source`."""
    world = World(**arguments)  # type: ignore[arg-type]
    world.heartbeat()
    world.announce(source, left=0, key=KEY)
    return world


# Peers on loopback


def test_a_peer_on_loopback_is_told_to_loopback_only() -> None:
    world = World()
    world.announce("127.0.0.1", left=0)
    assert world.told("127.0.0.1", port=7000) == {"127.0.0.1:6881"}
    assert world.told("10.0.0.1", at="10.0.0.5") == set()
    assert world.addresses("127.0.0.1") == ["127.0.0.1", "127.0.0.1", "10.0.0.1"]
    assert world.addresses("10.0.0.2") == ["10.0.0.1"]


# Our seeder on the server itself, without containers


def test_our_seeder_on_loopback_is_where_the_asker_reached_us() -> None:
    world = seeded("127.0.0.1")
    assert world.told("10.0.0.9", at="10.0.0.5") == {"10.0.0.5:6881"}
    assert world.told("fd00::9", at="fd00::5") == {"fd00::5:6881", "10.0.0.9:6881"}
    assert world.addresses("10.0.0.8") == [None, "10.0.0.9", "fd00::9"]


def test_our_seeder_on_this_hosts_own_address_is_where_the_asker_reached_us() -> None:
    world = seeded("192.168.1.5", own=("192.168.1.5",))
    assert world.told("10.0.0.9", at="10.0.0.5") == {"10.0.0.5:6881"}


def test_our_seeder_is_left_out_of_the_announce_when_the_asker_used_a_name() -> None:
    world = seeded("127.0.0.1")
    assert world.told("10.0.0.9") == set()
    assert world.announce("10.0.0.9").complete == 1


def test_our_seeder_is_not_told_at_an_address_that_is_none_of_the_lan() -> None:
    world = seeded("127.0.0.1")
    assert world.told("10.0.0.9", at="8.8.8.8") == set()
    assert world.told("10.0.0.9", at="0.0.0.0") == set()


def test_the_advertised_address_wins_over_the_one_that_was_asked() -> None:
    world = seeded("127.0.0.1", advertise="192.168.7.7")
    assert world.told("10.0.0.9", at="10.0.0.5") == {"192.168.7.7:6881"}
    assert world.addresses("10.0.0.8") == ["192.168.7.7", "10.0.0.9"]


def test_on_one_host_our_seeder_is_on_loopback_whatever_name_was_asked() -> None:
    assert seeded("127.0.0.1", advertise="192.168.7.7").told("127.0.0.1", port=7000) == {"127.0.0.1:6881"}
    assert seeded("127.0.0.1").addresses("127.0.0.1") == ["127.0.0.1"]


def test_our_seeder_on_another_machine_has_its_own_address() -> None:
    world = seeded("192.168.1.77", advertise="192.168.7.7")
    assert world.told("10.0.0.9", at="10.0.0.5") == {"192.168.1.77:6881"}


def test_a_peer_without_a_key_has_its_own_address_on_our_network_too() -> None:
    world = World(host=CONTAINER, advertise="192.168.7.7")
    world.announce("172.18.0.7", left=0)
    assert world.told("10.0.0.9", at="10.0.0.5") == {"172.18.0.7:6881"}


# Our seeder in a container


def test_a_containers_neighbour_is_told_its_address() -> None:
    world = seeded("172.18.0.3", host=CONTAINER, advertise="192.168.7.7")
    assert world.told("172.18.0.9", at="172.18.0.2") == {"172.18.0.3:6881"}
    assert world.addresses("172.18.0.8") == ["172.18.0.3", "172.18.0.9"]


def test_everybody_else_is_told_where_they_reached_us() -> None:
    world = seeded("172.18.0.3", host=CONTAINER)
    assert world.told("10.0.0.9", at="10.0.0.5") == {"10.0.0.5:6881"}


def test_the_gateway_is_no_neighbour() -> None:
    world = seeded("172.18.0.3", host=CONTAINER)
    assert world.told(GATEWAY, at="10.0.0.5") == {"10.0.0.5:6881"}
    assert world.told(GATEWAY, at="127.0.0.1") == {"127.0.0.1:6881"}
    assert world.addresses(GATEWAY) == [None]


def test_outside_containers_a_network_is_only_a_network() -> None:
    host = HostNetwork(CONTAINER.gateways, CidrSet.parse("192.168.1.0/24"), in_container=False)
    world = seeded("192.168.1.77", host=host)
    assert world.told("10.0.0.9", at="10.0.0.5") == {"192.168.1.77:6881"}


# What listens beside our seeder


@pytest.mark.parametrize(
    ("source", "asker", "shown"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),  # all on one host
        ("127.0.0.1", "10.0.0.9", "here"),
        ("::1", "fd00::9", "here"),
        ("192.168.1.77", "10.0.0.9", "192.168.1.77"),  # a machine of its own
        ("192.168.1.77", "127.0.0.1", "192.168.1.77"),
        ("172.18.0.3", "172.18.0.9", "172.18.0.3"),  # containers of one network
        ("172.18.0.3", "10.0.0.9", "here"),
        ("172.18.0.3", GATEWAY, "here"),
        (GATEWAY, "10.0.0.9", "here"),  # this very host, around our container
    ],
)
def test_a_server_of_ours_is_where_the_asker_reaches_it(source: str, asker: str, shown: str) -> None:
    assert World(host=CONTAINER).server(source, asker) == shown
    advertised = World(host=CONTAINER, advertise="192.168.7.7").server(source, asker)
    assert advertised == ("192.168.7.7" if shown == "here" else shown)


def test_a_server_on_this_hosts_own_address_is_where_the_asker_reached_us() -> None:
    assert World(own=("192.168.1.5",)).server("192.168.1.5", "10.0.0.9") == "here"


# Announces through a gateway


def test_behind_the_gateway_the_claimed_address_counts_and_the_answer_warns() -> None:
    world = World(host=CONTAINER)
    reply = world.announce(GATEWAY, left=0, ip="192.168.1.50")
    assert reply.warning.startswith(f"your announces come through the gateway {GATEWAY}: others are told of you as 192.168.1.50")
    assert world.told("10.0.0.9") == {"192.168.1.50:6881"}


@pytest.mark.parametrize("claimed", ["", "8.8.8.8", "0.0.0.0", "224.0.0.1", "127.0.0.1", "server", "255.255.255.255"])
def test_behind_the_gateway_an_announce_without_a_usable_address_is_answered_but_not_recorded(claimed: str) -> None:
    world = World(host=CONTAINER)
    world.announce("10.0.0.1", left=0)
    reply = world.announce(GATEWAY, ip=claimed)
    assert "LLMPT_PEER_CIDRS" in reply.warning
    assert reply.peers4 == bytes((10, 0, 0, 1)) + (6881).to_bytes(2, "big")
    assert reply.incomplete == 0
    assert world.store.peer_count == 1


def test_behind_the_gateway_a_peer_stops_under_its_claimed_address() -> None:
    world = World(host=CONTAINER)
    world.announce(GATEWAY, ip="192.168.1.50")
    world.announce(GATEWAY, ip="192.168.1.50", event=Event.STOPPED)
    assert world.store.peer_count == 0


def test_outside_containers_a_gateway_is_a_machine() -> None:
    world = World(host=HostNetwork(CONTAINER.gateways, CONTAINER.on_link, in_container=False))
    assert world.announce(GATEWAY, left=0, ip="192.168.1.50").warning == ""
    assert world.told("10.0.0.9") == {f"{GATEWAY}:6881"}


# Silent seeders


@pytest.mark.parametrize("source", ["127.0.0.1", "192.168.1.77"])
def test_a_seeder_of_ours_that_has_been_silent_for_30_s_is_not_handed_out_and_not_counted(source: str) -> None:
    world = seeded(source)
    world.now += 29.9
    assert len(world.told("10.0.0.9", at="10.0.0.5")) == 1
    world.now += 0.1
    assert world.told("10.0.0.9", at="10.0.0.5") == set()
    assert world.scrape().complete == 0
    assert world.addresses("10.0.0.8") == ["10.0.0.9"]


def test_a_heartbeat_brings_a_silent_seeder_back() -> None:
    world = seeded("127.0.0.1")
    world.now += 300
    world.heartbeat()
    assert world.told("10.0.0.9", at="10.0.0.5") == {"10.0.0.5:6881"}


def test_a_seeder_with_another_key_leaves_the_old_one_behind() -> None:
    world = seeded("127.0.0.1")
    world.seeders.beat("seeder", key="another", report={}, now=world.now)
    assert not world.seeders.knows(KEY)
    assert [beat.key for beat in world.seeders.all()] == ["another"]


def test_a_seeder_that_is_silent_for_a_day_is_forgotten() -> None:
    world = seeded("127.0.0.1")
    world.now += 24 * 3600
    world.seeders.beat("other", key="another", report={}, now=world.now)
    assert not world.seeders.knows(KEY)


def test_loopback_is_this_hosts_own_and_a_documentation_address_is_not() -> None:
    assert is_own_address(ipaddress.ip_address("127.0.0.1"))
    assert not is_own_address(ipaddress.ip_address("203.0.113.77"))
    assert not is_own_address(ipaddress.ip_address("2001:db8::77"))
