"""What fails inside is told outside in a sentence, in the shape that the asked route speaks, and never as a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text

from llmpt_tracker.app import create_app
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.bodies import big, manifest, packed, torrent
from tests.unit.tracker.conftest import NOW, Api, publisher, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs


@pytest.fixture
def own(settings: TrackerSettings) -> Iterator[Flask]:
    """An application that a test may break."""
    app = create_app(settings, lambda: NOW, FakeAnnouncer(), blobs=FakeBlobs())
    yield app
    state_of(app).database.engine.dispose()


def test_a_full_disk_is_told_to_the_publisher_and_the_catalogue_goes_on(own: Flask) -> None:
    api = publisher(own)
    engine = state_of(own).database.engine
    engine.dispose()
    event.listen(engine, "connect", _full)
    many = [torrent(f"blob {number}") for number in range(200)]
    answer = api.publish(manifest(*(big(f"{one.etag}.bin", one) for one in many), torrents=packed(*many)))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.get_json()["error"]["code"] == "disk_full"
    assert "LLMPT_DATA" in answer.get_json()["error"]["message"]
    assert api.torrents() == []


@pytest.mark.parametrize("path", ["/", "/api/v1/torrents", "/api/models/org/name", "/org/name/resolve/main/config.json"])
def test_a_lost_table_is_no_traceback_to_the_asker(own: Flask, path: str, caplog: pytest.LogCaptureFixture) -> None:
    with state_of(own).database.writing() as session:
        session.execute(text("drop table files"))
        session.execute(text("drop table repos"))
    answer = Api(own, "").get(path)
    assert answer.status_code == 503
    said = answer.get_data(as_text=True)
    assert "the database does not answer" in said
    assert "Traceback" not in said
    assert "no such table" not in said
    assert "no such table" in caplog.text, "the operator's log says what happened"


def _full(connection: Any, _record: Any) -> None:
    connection.execute("pragma max_page_count = 1")  # SQLite takes the present size for it
