"""A machine of the LAN against the announcer: its memory, and other machines' endpoints. The announcer is a real process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import quote_from_bytes

import pytest

from llmpt.core import bencode
from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.store import Role, StoreLimits
from tests.support.announcer import AnnouncerProcess
from tests.support.hostile import ATTACKER, OTHER, ask, connect, get, memory_mib

HASH = b"\x01hash-of-a-torrent--"
HASHES = [b"%020d" % number for number in range(8)]
FRESH = iter(HASHES)
MANY = 2000
OLD, NEW = "-LT2110-oldoldoldold", "-LT2110-newnewnewnew"


@pytest.fixture(scope="module")
def announcer() -> Iterator[AnnouncerProcess]:
    with AnnouncerProcess({"LLMPT_PEER_CIDRS": f"{OTHER}/32,127.0.0.1/32,127.0.0.5/32"}) as process:
        process.control.do("register", hashes=[one.hex() for one in HASHES])
        process.open()
        yield process


class Swarm:
    """One torrent of the announcer."""

    def __init__(self, announcer: AnnouncerProcess, info_hash: bytes) -> None:
        self.announcer, self.info_hash = announcer, info_hash

    def announce(self, source: str, *, port: int = 6881, peer_id: str = OLD, **more: str) -> bytes:
        query = {"info_hash": quote_from_bytes(self.info_hash), "peer_id": peer_id, "port": str(port), "left": "0", **more}
        path = "/announce?" + "&".join(f"{name}={text}" for name, text in query.items())
        return ask(self.announcer.port, get(path), source).partition(b"\r\n\r\n")[2]

    def seeders(self) -> int:
        name = self.info_hash.hex()
        count = self.announcer.control.do("swarms", hashes=[name])["swarms"][name]["seeders"]
        assert isinstance(count, int)
        return count


@pytest.fixture
def swarm(announcer: AnnouncerProcess) -> Swarm:
    return Swarm(announcer, next(FRESH))


@pytest.mark.parametrize("source", [ATTACKER, OTHER])
def test_long_hashes_leave_nothing_behind(announcer: AnnouncerProcess, source: str) -> None:
    """ATTACKER is outside the networks that are served, OTHER inside."""
    before = memory_mib(announcer.pid)
    for start in range(0, MANY, 100):
        with connect(announcer.port, source) as sock:
            for number in range(start, start + 100):
                query = f"info_hash={number:06}{'%01' * 5000}&peer_id={OLD}&port=6881&left=0"
                sock.sendall(f"GET /announce?{query} HTTP/1.1\r\nHost: {number}.local\r\n\r\n".encode())
                assert sock.recv(4096).endswith(b"e")
    assert memory_mib(announcer.pid) - before < 15


def test_one_prefix_of_addresses_fills_its_own_share_and_displaces_itself() -> None:
    limits = StoreLimits(per_neighbourhood=1000, total=2000, per_address_and_swarm=100)
    store = MemoryStore(limits=limits)
    hashes = [b"%020d" % number for number in range(50)]
    store.register(hashes)
    honest = [bytes((10, 0, 0, last)) + b"\x1a\xe1" for last in range(200)] + [b"\xfd" * 8 + b"\xaa" * 8 + b"\x1a\xe1"]
    for endpoint in honest:
        store.put(hashes[0], endpoint, Role.SEEDER, now=1)
    for number in range(20_000):
        endpoint = b"\xfd" * 8 + (number % 160).to_bytes(8, "big") + (1024 + number % 60_000).to_bytes(2, "big")
        store.put(hashes[number % 50], endpoint, Role.SEEDER, now=2)
    assert store.peer_count <= len(honest) + limits.per_neighbourhood
    assert all(store.peer(hashes[0], endpoint) for endpoint in honest)


def test_addresses_without_end_fill_no_more_than_the_store_holds() -> None:
    limits = StoreLimits(total=1000)
    store = MemoryStore(limits=limits)
    store.register([HASH])
    store.put(HASH, bytes(4) + b"\x1a\xe1", Role.SEEDER, now=0, tag="a seeder of ours")
    for number in range(5000):
        store.put(HASH, (0x0A000000 + number).to_bytes(4, "big") + b"\x1a\xe1", Role.LEECHER, now=1)
    assert store.peer_count <= limits.total
    assert store.tagged(HASH)


def test_ports_without_end_are_not_remembered() -> None:
    store = MemoryStore()
    store.register([HASH])
    for port in range(1024, 6000):
        endpoint = bytes((10, 0, 0, 1)) + port.to_bytes(2, "big")
        store.put(HASH, endpoint, Role.LEECHER, now=1)
        store.mark(endpoint, is_reachable=True, now=1)
    known = [port for port in range(1024, 6000) if store.verdict(bytes((10, 0, 0, 1)) + port.to_bytes(2, "big"))]
    assert len(known) <= 64


def test_a_neighbour_behind_the_same_address_neither_stops_nor_replaces_a_peer(swarm: Swarm) -> None:
    with socket.create_server((OTHER, 0)) as peer:  # it lives, as anybody finds who tries its port
        port = peer.getsockname()[1]
        swarm.announce(OTHER, port=port, key="11111111")
        for left, event, key in (("0", "stopped", ""), ("0", "stopped", "11111111"), ("9", "", ""), ("9", "paused", "")):
            swarm.announce(OTHER, port=port, peer_id=NEW, left=left, event=event, key=key)
            assert swarm.seeders() == 1
        swarm.announce(OTHER, port=port, key="22222222", event="stopped")  # who has met the peer knows its id, and not the key
        assert swarm.seeders() == 1
        swarm.announce(OTHER, port=port, key="11111111", event="stopped")
        assert swarm.seeders() == 0


def test_nobody_learns_the_id_that_an_endpoint_is_owned_by(swarm: Swarm) -> None:
    swarm.announce(OTHER)
    reply = bencode.decode(swarm.announce("127.0.0.1", compact="0", left="9", peer_id=NEW, port=7000))
    assert [peer for peer in reply[b"peers"] if b"peer id" in peer] == []
    swarm.announce(OTHER, event="stopped")


def test_an_agent_that_was_killed_gets_in_again(swarm: Swarm) -> None:
    swarm.announce("127.0.0.5", key="11111111", left="9")
    swarm.announce("127.0.0.5", key="22222222", peer_id=NEW)
    assert swarm.seeders() == 1
    swarm.announce("127.0.0.5", key="11111111", event="stopped")
    assert swarm.seeders() == 1
    swarm.announce("127.0.0.5", key="22222222", peer_id=NEW, event="stopped")
    assert swarm.seeders() == 0


@pytest.mark.parametrize("port", [22, 80, 443, 1023])
def test_no_peer_is_led_to_a_port_of_something_else(swarm: Swarm, port: int) -> None:
    assert b"failure reason" in swarm.announce(OTHER, port=port)
    assert swarm.seeders() == 0
