"""The announcer over UDP (BEP 15): connection ids, announces, scrapes, what is dropped, and what no flood gets out of it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest

from llmpt_tracker.announcer.peers.store import Role
from llmpt_tracker.announcer.readers import Readers
from llmpt_tracker.read_keys import KeyOwner, ReadKeys
from tests.support.announcer import AnnouncerProcess
from tests.support.udp_client import HASH, UdpClient, a_tracker, error, listening

OTHER = b"o" * 20


@pytest.fixture(scope="module")
def announcer() -> Iterator[AnnouncerProcess]:
    with AnnouncerProcess() as process:
        process.control.do("register", hashes=[HASH.hex(), OTHER.hex()])
        process.open()
        yield process


@pytest.fixture
def client(announcer: AnnouncerProcess) -> Iterator[UdpClient]:
    assert announcer.udp_port is not None
    client = UdpClient(announcer.udp_port)
    client.connect()
    yield client
    client.close()


def test_announces_and_scrapes_are_those_of_http(announcer: AnnouncerProcess, client: UdpClient) -> None:
    action, transaction, interval, leechers, seeders = struct.unpack(">IIIII", client.announce(port=6881))
    assert (action, transaction, leechers, seeders) == (1, 9, 0, 1)
    assert 800 <= interval <= 1000
    answer = client.announce(left=2**64 - 1, port=6882)
    assert answer[8:] == answer[8:12] + struct.pack(">II", 1, 1) + bytes((127, 0, 0, 1)) + (6881).to_bytes(2, "big")
    assert len(client.announce(left=5, port=6882, numwant=0)) == 20
    client.announce(left=0, port=6882, event=1)
    assert client.scrape(OTHER, HASH, b"x" * 20) == struct.pack(">II", 2, 8) + struct.pack(">9I", 0, 0, 0, 2, 1, 0, 0, 0, 0)
    for port in (6881, 6882):
        client.announce(port=port, event=3)
    assert client.scrape(HASH)[8:] == struct.pack(">III", 0, 1, 0)


def test_the_list_is_closed_and_what_is_wrong_is_said(client: UdpClient) -> None:
    assert error(client.announce(b"x" * 20)) == "unregistered torrent"
    assert error(client.announce(port=0)) == "port must be between 1 and 65535"
    assert "below 1024" in error(client.announce(port=22))
    assert "names its torrents" in error(client.scrape())
    assert "names its torrents" in error(client.scrape(HASH, b"half"))
    assert "74" in error(client.scrape(*[HASH] * 75))
    assert error(client.announce(options=b"\x02\x0f/announce/nokey")) == "unknown announce key"
    assert client.announce(options=b"\x01\x02\x09/announce\x00junk", event=3)[:4] == struct.pack(">I", 1)


def test_who_is_not_of_the_lan_is_told_so_by_the_name_of_the_setting() -> None:
    async def scenario() -> None:
        with listening(a_tracker("10.0.0.0/8")) as (_, port):
            client = UdpClient(port)
            await asyncio.to_thread(client.connect)
            for ask in (client.announce, client.scrape):
                assert "LLMPT_PEER_CIDRS" in error(await asyncio.to_thread(ask, HASH))
            client.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_an_answer_over_ipv6_has_the_peers_of_ipv6_and_fits_one_packet() -> None:
    async def scenario() -> None:
        tracker = a_tracker()
        for number in range(200):
            tracker.store.put(
                HASH, b"\xfd" + bytes(13) + number.to_bytes(2, "big") + b"\x1a\xe1", Role.SEEDER, now=tracker.clock()
            )
            tracker.store.put(HASH, b"\x0a\x00\x00" + bytes((number,)) + b"\x1a\xe1", Role.SEEDER, now=tracker.clock())
        with listening(tracker, "::1") as (_, port):
            client = UdpClient(port, "::1")
            await asyncio.to_thread(client.connect)
            peers = (await asyncio.to_thread(lambda: client.announce(left=5, numwant=100)))[20:]
            assert len(peers) == 76 * 18
            assert {peers[at] for at in range(0, len(peers), 18)} == {0xFD}
            client.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_where_reading_takes_a_token_the_key_stands_in_the_url_that_a_client_tells() -> None:
    keys, ann = ReadKeys(b"s" * 32), KeyOwner(1, 1000)

    async def scenario() -> None:
        tracker = a_tracker()
        tracker.readers = Readers(keys)
        tracker.readers.learn([ann], as_of=2000)
        url = b"/announce/" + keys.announce_key(ann, HASH).encode()
        with listening(tracker) as (_, port):
            client = UdpClient(port)
            await asyncio.to_thread(client.connect)
            assert "wants a key" in error(await asyncio.to_thread(client.announce))
            assert "wants a key" in error(await asyncio.to_thread(client.scrape, HASH))
            options = b"".join(b"\x02" + bytes((len(part),)) + part for part in (url[:20], url[20:] + b"?x=y"))
            answer = await asyncio.to_thread(lambda: client.announce(options=options))
            assert answer[:4] == struct.pack(">I", 1)
            client.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_fault_of_ours_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        tracker = a_tracker()
        tracker.store = None  # type: ignore[assignment]
        with listening(tracker) as (_, port):
            client = UdpClient(port)
            await asyncio.to_thread(client.connect)
            assert "something went wrong" in error(await asyncio.to_thread(client.announce))
            client.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert "Traceback" in caplog.text


def test_the_port_is_that_of_http_or_one_of_its_own_or_none(announcer: AnnouncerProcess) -> None:
    assert announcer.udp_port == announcer.port
    with AnnouncerProcess({"LLMPT_UDP_ANNOUNCE_PORT": "0"}) as without:
        without.open()
        assert without.udp_port is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        refused = AnnouncerProcess({"LLMPT_UDP_ANNOUNCE_PORT": str(taken.getsockname()[1])})
        refused.set_port(free_port())
        with refused:
            assert "LLMPT_UDP_ANNOUNCE_PORT" in refused.control.ask("open")["error"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
