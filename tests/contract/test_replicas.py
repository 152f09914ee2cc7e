"""What machines and the application see of a tracker's announcers: of one alone, and of two that share a Valkey."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llmpt.core import bencode
from tests.support.announcer import AnnouncerProcess
from tests.support.valkey import ValkeyProcess, program
from tests.support.waiting import eventually

ETAG = "e" * 64
needs_valkey = pytest.mark.skipif(program() is None, reason="needs Valkey or Redis (Debian: apt-get install redis-server)")


class Pair:
    """Two replicas; of a tracker that is alone, the same one twice."""

    def __init__(self, first: AnnouncerProcess, second: AnnouncerProcess) -> None:
        self.first, self.second = first, second
        self._made = 0

    def new_torrent(self) -> bytes:
        """Publish a torrent at the first."""
        self._made += 1
        info_hash = self._made.to_bytes(20, "big")
        self.first.control.do("register", hashes=[info_hash.hex()])
        return info_hash


def announced(at: AnnouncerProcess, info_hash: bytes, *, port: int = 7000, **said: object) -> dict[bytes, Any]:
    import urllib.parse
    import urllib.request

    query = {"info_hash": info_hash, "peer_id": b"p" * 16 + port.to_bytes(4, "big"), "port": port, "left": 0, **said}
    with urllib.request.urlopen(f"{at.announce_url}?{urllib.parse.urlencode(query)}", timeout=5) as answer:
        read = bencode.decode(answer.read())
    assert isinstance(read, dict)
    return read


def looked_up(at: AnnouncerProcess, info_hash: bytes) -> dict[str, Any]:
    found = at.control.do("swarms", hashes=[info_hash.hex()], peers=10, asker="127.0.0.1")["swarms"][info_hash.hex()]
    assert isinstance(found, dict)
    return found


def polled(at: AnnouncerProcess, machine: str, *, etag: str = ETAG, fetched: int | None = None) -> dict[str, Any]:
    """Have a machine want a blob, or tell how much of it it has fetched; return its grant."""
    want = {"etag": etag, "size": 10**9, "repo_type": "model", "repo_id": "org/name"}
    fetching = [] if fetched is None else [{"etag": etag, "bytes": fetched, "rate_bytes_s": 1000}]
    poll = {"machine": machine, "stall_timeout_s": 5.0, "wants": [want], "fetching": fetching, "ended": []}
    reply = at.control.do("leases", poll=poll, owner={"token": 4, "name": machine}, swarms={})
    grant = reply["leases"][0]
    assert isinstance(grant, dict)
    return grant


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyProcess]:
    with ValkeyProcess() as running:
        yield running


def replica(valkey: ValkeyProcess, **settings: str) -> AnnouncerProcess:
    return AnnouncerProcess({"LLMPT_VALKEY_URL": valkey.url, **settings})


def reach(*replicas: AnnouncerProcess) -> None:
    """Wait until they know of each other, and one of them decides."""
    for one in replicas:
        eventually(lambda one=one: one.control.do("status").get("reaches_replicas"), what="Valkey is reached")  # type: ignore[misc]


@pytest.fixture(scope="module", params=["alone", pytest.param("valkey", marks=needs_valkey)])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with ExitStack() as stack:
        if request.param == "alone":
            alone = stack.enter_context(AnnouncerProcess())
            alone.open()
            yield Pair(alone, alone)
            return
        valkey = request.getfixturevalue("valkey")
        both = [stack.enter_context(replica(valkey)) for _ in range(2)]
        for one in both:
            one.open()
        reach(*both)
        yield Pair(*both)


def test_a_torrent_that_is_published_may_be_announced_everywhere(pair: Pair) -> None:
    info_hash = pair.new_torrent()
    eventually(lambda: b"failure reason" not in announced(pair.second, info_hash), timeout_s=1, what="it is known")
    pair.first.control.do("unregister", hashes=[info_hash.hex()])
    eventually(lambda: b"failure reason" in announced(pair.second, info_hash), timeout_s=1, what="it is known no more")


def test_a_peer_is_told_of_until_it_says_that_it_stopped(pair: Pair) -> None:
    info_hash = pair.new_torrent()
    announced(pair.first, info_hash)
    found = eventually(lambda: looked_up(pair.second, info_hash).get("peers"), what="the peer")
    assert found == [{"address": "127.0.0.1", "port": 7000}]
    announced(pair.second, info_hash, event="stopped")
    eventually(lambda: looked_up(pair.first, info_hash)["seeders"] == 0, what="the peer has gone")


def test_a_download_to_the_end_is_counted_once(pair: Pair) -> None:
    info_hash = pair.new_torrent()
    announced(pair.first, info_hash, left=5)
    eventually(lambda: looked_up(pair.second, info_hash)["leechers"] == 1, what="the leecher")
    announced(pair.second, info_hash, event="completed")
    for one in (pair.first, pair.second):
        eventually(lambda one=one: looked_up(one, info_hash)["completed"] == 1, what="the count")  # type: ignore[misc]


def test_a_seeder_is_alive_wherever_it_reported(pair: Pair) -> None:
    pair.first.control.do("heartbeat", seeder="s1", key="key-1", report={"blob_port": 8001}, address="127.0.0.1")
    eventually(lambda: pair.second.control.do("seeders")["seeders"], what="the seeder")
    servers = pair.second.control.do("blob_servers", asker="127.0.0.1")["servers"]
    assert [one["port"] for one in servers] == [8001]


def test_there_is_one_boot_id(pair: Pair) -> None:
    assert pair.first.control.do("status")["boot_id"] == pair.second.control.do("status")["boot_id"]


def test_a_pace_is_one_wherever_it_is_asked_for(pair: Pair) -> None:
    taken = [one.control.do("take", name="ann", per_s=0.01, burst=3) for one in (pair.first, pair.second) * 2]
    assert [one["wait_s"] > 0 for one in taken] == [False, False, False, True]


def test_of_two_machines_one_fetches(pair: Pair) -> None:
    first = eventually(lambda: polled(pair.first, "m1")["role"] == "fetch", what="m1 may fetch")
    assert first
    told = polled(pair.second, "m2")
    assert (told["role"], told["fetcher"]) == ("wait", "m1")
    polled(pair.second, "m1", fetched=500)
    assert polled(pair.first, "m2")["bytes"] == 500
    assert [one["fetcher"] for one in pair.second.control.do("fetches", limit=9)["fetches"]] == ["m1"]


@needs_valkey
def test_a_replica_that_starts_knows_what_the_others_know(valkey: ValkeyProcess) -> None:
    with replica(valkey) as old, replica(valkey) as new:
        info_hash = b"n" * 20
        old.open()
        reach(old)
        old.control.do("register", hashes=[info_hash.hex()])
        announced(old, info_hash)
        old.control.do("heartbeat", seeder="s2", key="key-2", report={}, address="127.0.0.1")
        new.open()  # a torrent of which it was not told by its catalogue, either
        assert looked_up(new, info_hash)["seeders"] == 1
        assert "s2" in [one["id"] for one in new.control.do("seeders")["seeders"]]


@needs_valkey
def test_when_the_one_that_decides_dies_its_leases_are_not_lent_anew(valkey: ValkeyProcess) -> None:
    with replica(valkey) as old, replica(valkey) as new:
        old.open()
        reach(old)
        etag = "d" * 64
        eventually(lambda: polled(old, "m1", etag=etag)["role"] == "fetch", what="m1 may fetch")
        new.open()
        reach(new)
        polled(old, "m1", etag=etag, fetched=10)
        old.kill()
        roles, got, deadline = set(), 10, time.monotonic() + 8
        while time.monotonic() < deadline:
            got += 10
            polled(new, "m1", etag=etag, fetched=got)
            roles.add(polled(new, "m2", etag=etag)["role"])
            time.sleep(0.2)
        assert roles == {"wait"}
        assert polled(new, "m2", etag=etag)["bytes"] == got
        assert eventually(lambda: polled(new, "m3", etag="f" * 64)["role"] == "fetch", what="the next one lends")


@needs_valkey
@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_without_valkey_each_goes_on_with_what_it_knows(how: str) -> None:
    with ValkeyProcess() as valkey, replica(valkey) as first, replica(valkey) as second, replica(valkey) as third:
        known, new = b"k" * 20, b"w" * 20
        for one in (first, second):
            one.open()
            reach(one)
        first.control.do("register", hashes=[known.hex()])
        announced(first, known)
        eventually(lambda: looked_up(second, known)["seeders"], what="the peer")
        eventually(lambda: polled(first, "m1")["role"] == "fetch", what="m1 may fetch")
        if how == "killed":
            valkey.kill()
        else:
            valkey.hang()
        got, slowest, until = 0, 0.0, time.monotonic() + 4
        while time.monotonic() < until:
            began = time.monotonic()
            assert announced(second, known, port=7001)[b"complete"] >= 1
            assert looked_up(second, known)["seeders"] >= 1
            polled(first, "m1", fetched=(got := got + 1))
            assert polled(second, "m2")["role"] == "wait"  # the lease is the first's to lend
            assert first.control.do("take", name="a", per_s=9e9, burst=9e9)["wait_s"] == 0
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2, slowest  # what the application waits
        eventually(lambda: second.control.do("status")["reaches_replicas"] is False, what="it says so")
        assert "Valkey does not answer" in second.log
        second.control.do("register", hashes=[new.hex()])
        announced(second, new)
        if how == "killed":
            valkey.start()  # which has kept nothing
        else:
            valkey.go_on()
        reach(first, second)
        polled(first, "m1", fetched=got + 1)
        assert eventually(lambda: polled(second, "m2")["fetcher"], what="a word of the one that decides") == "m1"
        eventually(lambda: looked_up(first, new)["seeders"] == 1, what="what was told meanwhile")
        third.control.do("register", hashes=[known.hex()], completed={})  # as its parent does, from the catalogue
        third.open()
        eventually(lambda: looked_up(third, known)["seeders"] >= 1, what="a new one knows all")


@needs_valkey
def test_replicas_with_different_keys_say_so(tmp_path: Path) -> None:
    with ValkeyProcess() as valkey, ExitStack() as stack:
        both = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "server.key").write_text(name)
            both.append(stack.enter_context(replica(valkey, LLMPT_DATA=str(tmp_path / name))))
        reach(*both)
        said = eventually(lambda: [one.log for one in both if "another key" in one.log], what="a line in the log")
        assert "server.key in LLMPT_DATA" in said[0]
