"""Where reading takes a token: which announces and scrapes get an answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from llmpt.core import bencode
from llmpt.core.http_head import parse_head
from llmpt.core.networks import DEFAULT_PEER_CIDRS, CidrSet
from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.visibility import Visibility
from llmpt_tracker.announcer.readers import OVER, WANTED, Readers
from llmpt_tracker.announcer.tracker import Tracker
from llmpt_tracker.read_keys import KeyOwner, ReadKeys

ONE, OTHER = b"1" * 20, b"2" * 20
SEEDER = "0123456789abcdef" * 2
ANN, BOB = KeyOwner(4, 1000), KeyOwner(5, 1000)
KEYS = ReadKeys(b"a secret of this server")


def tracker(keys: ReadKeys | None = KEYS) -> Tracker:
    """A tracker that was told at 2000 that Ann's token holds, and has a seeder."""
    seeders = Seeders()
    made = Tracker(
        MemoryStore(), seeders=seeders, visibility=Visibility(allowed=CidrSet.parse(DEFAULT_PEER_CIDRS), seeders=seeders)
    )
    made.readers = Readers(keys)
    made.readers.learn([ANN], as_of=2000.5)
    made.store.register([ONE, OTHER])
    seeders.beat("server", key=SEEDER, report={"port": 6881}, now=made.clock())
    return made


def ask(tracker: Tracker, path: str, *hashes: bytes, left: int = 1, port: int = 6881) -> dict[bytes, Any]:
    query = "&".join(f"info_hash={quote_from_bytes(one)}" for one in hashes)
    if "announce" in path:
        query += f"&peer_id={'p' * 20}&port={port}&left={left}"
    head = parse_head(f"GET {path}?{query} HTTP/1.1\r\nHost: 10.0.0.9:6969".encode())
    found = bencode.decode(tracker.answer(head, tracker.asker("10.0.0.1")))
    assert isinstance(found, dict)
    return found


def refusal(*question: Any, **more: Any) -> str:
    return str(ask(*question, **more).get(b"failure reason", b""), "utf-8")


def test_an_announce_or_a_scrape_without_a_key_is_refused() -> None:
    for path in ("/announce", "/scrape", "/announce/" + "f" * 32, "/scrape/" + "f" * 32):
        assert refusal(tracker(), path, ONE) == WANTED


def test_a_key_is_good_for_its_torrent_and_no_other() -> None:
    at, key = tracker(), KEYS.announce_key(ANN, ONE)
    assert ask(at, f"/announce/{key}", ONE, left=0)[b"complete"] == 1
    assert ask(at, f"/scrape/{key}", ONE)[b"files"][ONE][b"complete"] == 1
    assert refusal(at, f"/announce/{key}", OTHER) == refusal(at, f"/scrape/{key}", ONE, OTHER) == OVER


def test_a_key_that_was_made_up_is_none() -> None:
    other = ReadKeys(b"another secret").announce_key(ANN, ONE)
    for key in (other, KEYS.announce_key(ANN, ONE).replace("r4t", "r5t"), "r4t1000x" + "0" * 32):
        assert refusal(tracker(), f"/announce/{key}", ONE) == OVER


def test_a_token_that_is_over_announces_no_more_and_one_that_is_new_at_once() -> None:
    at = tracker()
    for owner, said in ((ANN, ""), (BOB, OVER), (KeyOwner(5, 2000), ""), (KeyOwner(9, 3000), "")):
        assert refusal(at, f"/announce/{KEYS.announce_key(owner, ONE)}", ONE) == said
    at.readers.learn([BOB], as_of=4000)
    assert refusal(at, f"/announce/{KEYS.announce_key(ANN, ONE)}", ONE) == OVER


def test_before_the_first_word_no_key_holds() -> None:
    at = tracker()
    at.readers = Readers(KEYS)
    assert refusal(at, f"/announce/{KEYS.announce_key(ANN, ONE)}", ONE) == OVER


def test_a_seeder_of_ours_announces_all_and_is_told_of_no_peer() -> None:
    at = tracker()
    ask(at, f"/announce/{KEYS.announce_key(ANN, ONE)}", ONE)
    found = ask(at, f"/announce/{SEEDER}", ONE, left=0, port=6999)
    assert (found[b"complete"], found[b"incomplete"], found[b"peers"]) == (1, 1, b"")


def test_a_readers_key_opens_no_port_of_a_service() -> None:
    assert "port below 1024" in refusal(tracker(), f"/announce/{KEYS.announce_key(ANN, ONE)}", ONE, port=22)


@pytest.mark.parametrize("key", ["", "/" + KEYS.announce_key(ANN, ONE)], ids=["none", "one"])
def test_where_reading_takes_no_token_a_key_of_before_does_no_harm(key: str) -> None:
    assert ask(tracker(None), f"/announce{key}", ONE, left=0)[b"complete"] == 1
