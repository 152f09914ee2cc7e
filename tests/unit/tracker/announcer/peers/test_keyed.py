"""The keyed seeder keeps its place in its swarm, whatever is announced from its own host, or at its own port."""

from __future__ import annotations

import pytest

from llmpt_tracker.announcer.peers.wire import Event
from tests.unit.tracker.announcer.world import KEY, World


@pytest.fixture
def world() -> World:
    world = World()
    world.heartbeat()
    world.announce("192.168.1.2", port=6881, left=0, key=KEY)
    return world


def test_announces_from_the_seeders_own_host_do_not_push_it_out(world: World) -> None:
    for port in range(7000, 7100):
        world.announce("192.168.1.2", port=port)
    assert "192.168.1.2:6881" in world.told("10.0.0.9")


@pytest.mark.parametrize("event", [Event.NONE, Event.STARTED, Event.STOPPED, Event.COMPLETED])
def test_its_port_is_its_own_while_it_is_alive(world: World, event: Event) -> None:
    assert "seeders" in world.announce("192.168.1.2", port=6881, left=5, event=event).warning
    assert world.announce("10.0.0.9").complete == 1
    assert "192.168.1.2:6881" in world.told("10.0.0.9")


def test_a_machine_takes_the_port_of_a_seeder_that_has_gone_silent(world: World) -> None:
    world.now += 60
    world.announce("192.168.1.2", port=6881, left=0)
    assert "192.168.1.2:6881" in world.told("10.0.0.9")


def test_the_seeder_itself_leaves_when_it_says_so(world: World) -> None:
    world.announce("192.168.1.2", port=6881, left=0, key=KEY, event=Event.STOPPED)
    assert world.told("10.0.0.9") == set()
