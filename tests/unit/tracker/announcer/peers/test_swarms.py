"""The rules of announce and scrape."""

from __future__ import annotations

import pytest

from llmpt_tracker.announcer.peers.wire import Event, ScrapeEntry
from llmpt_tracker.errors import ClientError
from tests.unit.tracker.announcer.world import CONTAINER, GATEWAY, HASH, KEY, World


def test_a_leecher_is_told_of_seeders_and_leechers_but_not_of_itself() -> None:
    world = World()
    world.announce("10.0.0.1", left=0)
    world.announce("10.0.0.2")
    assert world.told("10.0.0.3") == {"10.0.0.1:6881", "10.0.0.2:6881"}
    assert world.told("10.0.0.3") == {"10.0.0.1:6881", "10.0.0.2:6881"}


def test_a_seeder_is_not_told_of_seeders() -> None:
    world = World()
    world.announce("10.0.0.1", left=0)
    world.announce("10.0.0.2", left=7, event=Event.PAUSED)
    world.announce("10.0.0.3")
    assert world.told("10.0.0.4", left=0) == {"10.0.0.3:6881"}


def test_peers_of_both_families_are_told_the_askers_own_first() -> None:
    world = World()
    world.announce("10.0.0.1", left=0)
    world.announce("fd00::1", left=0)
    assert world.told("10.0.0.2") == {"10.0.0.1:6881", "fd00::1:6881"}
    assert world.told("10.0.0.2", numwant=1) == {"10.0.0.1:6881"}
    assert world.told("fd00::3", numwant=1) == {"fd00::1:6881"}


def test_seeders_come_first_when_there_is_not_room_for_all() -> None:
    world = World()
    for number in range(1, 30):
        world.announce(f"10.0.0.{number}")
    world.announce("10.0.1.1", left=0)
    assert "10.0.1.1:6881" in world.told("10.0.1.2", numwant=3)
    assert len(world.told("10.0.1.2", numwant=3)) == 3


def test_numwant_0_gets_no_peers() -> None:
    world = World()
    world.announce("10.0.0.1", left=0)
    world.announce("127.0.0.1", left=0)
    assert world.told("127.0.0.1", port=7000, numwant=0) == set()


def test_an_ipv4_address_in_ipv6_clothes_is_ipv4() -> None:
    world = World()
    assert world.announce("::ffff:10.0.0.1").external_ip == bytes((10, 0, 0, 1))
    assert world.told("10.0.0.2") == {"10.0.0.1:6881"}


def test_started_of_a_known_peer_is_an_update() -> None:
    world = World()
    world.announce("10.0.0.1", event=Event.STARTED)
    world.announce("10.0.0.1", left=0, event=Event.STARTED)
    assert world.scrape() == ScrapeEntry(complete=1)


def test_completed_of_a_known_leecher_is_counted_once() -> None:
    world = World()
    world.announce("10.0.0.1")
    world.announce("10.0.0.1", left=0, event=Event.COMPLETED)
    world.announce("10.0.0.1", left=0, event=Event.COMPLETED)
    assert world.scrape() == ScrapeEntry(complete=1, downloaded=1)


def test_completed_of_an_unknown_peer_is_a_start_as_seeder_and_not_counted() -> None:
    world = World()
    world.announce("10.0.0.1", left=0, event=Event.COMPLETED)
    assert world.scrape() == ScrapeEntry(complete=1)


def test_left_0_makes_a_seeder_without_being_counted() -> None:
    world = World()
    world.announce("10.0.0.1")
    world.announce("10.0.0.1", left=0)
    assert world.scrape() == ScrapeEntry(complete=1)


def test_stopped_forgets_the_peer_and_tells_of_nobody() -> None:
    world = World()
    world.announce("10.0.0.1", left=0)
    world.announce("10.0.0.2")
    assert world.told("10.0.0.2", event=Event.STOPPED) == set()
    assert world.scrape() == ScrapeEntry(complete=1)


def test_stopped_of_an_unknown_peer_succeeds() -> None:
    assert World().announce("10.0.0.1", event=Event.STOPPED).complete == 0


def test_nobody_stops_another_address() -> None:
    world = World()
    world.announce("10.0.0.1", left=0)
    world.announce("10.0.0.2", left=0, event=Event.STOPPED, ip="10.0.0.1")
    assert world.scrape().complete == 1


def test_a_paused_peer_counts_as_incomplete_and_not_as_a_downloader() -> None:
    world = World()
    world.announce("10.0.0.1")
    world.announce("10.0.0.2", event=Event.PAUSED)
    assert world.scrape() == ScrapeEntry(downloaders=1, incomplete=2)
    assert world.announce("10.0.0.1").incomplete == 2


def test_a_torrent_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ClientError, match="unregistered torrent"):
        World().announce("10.0.0.1", info_hash=b"x" * 20)


def test_a_torrent_that_is_not_listed_scrapes_as_zeros() -> None:
    world = World()
    world.store.unregister([HASH])
    assert world.scrape() == ScrapeEntry()


def test_an_address_outside_the_lan_is_refused_by_the_name_of_the_setting() -> None:
    with pytest.raises(ClientError, match=r"8\.8\.8\.8 is outside LLMPT_PEER_CIDRS"):
        World().announce("8.8.8.8")


def test_the_seeder_in_the_container_beside_ours_needs_no_place_in_the_networks_that_are_served() -> None:
    world = World(host=CONTAINER, allowed="192.168.7.0/24")
    world.heartbeat()
    world.announce("172.18.0.3", left=0, key=KEY)
    assert world.scrape().complete == 1
    for source, key in (("172.18.0.3", ""), (GATEWAY, KEY), ("10.0.0.9", KEY)):
        with pytest.raises(ClientError, match="outside LLMPT_PEER_CIDRS"):
            world.announce(source, left=0, key=key)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ClientError, match="unknown announce key"):
        World().announce("10.0.0.1", key=KEY)


def test_the_claimed_address_is_ignored() -> None:
    world = World()
    world.announce("10.0.0.1", left=0, ip="10.9.9.9")
    assert world.told("10.0.0.2") == {"10.0.0.1:6881"}


def test_the_interval_is_spread_by_a_tenth() -> None:
    world = World()
    intervals = {world.announce("10.0.0.1").interval_s for _ in range(300)}
    assert min(intervals) >= 810
    assert max(intervals) <= 990
    assert len(intervals) > 50


def test_the_answer_says_the_address_that_we_see() -> None:
    assert World().announce("fd00::7").external_ip == b"\xfd" + bytes(14) + b"\x07"


def test_a_dictionary_answer_has_the_peers_own_ids_unless_they_are_not_wanted() -> None:
    world = World()
    world.announce("10.0.0.1", left=0, secret=b"2A17F5E3")
    world.announce("10.0.0.3", left=0)  # whose id is all that says whose its endpoint is
    endpoint = bytes((10, 0, 0, 1)) + (6881).to_bytes(2, "big")
    assert world.announce("10.0.0.2", compact=False).peer_ids == {endpoint: b"-XX0000-10.0.0.1    "}
    assert world.announce("10.0.0.2", compact=False, no_peer_id=True).peer_ids == {}
    assert world.announce("10.0.0.2").peer_ids is None


def test_the_application_is_told_of_seeders_first() -> None:
    world = World()
    world.announce("10.0.0.1")
    world.announce("10.0.0.2", event=Event.PAUSED)
    world.announce("10.0.0.3", left=0)
    assert world.addresses("10.0.0.9") == ["10.0.0.3", "10.0.0.2", "10.0.0.1"]
    assert len(world.peers("10.0.0.9", limit=1)) == 1
