"""What a tracker must be able to, document by document, over HTTP and over UDP: `HELD`, at the end, is the table.

Each line of it is a test against the announcer's own front ends, on sockets of this host and over both families of addresses.
Peers of other machines stand in its store as their announces would have entered them.
"""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from llmpt.core import bencode
from llmpt.core.networks import CidrSet
from llmpt_tracker.announcer.http.server import FrontEnd
from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.store import Role
from llmpt_tracker.announcer.peers.subnets import Subnets
from llmpt_tracker.announcer.peers.visibility import Visibility
from llmpt_tracker.announcer.readers import Readers
from llmpt_tracker.announcer.tracker import Tracker
from llmpt_tracker.announcer.udp.server import DatagramFrontEnd
from llmpt_tracker.read_keys import KeyOwner, ReadKeys
from tests.support.udp_client import UdpClient, error

HOSTS = {4: "127.0.0.1", 6: "::1"}
WIDTHS = {4: 6, 6: 18}
HASH, OTHER = b"h" * 20, b"o" * 20
SUBNETS = "127.0.0.0/8, 10.0.0.0/8, ::1/128, fd00::/8"  # this host is one, and two lie beyond
STARTED, COMPLETED, STOPPED, PAUSED = 2, 1, 3, 4  # as BEP 15 numbers them, and libtorrent the last
KEYS, ANN = ReadKeys(b"s" * 32), KeyOwner(1, 1000)

Told = dict[bytes, Any]


class Running:
    """A tracker that listens on 127.0.0.1 and ::1, asked as a peer asks."""

    def __init__(self, tracker: Tracker, port: int, udp_port: int) -> None:
        self.tracker, self.port, self.udp_port = tracker, port, udp_port

    def get(self, path: str, query: str, *, family: int = 4) -> Told:
        """Ask over HTTP; the answer has status 200, whatever it says."""
        connection = http.client.HTTPConnection(HOSTS[family], self.port, timeout=10)
        try:
            connection.request("GET", f"{path}?{query}")
            answer = connection.getresponse()
            assert answer.status == 200
            told: Told = bencode.decode(answer.read())
            return told
        finally:
            connection.close()

    def announce(self, *, family: int = 4, path: str = "/announce", left: int = 5, port: int = 6881, **more: Any) -> Told:
        """Announce over HTTP."""
        fields = {"info_hash": HASH, "peer_id": b"-XX0000-%012d" % port, "port": port, "left": left}
        return self.get(path, urlencode(fields | more), family=family)

    def scrape(self, *hashes: bytes) -> Told:
        """Scrape over HTTP; return the counts of each torrent."""
        files: Told = self.get("/scrape", urlencode([("info_hash", one) for one in hashes]))[b"files"]
        return files

    def announce_by_udp(self, *, family: int = 4, **fields: Any) -> UdpTold:
        """Announce over UDP."""
        with self.udp(family) as client:
            answer = client.announce(**{"left": 5} | fields)
        action, _, interval, leechers, seeders = struct.unpack(">IIIII", answer[:20])
        assert action == 1, error(answer)
        return UdpTold(interval, leechers, seeders, addresses(answer[20:], family))

    @contextmanager
    def udp(self, family: int = 4) -> Iterator[UdpClient]:
        """Be connected over UDP."""
        client = UdpClient(self.udp_port, HOSTS[family])
        try:
            client.connect()
            yield client
        finally:
            client.close()

    def enter(self, pattern: str, count: int = 1, *, role: Role = Role.SEEDER, is_reachable: bool = True) -> None:
        """Have peers of other machines in the swarm; `pattern` holds their numbers' place: `10.0.0.{}`."""
        for number in range(1, count + 1):
            endpoint = ipaddress.ip_address(pattern.format(number)).packed + (6881).to_bytes(2, "big")
            now = self.tracker.clock()
            self.tracker.store.put(HASH, endpoint, role, now=now)
            self.tracker.store.mark(endpoint, is_reachable=is_reachable, now=now)


class UdpTold(NamedTuple):
    """What an announce over UDP is told."""

    interval: int
    leechers: int
    seeders: int
    peers: list[str]


def addresses(compact: bytes, family: int = 4) -> list[str]:
    """Return the addresses of compact peers."""
    width = WIDTHS[family]
    assert len(compact) % width == 0
    return [str(ipaddress.ip_address(compact[at : at + width - 2])) for at in range(0, len(compact), width)]


