"""What machines that share may put into the catalogue, and for how long it stays there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from llmpt.core.repo import RepoRef
from llmpt_tracker.control.messages import SeederReport, Traffic
from llmpt_tracker.database.models import Blob, PublisherToken
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import entries, publication, publish, quotas, tokens
from llmpt_tracker.rules.quotas import Quota, Quotas
from llmpt_tracker.serve.bookkeeping import SEEN_EVERY_S, SETTLED_S, Bookkeeping
from tests.unit.tracker.bodies import COMMIT, MIB, torrent
from tests.unit.tracker.conftest import NOW, Api

DAY = timedelta(days=1)
A, B, C = torrent("a"), torrent("b"), torrent("c")
LENGTH = len(A.encode())


def sharer(session: Session, number: int, address: str | None = "10.0.0.1") -> PublisherToken:
    token = tokens.add(session, f"s{number}", name=f"s{number}", now=NOW, scope=tokens.SHARE)
    token.address = address
    session.flush()
    return token


@pytest.mark.parametrize("limit", [Quota(2, 1 << 40), Quota(1 << 40, 2 * LENGTH)])
@pytest.mark.parametrize("of", ["token", "address", "all"])
def test_there_is_a_quota_of_torrents_and_bytes_for_a_token_an_address_and_all(database: Database, of: str, limit: Quota) -> None:
    other = {"token": (1, "10.0.0.1"), "address": (2, "10.0.0.1"), "all": (2, "10.0.0.2")}[of]
    with database.writing() as session:
        entries.enter(session, (A, B), by=sharer(session, 1), now=NOW)
        by = session.get(PublisherToken, 1) if of == "token" else sharer(session, *other)
        assert by is not None
        with pytest.raises(Refused, match="no manifest names"):
            quotas.check(session, (C,), by, Quotas(**{of: limit}))  # type: ignore[arg-type]
        quotas.check(session, (C,), sharer(session, 9, "10.0.0.9"), Quotas(token=limit, address=limit))


def test_what_a_manifest_names_does_not_count(database: Database) -> None:
    files = tuple(publication.ManifestFile(one.etag.value, one.size, one.etag, True, False) for one in (A, B))
    manifest = publication.Manifest(RepoRef("model", "org/name"), COMMIT, (), False, files, (), None)
    few = Quotas(token=Quota(1, 1 << 40))
    with database.writing() as session:
        by = tokens.add(session, "p", name="p", now=NOW)
        publish.publish(session, publication.Publication(manifest, ()), by=by, min_blob_bytes=1, now=NOW)
        machine = sharer(session, 1)
        entries.enter(session, (A,), by=machine, now=NOW)
        quotas.check(session, (B,), machine, few)
        quotas.check(session, (C,), machine, few)
        entries.enter(session, (C,), by=machine, now=NOW)
        quotas.check(session, (B,), machine, few)
        with pytest.raises(Refused):
            quotas.check(session, (torrent("d"),), machine, few)


def test_a_torrent_of_a_sharer_is_small(database: Database) -> None:
    with database.writing() as session, pytest.raises(Refused, match="at most"):
        quotas.check(session, (torrent("a", size=64 * MIB),), sharer(session, 1), Quotas(metainfo=LENGTH))


def test_what_no_machine_seeds_is_let_go_and_what_a_publisher_said_stays(database: Database) -> None:
    with database.writing() as session:
        machine = sharer(session, 1)
        entries.enter(session, (A, B), by=machine, now=NOW)
        entries.enter(session, (C,), by=tokens.add(session, "p", name="p", now=NOW), now=NOW)
        seeded = entries.find(session, [B.etag.value])[B.etag.value]
        quotas.note_seeded(session, [seeded.id], now=NOW + DAY)
        assert quotas.expire(session, now=NOW + 2 * DAY) == []
        assert quotas.expire(session, now=NOW + 3 * DAY) == [A.info_hash.truncated]
        assert quotas.expire(session, now=NOW + 32 * DAY) == [B.info_hash.truncated]
        assert session.query(Blob).count() == 1


def test_tokens_that_were_never_used_make_room_and_those_in_use_stay(database: Database) -> None:
    few = Quotas(tokens=3)
    with database.writing() as session:
        for number in range(3):
            sharer(session, number)
        tokens.used(session, [1], now=NOW)
        with pytest.raises(Refused, match="as many machines"):
            quotas.make_room(session, "10.0.0.1", now=NOW, quotas=few)  # they may be used in a moment
        quotas.make_room(session, "10.0.0.2", now=NOW, quotas=few)
        quotas.make_room(session, "10.0.0.1", now=NOW + DAY, quotas=few)
        assert [one.id for one in tokens.listed(session)] == [1]


def test_a_token_that_is_used_no_longer_is_forgotten_but_not_one_on_whose_word_something_rests(database: Database) -> None:
    with database.writing() as session:
        for number in range(3):
            sharer(session, number)
        sharer(session, 3, None)  # of an older database, or made by an operator
        session.flush()
        entries.enter(session, (A,), by=tokens.get(session, 1), now=NOW)
        tokens.used(session, [2], now=NOW + 100 * DAY)
        assert quotas.prune_tokens(session, now=NOW + 200 * DAY) == 1
        assert [one.id for one in tokens.listed(session)] == [1, 2, 4]


class Observer:
    """An announcer that has seen nothing."""

    def __init__(self) -> None:
        self.gone: list[bytes] = []

    def newly_completed(self) -> dict[bytes, int]:
        return {}

    def traffic(self) -> Traffic:
        return Traffic()

    def kept(self, _swarms: object) -> frozenset[bytes]:
        return frozenset([B.info_hash.truncated])

    def seeders(self) -> list[SeederReport]:
        return []

    def unregister(self, swarms: list[bytes]) -> None:
        self.gone += swarms


def test_the_bookkeeping_lets_go_of_what_is_not_seeded_some_time_after_a_start(database: Database) -> None:
    now, observer = 0.0, Observer()
    books = Bookkeeping(observer, database, monotonic=lambda: now, clock=lambda: NOW + 10 * DAY)  # type: ignore[arg-type]
    with database.writing() as session:
        entries.enter(session, (A, B), by=sharer(session, 1), now=NOW)
    books.keep()
    assert observer.gone == []  # who seeds it may not have announced it yet
    now = SETTLED_S + SEEN_EVERY_S
    books.keep()
    assert observer.gone == [A.info_hash.truncated]


def test_a_page_with_metainfo_is_bounded_in_bytes_and_goes_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmpt_tracker.views import torrents
    from tests.unit.tracker.bodies import packed

    api.publish({"torrents": packed(A, B, C)})
    monkeypatch.setattr(torrents, "METAINFO_OF_PAGE", 2 * LENGTH)
    found, cursor = [], ""
    for expected in (2, 1):
        answer = api.get(f"/api/v1/torrents?include=metainfo{cursor}").get_json()
        assert len(answer["torrents"]) == expected
        found += [one["etag"] for one in answer["torrents"]]
        cursor = f"&cursor={answer['next']}"
    assert found == [one.etag.value for one in (C, B, A)]
    assert answer["next"] is None
    assert len(api.get("/api/v1/torrents").get_json()["torrents"]) == 3
