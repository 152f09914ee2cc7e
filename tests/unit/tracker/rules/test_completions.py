"""How often blobs were downloaded, over restarts of the announcer."""

from __future__ import annotations

from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import completions
from llmpt_tracker.rules.catalogue import torrents
from tests.unit.tracker.bodies import packed, torrent
from tests.unit.tracker.conftest import Api

A, B = torrent("a"), torrent("b")


def kept(database: Database) -> dict[bytes, int]:
    with database.reading() as session:
        return {swarm: completed for _, swarm, completed in torrents.all_swarms(session, after=0, limit=10)}


def keep(database: Database, counts: dict[bytes, int]) -> None:
    with database.writing() as session:
        completions.keep(session, counts)


def test_counts_are_kept_and_never_fall(api: Api, database: Database) -> None:
    api.publish({"torrents": packed(A, B)})
    a, b = (meta.info_hash.truncated for meta in (A, B))
    assert kept(database) == {a: 0, b: 0}
    keep(database, {a: 3, b"nobody knows it......": 9})
    keep(database, {a: 2, b: 1})
    assert kept(database) == {a: 3, b: 1}
    keep(database, {})
    api.publish({"torrents": packed(A)})
    assert kept(database) == {a: 3, b: 1}