@pytest.fixture
def at() -> Iterator[Running]:
    """A tracker that listens, in a thread of its own."""
    seeders, store, loop = Seeders(), MemoryStore(), asyncio.new_event_loop()
    store.register([HASH, OTHER])
    allowed, subnets = CidrSet.parse(SUBNETS), Subnets(CidrSet.parse(SUBNETS))
    tracker = Tracker(store, seeders=seeders, visibility=Visibility(allowed=allowed, seeders=seeders, subnets=subnets))

    async def opened() -> tuple[FrontEnd, DatagramFrontEnd]:
        front, datagrams, hosts = FrontEnd(tracker), DatagramFrontEnd(tracker), list(HOSTS.values())
        datagrams.open(hosts, front.open(hosts, 0), is_any=True)
        return front, datagrams

    fronts = loop.run_until_complete(opened())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert fronts[0].port and fronts[1].port  # noqa: PT018 - for the types
        yield Running(tracker, fronts[0].port, fronts[1].port)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for front in fronts:
            front.close()
        loop.close()


# The checks, in the order of the table


def announce_enters_and_tells(at: Running) -> None:
    assert at.announce(left=0, event="started")[b"complete"] == 1
    answer = at.announce(port=6882, event="started", uploaded=0, downloaded=0)
    assert (answer[b"complete"], answer[b"incomplete"], answer[b"downloaded"]) == (1, 1, 0)
    assert 800 <= answer[b"interval"] <= 1000
    assert answer[b"peers"] == b"\x7f\0\0\1\x1a\xe1"
    assert at.announce(port=6882, left=0, event="completed")[b"downloaded"] == 1
    assert at.announce(port=6882, left=0, event="stopped")[b"peers"] == b""
    assert at.scrape(HASH)[HASH] == {b"complete": 1, b"downloaded": 1, b"downloaders": 0, b"incomplete": 0}


def dictionaries(at: Running) -> None:
    at.announce(left=0, key="2A17F5E3")
    expected = {b"ip": b"127.0.0.1", b"peer id": b"-XX0000-000000006881", b"port": 6881}
    assert at.announce(port=6882, compact=0)[b"peers"] == [expected]


def refusals(at: Running) -> None:
    assert at.announce(info_hash=b"x" * 20)[b"failure reason"] == b"unregistered torrent"
    assert at.get("/announce", "")[b"failure reason"] == b"info_hash is missing"
    assert at.announce(port=0)[b"failure reason"] == b"port must be between 1 and 65535"


def both_families_in_one_answer(at: Running) -> None:
    at.enter("10.0.0.{}", 3)
    at.enter("fd00::{}", 3)
    others = {"10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2", "fd00::3"}
    for family in HOSTS:
        answer = at.announce(family=family)
        assert {*addresses(answer[b"peers"]), *addresses(answer[b"peers6"], 6)} == others
        assert {peer[b"ip"].decode() for peer in at.announce(family=family, compact=0)[b"peers"]} == others
        at.announce(family=family, event="stopped")


def udp_announce(at: Running) -> None:
    for family in HOSTS:
        at.announce_by_udp(family=family, left=0, port=7000, event=STARTED)
        answer = at.announce_by_udp(family=family, port=7001, event=STARTED)
        assert 800 <= answer.interval <= 1000
        assert answer.peers == [HOSTS[family]]
        at.announce_by_udp(family=family, left=0, port=7001, event=COMPLETED)
    last = at.announce_by_udp(left=0, port=7001, event=STOPPED)
    assert (last.seeders, last.leechers, last.peers) == (3, 0, [])
    assert at.scrape(HASH)[HASH][b"downloaded"] == 2


def udp_answers_are_of_one_family_and_full(at: Running) -> None:
    at.enter("10.0.0.{}", 90)
    at.enter("fd00::{:x}", 90, role=Role.LEECHER)
    assert len(at.announce_by_udp(family=6, numwant=60).peers) == 60, "no place is lost to peers that the answer cannot hold"
    assert len(at.announce_by_udp(family=4, numwant=60).peers) == 60


def udp_connection_ids(at: Running) -> None:
    with at.udp() as client:
        client.connection = b"forged!!"
        assert "connection id" in error(client.announce())
        assert "connection id" in error(client.scrape(HASH))
    assert at.scrape(HASH)[HASH][b"complete"] == 0


def partial_seeds(at: Running) -> None:
    at.announce(left=0, port=7000)
    at.announce(left=9, port=7001)
    assert at.announce(left=9, port=7002, event="paused")[b"peers"] == b"\x7f\0\0\1" + (7001).to_bytes(2, "big")
    assert at.announce_by_udp(left=9, port=7003, event=PAUSED).leechers == 3
    assert at.scrape(HASH)[HASH] == {b"complete": 1, b"downloaded": 0, b"downloaders": 1, b"incomplete": 3}
    assert len(addresses(at.announce(left=9, port=7001)[b"peers"])) == 3, "a leecher is told of them: they have something"


