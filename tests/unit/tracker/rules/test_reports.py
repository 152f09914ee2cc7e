"""Receivers that found another content in a torrent, and what becomes of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import entries, publication, publish, reports, tokens
from tests.unit.tracker.bodies import big, manifest, packed, torrent
from tests.unit.tracker.conftest import NOW, Api
from tests.unit.tracker.fakes import FakeAnnouncer

A, B, C = torrent("a"), torrent("b"), torrent("c")


def machine(api: Api, name: str) -> str:
    secret: str = api.post("tokens", {"name": name}).get_json()["token"]
    return secret


def complain(api: Api, meta: object, token: str | None = None) -> bool:
    body = {"etag": meta.etag.value, "info_hash": str(meta.info_hash), "reason": "another content"}  # type: ignore[attr-defined]
    answer = api.post("reports", body, token=token)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    dropped: bool = answer.get_json()["dropped"]
    return dropped


def is_valid(database: Database, secret: str) -> bool:
    with database.reading() as session:
        found = tokens.find(session, secret)
        assert found is not None
        return found.revoked_at is None


def test_a_sharers_torrent_with_another_content_is_dropped(
    api: Api, announcer: FakeAnnouncer, caplog: pytest.LogCaptureFixture
) -> None:
    sharer = machine(api, "sharer")
    api.publish(manifest({**big("m", A), "here": False}))
    api.publish({"torrents": packed(A)}, token=sharer)
    assert complain(api, A, machine(api, "receiver"))
    assert api.torrents() == []
    assert announcer.registered == set()
    assert "dropped" in caplog.text
    lines = api.get("/api/v1/repos/model/org/name/revisions/main").get_json()["files"]
    assert [line["path"] for line in lines] == ["m"]  # the manifest keeps its line
    assert not complain(api, A)  # and once more: it is gone already


def test_a_publishers_torrent_stays_and_is_shown_as_a_problem(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.publish(manifest(big("m", A), torrents=packed(A)))
    assert not complain(api, A, machine(api, "receiver"))
    assert len(api.torrents()) == 1
    assert "another content" in caplog.text
    page = api.get("/").get_data(as_text=True)
    assert "another content" in page
    assert A.etag.value[:16] in page


def test_what_is_said_of_another_torrent_of_that_etag_changes_nothing(api: Api) -> None:
    api.publish({"torrents": packed(A)}, token=machine(api, "sharer"))
    body = {"etag": A.etag.value, "info_hash": str(B.info_hash), "reason": "x"}
    assert api.post("reports", body).get_json() == {"dropped": False}
    assert len(api.torrents()) == 1


def test_a_dropped_torrent_is_not_taken_from_sharers_again_but_from_a_publisher(api: Api) -> None:
    sharer = machine(api, "sharer")
    api.publish({"torrents": packed(A)}, token=sharer)
    complain(api, A)
    for token in (sharer, machine(api, "another one")):
        answer = api.publish({"torrents": packed(A)}, token=token)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (422, "dropped")
    assert api.publish({"torrents": packed(A)}).status_code == 200


def test_a_day_later_it_is(database: Database) -> None:
    publication_ = publication.Publication(None, (A,))
    with database.writing() as session:
        sharer = tokens.add(session, "s", name="s", now=NOW, scope=tokens.SHARE)
        entries.enter(session, publication_.torrents, by=sharer, now=NOW)
        reports.report(session, etag=A.etag.value, info_hash=A.info_hash.truncated, reason="x", by=sharer, now=NOW)
        with pytest.raises(Refused, match="dropped"):
            entries.enter(session, publication_.torrents, by=sharer, now=NOW + timedelta(hours=23))
        assert entries.enter(session, publication_.torrents, by=sharer, now=NOW - timedelta(hours=1)).new == 1  # a clock set back
        reports.report(session, etag=A.etag.value, info_hash=A.info_hash.truncated, reason="x", by=sharer, now=NOW)
        done = publish.publish(session, publication_, by=sharer, min_blob_bytes=1, now=NOW + timedelta(hours=25))
        assert done.new_torrents == 1
        again = reports.report(
            session, etag=A.etag.value, info_hash=A.info_hash.digest, reason="x", by=sharer, now=NOW + timedelta(hours=26)
        )
        assert again.dropped == A.info_hash.truncated


@pytest.mark.parametrize(("reporters", "valid"), [(1, True), (2, False)])
def test_a_sharer_of_three_wrong_torrents_is_shut_out_on_the_word_of_two(
    api: Api, database: Database, reporters: int, valid: bool
) -> None:
    sharer = machine(api, "sharer")
    words = [machine(api, f"receiver {n}") for n in range(reporters)]
    api.publish({"torrents": packed(A, B, C)}, token=sharer)
    for number, meta in enumerate((A, B, C)):
        assert is_valid(database, sharer)
        assert complain(api, meta, words[number % reporters])
    assert is_valid(database, sharer) is valid


def test_nobodys_report_is_refused(api: Api, database: Database) -> None:
    api.publish({"torrents": packed(A)})
    body = {"etag": A.etag.value, "info_hash": str(A.info_hash), "reason": "x"}
    assert api.post("reports", body, token="nobody").status_code == 401
    assert api.post("reports", {**body, "reason": "x" * 501}).status_code == 400
    with database.reading() as session:
        assert reports.open_problems(session, limit=9, now=NOW) == []


def test_problems_are_shown_for_a_day(database: Database) -> None:
    with database.writing() as session:
        publisher = tokens.add(session, "p", name="p", now=NOW)
        entries.enter(session, (A, B), by=publisher, now=NOW)
        for hours, meta in ((0, A), (1, B)):
            moment = NOW + timedelta(hours=hours)
            said = {"etag": meta.etag.value, "info_hash": meta.info_hash.digest, "reason": f"after {hours} h"}
            reports.report(session, **said, by=publisher, now=moment)  # type: ignore[arg-type]
        shown = reports.open_problems(session, limit=9, now=NOW + timedelta(hours=24, minutes=1))
        assert [reason for _, reason in shown] == ["after 1 h"]
        assert isinstance(session.get(PublisherToken, publisher.id), PublisherToken)
