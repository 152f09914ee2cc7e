"""`/healthz` is true only when the database and the announcer answer."""

from __future__ import annotations

from sqlalchemy import text

from llmpt_tracker.app import create_app
from llmpt_tracker.settings import TrackerSettings
from llmpt_tracker.version import VERSION
from tests.unit.tracker.conftest import NOW, Api, state_of
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


def test_what_the_announcer_cannot_do_again_and_again_is_named(api: Api, announcer: FakeAnnouncer) -> None:
    announcer.troubles = ("dropping silent peers: a bug",)
    answer = api.get("/healthz")
    assert answer.status_code == 503
    assert "dropping silent peers: a bug" in answer.get_json()["error"]["message"]


def test_a_lost_database_is_named(settings: TrackerSettings) -> None:
    app = create_app(settings, lambda: NOW, FakeAnnouncer())
    database = state_of(app).database
    with database.writing() as session:
        session.execute(text("drop table instance"))
    answer = app.test_client().get("/healthz")
    database.engine.dispose()
    assert answer.status_code == 503
    assert "database" in answer.get_json()["error"]["message"]