def compact_unless_refused(at: Running) -> None:
    at.enter("10.0.0.{}")
    for value in ({}, {"compact": 1}, {"compact": ""}):
        assert at.announce(**value)[b"peers"] == b"\x0a\0\0\1\x1a\xe1"
    assert at.announce(compact=0)[b"peers"] == [{b"ip": b"10.0.0.1", b"port": 6881}]


def external_address(at: Running) -> None:
    assert [at.announce(family=one)[b"external ip"] for one in HOSTS] == [b"\x7f\0\0\1", bytes(15) + b"\1"]


def private(at: Running) -> None:
    at.tracker.readers = Readers(KEYS)
    at.tracker.readers.learn([ANN], as_of=2000)
    assert b"wants a key" in at.announce()[b"failure reason"]
    assert b"wants a key" in at.get("/scrape", urlencode({"info_hash": HASH}))[b"failure reason"]
    key = KEYS.announce_key(ANN, HASH)
    assert b"failure reason" not in at.announce(path=f"/announce/{key}")
    assert b"failure reason" not in at.get(f"/scrape/{key}", urlencode({"info_hash": HASH}))
    assert b"failure reason" in at.announce(path=f"/announce/{key}", info_hash=OTHER)


def retry_in(at: Running) -> None:
    answer = at.announce(info_hash=b"x" * 20)
    assert (answer[b"retry in"], answer[b"interval"], answer[b"min interval"]) == (1, 60, 60)


def key_in_udp_options(at: Running) -> None:
    at.tracker.readers = Readers(KEYS)
    at.tracker.readers.learn([ANN], as_of=2000)
    url = b"/announce/" + KEYS.announce_key(ANN, HASH).encode() + b"?more"
    parts = [b"\x02" + bytes((len(part),)) + part for part in (url[:20], url[20:])]
    with at.udp() as client:
        assert "wants a key" in error(client.announce())
        assert client.announce(options=b"\x01" + b"\x01".join(parts) + b"\x00")[:4] == struct.pack(">I", 1)


def scrape_of_several(at: Running) -> None:
    at.announce(left=0)
    at.announce(info_hash=OTHER)
    nothing = dict.fromkeys((b"complete", b"downloaded", b"downloaders", b"incomplete"), 0)
    assert at.scrape(OTHER, HASH, b"x" * 20) == {
        HASH: nothing | {b"complete": 1},
        OTHER: nothing | {b"downloaders": 1, b"incomplete": 1},
        b"x" * 20: nothing,
    }
    with at.udp() as client:
        assert client.scrape(OTHER, HASH, b"x" * 20)[8:] == struct.pack(">9I", 0, 0, 1, 1, 0, 0, 0, 0, 0)
    many = [b"%020d" % number for number in range(74)]
    assert len(at.scrape(*many)) == 74
    assert b"74" in at.get("/scrape", urlencode([("info_hash", one) for one in [*many, HASH]]))[b"failure reason"]
    assert b"info_hash is missing" in at.get("/scrape", "")[b"failure reason"]


def truncated_hashes(at: Running) -> None:
    assert b"peers" in at.announce()
    for value in (HASH + bytes(12), HASH.hex(), HASH[:19]):
        assert b"20 bytes" in at.announce(info_hash=value)[b"failure reason"]


def no_peer_id(at: Running) -> None:
    at.announce(left=0, key="2A17F5E3")
    assert at.announce(port=6882, compact=0, no_peer_id=1)[b"peers"] == [{b"ip": b"127.0.0.1", b"port": 6881}]


def numwant(at: Running) -> None:
    at.enter("10.0.0.{}", 150)
    for asked, given in ({0: 0, 1: 1, 60: 60, 1000: 100, -1: 50, "": 50, "many": 50}).items():
        assert len(addresses(at.announce(numwant=asked)[b"peers"])) == given
    assert len(addresses(at.announce()[b"peers"])) == 50
    assert [len(at.announce_by_udp(numwant=asked).peers) for asked in (0, 60, 1000, -1)] == [0, 60, 100, 50]


def key(at: Running) -> None:
    at.announce(left=0, key="A1")
    at.announce(left=0, key="B2", event="stopped")
    assert at.scrape(HASH)[HASH][b"complete"] == 1, "another key does not stop it"
    at.announce(left=0, key="A1", event="stopped")
    assert at.scrape(HASH)[HASH][b"complete"] == 0


def tracker_id(at: Running) -> None:
    given = at.announce()[b"tracker id"]
    assert given == at.tracker.boot_id.encode()
    assert at.announce(compact=0)[b"tracker id"] == given
    for back in (given, "of another tracker", ""):
        assert at.announce(trackerid=back)[b"tracker id"] == given


def min_interval(at: Running) -> None:
    assert at.announce()[b"min interval"] == at.announce(compact=0)[b"min interval"] == 60


