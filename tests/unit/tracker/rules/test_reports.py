"""Receivers that found another content in a torrent, and what becomes of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import audit, entries, publication, publish, reports, tokens
from tests.unit.tracker.bodies import COMMIT, big, manifest, packed, small, torrent
from tests.unit.tracker.conftest import NOW, Api
from tests.unit.tracker.fakes import FakeAnnouncer

A, B, C = torrent("a"), torrent("b"), torrent("c")
WRONG = reports.Finding(A.etag.value, A.info_hash.truncated, "x")
DAY = timedelta(days=1)


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


def test_a_dropped_torrent_is_not_taken_again_from_its_publisher_but_from_another_machine(api: Api) -> None:
    sharer = machine(api, "sharer")
    api.publish({"torrents": packed(A)}, token=sharer)
    complain(api, A)
    answer = api.publish({"torrents": packed(A)}, token=sharer)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (422, "dropped")
    assert api.publish({"torrents": packed(A)}, token=machine(api, "another one")).status_code == 200


def test_a_day_later_it_is(database: Database) -> None:
    publication_ = publication.Publication(None, (A,))
    with database.writing() as session:
        sharer = tokens.add(session, "s", name="s", now=NOW, scope=tokens.SHARE)
        entries.enter(session, publication_.torrents, by=sharer, now=NOW)
        reports.report(session, WRONG, by=sharer, now=NOW)
        with pytest.raises(Refused, match="dropped"):
            entries.enter(session, publication_.torrents, by=sharer, now=NOW + timedelta(hours=23))
        assert entries.enter(session, publication_.torrents, by=sharer, now=NOW - timedelta(hours=1)).new == 1  # a clock set back
        reports.report(session, WRONG, by=sharer, now=NOW)
        done = publish.publish(session, publication_, by=sharer, min_blob_bytes=1, now=NOW + timedelta(hours=25))
        assert done.new_torrents == 1
        again = reports.report(session, WRONG, by=sharer, now=NOW + timedelta(hours=26))
        assert again.dropped == A.info_hash.truncated


def at(session: Session, number: int, *, made: datetime = NOW - DAY) -> PublisherToken:
    """Return the token of a machine that got it at an address of its own."""
    token = tokens.add(session, f"token {number} {made}", name=f"m{number}", now=made, scope=tokens.SHARE)
    token.address = f"10.0.0.{number}"
    return token


@pytest.mark.parametrize(
    ("addresses", "age", "valid"),
    [([1, 2], DAY, True), ([1, 2, 3], DAY / 2, True), ([1, 1, 2], DAY, True), ([1, 2, 3], DAY, False)],
)
def test_a_sharer_of_three_wrong_torrents_is_shut_out_on_the_word_of_three_machines(
    database: Database, addresses: list[int], age: timedelta, valid: bool
) -> None:
    with database.writing() as session:
        sharer = at(session, 0)
        said = [at(session, number, made=NOW - age - index * DAY / 10**6) for index, number in enumerate(addresses)]
        entries.enter(session, (A, B, C), by=sharer, now=NOW)
        for number, meta in enumerate((A, B, C)):
            assert sharer.revoked_at is None
            found = reports.Finding(meta.etag.value, meta.info_hash.digest, "x")
            assert reports.report(session, found, by=said[number % len(said)], now=NOW).dropped
        assert (sharer.revoked_at is None) is valid


def test_what_other_machines_have_read_is_not_dropped_on_the_word_of_one(database: Database) -> None:
    with database.writing() as session:
        entries.enter(session, (A,), by=at(session, 0), now=NOW)
        entries.enter(session, (A,), by=at(session, 1), now=NOW)
        assert reports.report(session, WRONG, by=at(session, 2), now=NOW).dropped is None
        assert reports.report(session, WRONG, by=at(session, 2, made=NOW), now=NOW).dropped is None  # from the same address
        assert reports.report(session, WRONG, by=at(session, 3), now=NOW).dropped is not None


def test_what_three_machines_have_read_stays_and_a_publisher_is_believed_at_once(database: Database) -> None:
    with database.writing() as session:
        for number in range(3):
            entries.enter(session, (A,), by=at(session, number), now=NOW)
        for number in range(4, 9):
            assert reports.report(session, WRONG, by=at(session, number), now=NOW).dropped is None
        assert reports.open_problems(session, limit=9, now=NOW)
        publisher = tokens.add(session, "p", name="p", now=NOW)
        assert reports.report(session, WRONG, by=publisher, now=NOW).dropped is not None


def test_tokens_of_one_machine_vouch_for_nothing(database: Database) -> None:
    with database.writing() as session:
        for number in range(4):
            entries.enter(session, (A,), by=at(session, 0, made=NOW - number * DAY), now=NOW)
        assert reports.report(session, WRONG, by=at(session, 1), now=NOW).dropped is not None


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
            said = reports.Finding(meta.etag.value, meta.info_hash.digest, f"after {hours} h")
            reports.report(session, said, by=publisher, now=moment)
        shown = reports.open_problems(session, limit=9, now=NOW + timedelta(hours=24, minutes=1))
        assert [reason for _, reason in shown] == ["after 1 h"]
        assert isinstance(session.get(PublisherToken, publisher.id), PublisherToken)


def test_a_doubt_is_a_notice_for_the_operator_and_nothing_else(api: Api, database: Database) -> None:
    api.publish(manifest(small("config.json")))
    said = {"repo_type": "model", "repo_id": "org/name", "commit": COMMIT, "path": "config.json", "reason": "another\x1b[2J etag"}
    assert api.post("doubts", said).get_json() == {"noted": True}
    assert api.post("doubts", {**said, "commit": "0" * 40}).status_code == 404
    assert api.post("doubts", said, token="x").status_code == 401
    with database.reading() as session:
        shown = reports.open_problems(session, limit=9, now=NOW)
        (entry,) = [one for one in audit.entries(session) if one.event == audit.DOUBTED]
    assert shown == [(f"org/name@{COMMIT}", "config.json: another?[2J etag")]
    assert entry.detail["path"] == "config.json"
    assert shown[0][1] in api.get("/").get_data(as_text=True)
    assert api.get(f"/api/v1/repos/model/org/name/revisions/{COMMIT}").status_code == 200
