"""An application over a migrated SQLite file, an announcer that is a fake, and a client that holds a token."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from llmpt_tracker.app import create_app
from llmpt_tracker.database import schema
from llmpt_tracker.database.models import Base
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import tokens
from llmpt_tracker.settings import TrackerSettings
from llmpt_tracker.state import State
from tests.support.postgresql import PostgresProcess, programs
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


class Api:
    """The application as a program on the LAN sees it."""

    def __init__(self, app: Flask, token: str) -> None:
        self.client: FlaskClient = app.test_client()
        self.token = token

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.client.get(path, **more)

    def publish(self, body: Any, *, token: str | None = None) -> TestResponse:
        """Publish `body` (bytes go as they are) with the valid token, or with `token`."""
        return self.send("POST", "/api/v1/publish", body, token)

    def beat(self, body: Any, *, seeder: str = "server", token: str | None = None) -> TestResponse:
        """Send the heartbeat of a seeder."""
        return self.send("PUT", f"/api/v1/seeders/{seeder}", body, token)

    def post(self, path: str, body: Any, *, token: str | None = None) -> TestResponse:
        """Post `body` to a route of the API."""
        return self.send("POST", f"/api/v1/{path}", body, token)

    def torrents(self, **query: Any) -> list[dict[str, Any]]:
        """Return a page of torrents."""
        answer = self.get("/api/v1/torrents", query_string=query)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        found: list[dict[str, Any]] = answer.get_json()["torrents"]
        return found

    def send(self, method: str, path: str, body: Any, token: str | None = None) -> TestResponse:
        """Send `body` as JSON (bytes go as they are) with the valid token, or with `token`."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        header = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return self.client.open(path, method=method, data=data, headers=header)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database file, to be copied."""
    file = tmp_path_factory.mktemp("database") / "tracker.db"
    with Database(f"sqlite:///{file}") as database:
        schema.migrate(database, backups=file.parent, now=NOW)
    return file


@pytest.fixture
def settings(migrated: Path, tmp_path: Path) -> TrackerSettings:
    """Settings of a tracker of the test's own."""
    shutil.copy(migrated, tmp_path / "tracker.db")
    return TrackerSettings.read({"LLMPT_DATA": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "none")})


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresProcess]:
    """A PostgreSQL with one database, `migrated`: a template, to which nothing is connected."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    with PostgresProcess() as process:
        with Database(process.create("migrated")) as database:
            schema.migrate(database, backups=process.folder, now=NOW)
        yield process


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is about the catalogue on both databases, and the rest on SQLite."""
    if "shared_app" in metafunc.fixturenames:
        both = metafunc.definition.path.parent.name in ("hub", "rules")
        metafunc.parametrize("shared_app", ["sqlite", *(["postgresql"] if both else [])], indirect=True, scope="session")


@pytest.fixture(scope="session")
def applications() -> Iterator[dict[str, Flask]]:
    """The applications that were made, by their database: they outlive the tests of another one that come between."""
    made: dict[str, Flask] = {}
    yield made
    for app in made.values():
        state_of(app).database.engine.dispose()


@pytest.fixture(scope="session")
def shared_app(
    request: pytest.FixtureRequest, applications: dict[str, Flask], migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Flask:
    """One application for all tests, on each database: a new one would compile every statement anew."""
    if request.param not in applications:
        data = tmp_path_factory.mktemp("data")
        environ = {"LLMPT_DATA": str(data), "XDG_CONFIG_HOME": str(data)}
        if request.param == "sqlite":
            shutil.copy(migrated, data / "tracker.db")
        else:
            environ["LLMPT_DATABASE_URL"] = request.getfixturevalue("postgresql").create("app", template="migrated")
        settings = TrackerSettings.read(environ)
        applications[request.param] = create_app(settings, lambda: NOW, FakeAnnouncer(), blobs=FakeBlobs())
    return applications[request.param]


@pytest.fixture
def announcer(shared_app: Flask) -> FakeAnnouncer:
    """The announcer of `app`, who knows nothing yet."""
    fake = state_of(shared_app).announcer
    assert isinstance(fake, FakeAnnouncer)
    fake.forget()
    return fake


@pytest.fixture
def blobs(shared_app: Flask) -> FakeBlobs:
    """The blob servers of `app`, which have nothing yet."""
    fake = state_of(shared_app).blobs
    assert isinstance(fake, FakeBlobs)
    fake.forget()
    return fake


@pytest.fixture
def app(shared_app: Flask, announcer: FakeAnnouncer) -> Flask:
    """The application as if nothing had happened yet."""
    with state_of(shared_app).database.writing() as session:
        emptied = [f"delete from {table.name}" for table in reversed(Base.metadata.sorted_tables) if table.name != "instance"]
        if session.get_bind().dialect.name == "postgresql":  # at once; and SQLite counts from 1 again by itself
            emptied = [
                f"do $$ begin {'; '.join(emptied)}; perform setval(oid, 1, false) from pg_class where relkind = 'S'; end $$"
            ]
        for statement in emptied:
            session.execute(text(statement))
    state_of(shared_app).holdings.forget()
    state_of(shared_app).figures.forget()
    return shared_app


@pytest.fixture
def database(app: Flask) -> Database:
    return state_of(app).database


@pytest.fixture
def api(app: Flask) -> Api:
    return publisher(app)


def publisher(app: Flask) -> Api:
    """Return a client of `app` that holds a token."""
    secret = tokens.new_secret()
    with state_of(app).database.writing() as session:
        tokens.add(session, secret, name="a seeder", now=NOW)
    return Api(app, secret)


def state_of(app: Flask) -> State:
    """Return what the application was built from."""
    found: State = app.extensions["llmpt"]
    return found
