"""`/healthz` is true only when the database and the announcer answer."""

from __future__ import annotations

from llmpt_tracker.database import Database
from llmpt_tracker.version import VERSION
from tests.unit.tracker.conftest import Api
from tests.unit.tracker.fakes import FakeAnnouncer


def test_all_is_well(api: Api) -> None:
    answer = api.get("/healthz")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok", "boot_id": "boot-1", "version": VERSION})


def test_a_dead_announcer_is_named(api: Api, announcer: FakeAnnouncer) -> None:
    announcer.down = True
    answer = api.get("/healthz")
    assert answer.status_code == 503
    assert "announcer" in answer.get_json()["error"]["message"]


def test_an_announcer_that_has_not_opened_its_port_is_not_healthy(api: Api, announcer: FakeAnnouncer) -> None:
    announcer.is_open = False
    assert api.get("/healthz").status_code == 503


def test_a_lost_database_is_named(api: Api, database: Database) -> None:
    with database.writing() as session:
        session.connection().exec_driver_sql("drop table instance")
    answer = api.get("/healthz")
    assert answer.status_code == 503
    assert "database" in answer.get_json()["error"]["message"]
