"""What another replica told is done here, as far as it makes sense."""

from __future__ import annotations

import json

from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.store import Role
from llmpt_tracker.announcer.replicas import changes

TORRENT, ENDPOINT = b"t" * 20, b"\x0a\0\0\x07\x1a\xe1"


def test_a_change_that_makes_no_sense_keeps_no_other_from_being_done() -> None:
    store = MemoryStore()
    right = [
        changes.listed([TORRENT], now=1.0),
        changes.put(TORRENT, ENDPOINT, Role.SEEDER, now=1.0, tag=None, owner=b"o"),
    ]
    first, second = json.loads(changes.encode(right, now=2.0))
    told = [first, ["put", 0, "zz"], ["a newer kind", 0], 7, [], ["put", "soon"], second]
    changes.Applying(store, Seeders()).batch(json.dumps(told).encode(), told_at=2.0, since=0.0)
    assert store.peer(TORRENT, ENDPOINT) is not None


def test_what_cannot_be_read_is_left_out() -> None:
    store = MemoryStore()
    for text in (b"", b"[", b"7", b"null", b'{"a": 1}'):
        changes.Applying(store, Seeders()).batch(text, told_at=2.0, since=0.0)
    assert len(store) == 0