def warning(at: Running) -> None:
    at.announce()
    at.tracker.store.mark(b"\x7f\0\0\1\x1a\xe1", is_reachable=False, now=at.tracker.clock())
    for compact in (0, 1):
        assert b"port 6881" in at.announce(compact=compact)[b"warning message"]


def lenient(at: Running) -> None:
    fields = {"info_hash": HASH, "peer_id": b"-XX0000- 0123456789+", "port": 6881}
    raw = urlencode(fields)
    assert "+" in raw
    assert "%2B" in raw
    for more in ("", "&left=", "&left=-1", "&left=18446744073709551615", "&numwant=-1&compact=&event=none&left=x"):
        answer = at.get("/announce", raw + more)
        assert (answer[b"complete"], answer[b"incomplete"], answer[b"peers"]) == (0, 1, b""), more
    peer = at.tracker.store.peer(HASH, b"\x7f\0\0\1\x1a\xe1")
    assert peer is not None
    assert peer.owner == fields["peer_id"]


def seeders_get_no_seeders(at: Running) -> None:
    at.enter("10.0.0.{}", 5)
    at.enter("10.0.1.{}", 2, role=Role.PAUSED)
    at.enter("10.0.2.{}", 3, role=Role.LEECHER)
    leechers = {"10.0.2.1", "10.0.2.2", "10.0.2.3"}
    assert set(addresses(at.announce(left=0)[b"peers"])) == leechers
    assert set(at.announce_by_udp(left=0).peers) == leechers


def leechers_get_what_has_something(at: Running) -> None:
    at.enter("10.0.2.{}", 90, role=Role.LEECHER)
    for role, is_reachable in ((Role.SEEDER, False), (Role.PAUSED, True), (Role.SEEDER, True)):
        at.enter("10.0.0.{}", role=role, is_reachable=is_reachable)
        for told in (addresses(at.announce(numwant=5)[b"peers"]), at.announce_by_udp(numwant=5).peers):
            assert len(told) == 5
            assert "10.0.0.1" in told


def own_subnet_first(at: Running) -> None:
    at.enter("10.0.0.{}", 40)
    at.enter("127.0.7.{}", 9)
    for told in (addresses(at.announce(numwant=12)[b"peers"]), at.announce_by_udp(numwant=12).peers):
        assert sum(one.startswith("127.0.7.") for one in told) == 9
        assert len(told) == 12


def random_within(at: Running) -> None:
    at.enter("10.0.0.{}", 60)
    assert len({one for _ in range(60) for one in addresses(at.announce(numwant=3)[b"peers"])}) > 20
    assert len({one for _ in range(60) for one in at.announce_by_udp(numwant=3).peers}) > 20


HELD: dict[str, Callable[[Running], None]] = {
    "BEP 3: an announce enters a peer and tells of the others, with counts and an interval; events": announce_enters_and_tells,
    "BEP 3: peers as dictionaries, with their ids": dictionaries,
    "BEP 3: a refusal is an answer, and says why": refusals,
    "BEP 7: IPv4 and IPv6 peers in one answer, by whichever family it was asked": both_families_in_one_answer,
    "BEP 15: announces over UDP, of both families": udp_announce,
    "BEP 15: an answer has the peers of the family by which it was asked, as many as are wanted": (
        udp_answers_are_of_one_family_and_full
    ),
    "BEP 15: without a connection id of ours nothing is done": udp_connection_ids,
    "BEP 21: partial seeds are incomplete, no downloaders, and wanted by leechers alone": partial_seeds,
    "BEP 23: compact unless compact=0": compact_unless_refused,
    "BEP 24: the asker's own address": external_address,
    "BEP 27: where reading takes a token, a key for each torrent in the announce URL": private,
    "BEP 31: when to come back after a refusal": retry_in,
    "BEP 41: the key of the announce URL in a datagram's options": key_in_udp_options,
    "BEP 48: scrapes of several torrents; not of all": scrape_of_several,
    "BEP 52: a torrent by the first 20 bytes of its SHA-256, and by nothing else": truncated_hashes,
    "no_peer_id": no_peer_id,
    "numwant: 50 unless it is said, 100 at most": numwant,
    "key: it says whose an endpoint is": key,
    "trackerid: given out, and taken back": tracker_id,
    "min interval": min_interval,
    "warning message": warning,
    "what makes no sense, or is missing, has its default; a + is a blank": lenient,
    "peers: seeders get no seeders": seeders_get_no_seeders,
    "peers: leechers always get one that has something": leechers_get_what_has_something,
    "peers: those of one's own subnet first": own_subnet_first,
    "peers: at random within": random_within,
}


@pytest.mark.parametrize("check", HELD.values(), ids=HELD)
def test_what_is_held(check: Callable[[Running], None], at: Running) -> None:
    check(at)
