"""An endpoint belongs to who has entered it; what another one says of it is a claim."""

from __future__ import annotations

import asyncio

import pytest

from llmpt.host.loops import Health
from llmpt_tracker.announcer.peers import swarms
from llmpt_tracker.announcer.peers.owners import OWNED_S
from llmpt_tracker.announcer.peers.prober import Prober, ProbeTimings
from llmpt_tracker.announcer.peers.wire import INTERVAL_S, Event
from tests.unit.tracker.announcer.world import CONTAINER, GATEWAY, HASH, World

OLD, NEW = b"-LT2110-oldoldoldold", b"-LT2110-newnewnewnew"
ENDPOINT = bytes((10, 0, 0, 1)) + (6881).to_bytes(2, "big")


def started(left: int = 0) -> World:
    world = World()
    world.announce("10.0.0.1", left=left, peer_id=OLD, secret=b"1")
    return world


@pytest.mark.parametrize(("peer_id", "secret"), [(NEW, b"1"), (OLD, b"2"), (OLD, b"")])
def test_only_its_owner_takes_an_endpoint_away(peer_id: bytes, secret: bytes) -> None:
    world = started()
    world.announce("10.0.0.1", event=Event.STOPPED, peer_id=peer_id, secret=secret)
    assert "10.0.0.1:6881" in world.told("10.0.0.9")
    assert world.doubted == [ENDPOINT]
    world.announce("10.0.0.1", event=Event.STOPPED, peer_id=OLD, secret=b"1")
    assert world.told("10.0.0.9") == set()


def test_another_one_makes_no_leecher_of_a_seeder() -> None:
    world = started()
    world.announce("10.0.0.1", left=7, peer_id=NEW)
    assert world.scrape().complete == 1


def test_an_agent_that_was_killed_is_a_seeder_again_at_once() -> None:
    world = started(left=7)
    world.announce("10.0.0.1", left=0, peer_id=NEW)
    assert world.scrape().complete == 1


def test_an_endpoint_goes_over_to_who_claims_it_when_its_owner_leaves() -> None:
    world = started()
    world.announce("10.0.0.1", left=7, peer_id=NEW)
    world.announce("10.0.0.1", event=Event.STOPPED, peer_id=OLD, secret=b"1")
    assert (world.scrape().complete, world.scrape().incomplete) == (0, 1)
    world.announce("10.0.0.1", event=Event.STOPPED, peer_id=NEW)
    assert world.scrape().incomplete == 0


def test_a_claim_is_given_up_by_who_made_it() -> None:
    world = started()
    world.announce("10.0.0.1", left=7, peer_id=NEW)
    world.announce("10.0.0.1", event=Event.STOPPED, peer_id=NEW)
    world.announce("10.0.0.1", event=Event.STOPPED, peer_id=OLD, secret=b"1")
    assert world.scrape().incomplete == world.scrape().complete == 0


def test_who_announces_goes_on_when_the_owner_is_silent() -> None:
    world = started()
    world.announce("10.0.0.1", left=7, peer_id=NEW)
    world.now += INTERVAL_S
    world.announce("10.0.0.1", left=7, peer_id=NEW)
    assert world.scrape().complete == 1
    world.now += OWNED_S - INTERVAL_S
    world.announce("10.0.0.1", left=7, peer_id=NEW)
    assert (world.scrape().complete, world.scrape().incomplete) == (0, 1)
    world.announce("10.0.0.1", event=Event.STOPPED, peer_id=NEW)
    assert world.scrape().incomplete == 0


def test_who_comes_behind_a_gateway_is_told_of_when_it_was_found() -> None:
    world = World(host=CONTAINER)
    world.proves = False
    world.announce(GATEWAY, left=0, ip="192.168.1.50")
    assert world.store.counts(HASH).seeders == 0
    world.proves = True
    world.announce(GATEWAY, left=0, ip="192.168.1.50")
    assert world.told("192.168.1.9") == {"192.168.1.50:6881"}
    world.announce(GATEWAY, left=0, ip="192.168.1.50")
    assert len(world.proved) == 2


def test_who_stops_behind_a_gateway_before_it_was_found_is_not_told_of() -> None:
    async def found_after(*events: Event) -> set[str]:
        world, answers = World(host=CONTAINER), asyncio.Event()

        async def greet(*_question: object) -> bool | None:
            await answers.wait()
            return True

        prober = Prober(world.store, clock=lambda: world.now, greet=greet, timings=ProbeTimings(pace_s=0))
        world.probes = swarms.Probes(**{name: getattr(prober, name) for name in ("ask", "doubt", "prove", "forget")})
        running = asyncio.create_task(prober.run(Health()))
        for event in events:
            world.announce(GATEWAY, left=0, ip="192.168.1.50", event=event)
            await asyncio.sleep(0.01)  # it is being asked now
        answers.set()
        await asyncio.sleep(0.01)
        running.cancel()
        return world.told("192.168.1.9")

    assert asyncio.run(found_after(Event.STARTED)) == {"192.168.1.50:6881"}
    assert asyncio.run(found_after(Event.STARTED, Event.STOPPED)) == set()


def test_behind_a_gateway_nobody_touches_anothers_endpoint() -> None:
    world = World(host=CONTAINER)
    world.announce(GATEWAY, left=0, ip="192.168.1.50", peer_id=OLD, secret=b"1")
    world.announce(GATEWAY, left=7, ip="192.168.1.50", peer_id=NEW)
    reply = world.announce(GATEWAY, ip="192.168.1.50", peer_id=NEW, event=Event.STOPPED)
    assert "another peer" in reply.warning
    assert world.told("192.168.1.9") == {"192.168.1.50:6881"}
    assert world.doubted == []


@pytest.mark.parametrize("ip", ["127.0.0.1", "169.254.1.1", "fe80::1", "224.0.0.1", "0.0.0.0", "::", "8.8.8.8"])
def test_what_is_no_machine_of_the_lan_is_not_even_tried(ip: str) -> None:
    world = World(host=CONTAINER)
    world.announce(GATEWAY, left=0, ip=ip)
    assert world.proved == []
