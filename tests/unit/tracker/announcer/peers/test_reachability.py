"""Who cannot be reached is told so, and told of last; each endpoint is tried once."""

from __future__ import annotations

import pytest

from llmpt_tracker.announcer.peers.swarms import TRIED_AGAIN_S
from llmpt_tracker.announcer.peers.wire import Event
from tests.unit.tracker.announcer.world import CONTAINER, GATEWAY, HASH, KEY, World, texts

ENDPOINT = bytes((10, 0, 0, 1)) + (6881).to_bytes(2, "big")


def test_a_new_endpoint_is_tried_and_its_peer_learns_the_outcome_at_its_next_announce() -> None:
    world = World()
    assert world.announce("10.0.0.1").reachable is None
    assert world.probed == [ENDPOINT]
    world.mark("10.0.0.1", is_reachable=True)
    reply = world.announce("10.0.0.1")
    assert (reply.reachable, reply.warning) == (True, "")
    assert world.probed == [ENDPOINT]


def test_who_cannot_be_reached_is_warned_with_address_and_port() -> None:
    world = World()
    world.announce("10.0.0.1")
    world.mark("10.0.0.1", is_reachable=False)
    reply = world.announce("10.0.0.1")
    assert reply.reachable is False
    assert "10.0.0.1 port 6881" in reply.warning


def test_an_unreachable_endpoint_is_tried_again_when_it_is_new_to_a_swarm_and_not_more_than_once_a_minute() -> None:
    world = World()
    world.store.register([b"o" * 20])
    world.announce("10.0.0.1")
    world.mark("10.0.0.1", is_reachable=False)
    world.announce("10.0.0.1", info_hash=b"o" * 20)
    world.now += TRIED_AGAIN_S
    world.announce("10.0.0.1")
    assert len(world.probed) == 1
    world.announce("10.0.0.1", event=Event.STOPPED)
    world.announce("10.0.0.1", event=Event.STARTED)
    assert len(world.probed) == 2


def test_a_reachable_endpoint_is_never_tried_again() -> None:
    world = World()
    world.store.register([b"o" * 20])
    world.announce("10.0.0.1")
    world.mark("10.0.0.1", is_reachable=True)
    world.now += 10 * TRIED_AGAIN_S
    world.announce("10.0.0.1", info_hash=b"o" * 20)
    assert len(world.probed) == 1


@pytest.mark.parametrize("ip", ["", "192.168.1.5"])
def test_nobody_is_tried_who_comes_through_a_gateway(ip: str) -> None:
    world = World(host=CONTAINER)
    assert world.announce(GATEWAY, ip=ip).reachable is None
    assert world.probed == []


def test_who_only_says_goodbye_is_not_tried() -> None:
    world = World()
    world.announce("10.0.0.1", event=Event.STOPPED)
    assert world.probed == []


def test_unreachable_peers_are_told_of_last_whatever_they_have() -> None:
    world = World()
    world.announce("10.0.0.1", left=0)
    world.announce("10.0.0.2")
    world.mark("10.0.0.1", is_reachable=False)
    assert world.told("10.0.0.9", numwant=1) == {"10.0.0.2:6881"}
    assert texts(world.announce("10.0.0.9")) == ["10.0.0.2:6881", "10.0.0.1:6881"]
    assert world.addresses("10.0.0.8") == ["10.0.0.2", "10.0.0.9", "10.0.0.1"]
    assert world.scrape().complete == 1


def test_an_unreachable_seeder_of_ours_is_told_of_last_too() -> None:
    world = World()
    world.heartbeat()
    world.announce("10.0.0.1", left=0, key=KEY)
    world.announce("10.0.0.2")
    world.mark("10.0.0.1", is_reachable=False)
    assert texts(world.announce("10.0.0.9")) == ["10.0.0.2:6881", "10.0.0.1:6881"]
    assert world.addresses("10.0.0.8") == ["10.0.0.2", "10.0.0.9", "10.0.0.1"]
    assert world.moment().counts(HASH).unreachable == 1
