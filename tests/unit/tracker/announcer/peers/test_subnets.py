"""On a site of several subnets, the peers of one's own come first."""

from __future__ import annotations

import pytest

from tests.unit.tracker.announcer.world import World

SITE = "10.1.0.0/16, 10.2.0.0/16, 10.2.9.0/24, fd00:1::/32"


@pytest.fixture
def world() -> World:
    world = World(subnets=SITE)
    for number in range(1, 41):
        for network in ("10.1.0", "10.2.0", "10.2.9", "10.3.0"):
            world.announce(f"{network}.{number}", left=number % 2)
    return world


@pytest.mark.parametrize(
    ("asker", "near"), [("10.1.7.7", "10.1.0."), ("10.2.7.7", "10.2.0."), ("10.2.9.200", "10.2.9."), ("10.3.7.7", "10.")]
)
def test_a_leecher_is_told_of_seeders_of_its_own_subnet_first(world: World, asker: str, near: str) -> None:
    told = world.told(asker, numwant=10)
    assert len(told) == 10
    assert all(one.startswith(near) and int(one.split(":")[0].split(".")[3]) % 2 == 0 for one in told)
    assert all((address or "").startswith(near) for address, _ in world.peers(asker, limit=10))


def test_of_ones_own_subnet_it_is_not_always_the_same_peers(world: World) -> None:
    assert len(set().union(*(world.told("10.1.7.7", numwant=3) for _ in range(50)))) > 10


def test_one_who_is_alone_in_its_subnet_gets_those_who_have_something_all_the_same(world: World) -> None:
    assert len(world.told("fd00:1::9", numwant=10)) == 10
    told = world.told("10.1.7.7", numwant=50)
    assert len(told) == 50
    assert sum(one.startswith("10.1.0.") for one in told) == 20
    assert all(int(one.split(":")[0].split(".")[3]) % 2 == 0 for one in told), "seeders, also of other subnets, before leechers"


def test_a_seeder_is_told_of_leechers_alone_those_of_its_own_subnet_first(world: World) -> None:
    told = world.told("10.2.7.7", left=0, numwant=30)
    assert sum(one.startswith("10.2.0.") for one in told) == 20
    assert all(int(one.split(":")[0].split(".")[3]) % 2 for one in told)
