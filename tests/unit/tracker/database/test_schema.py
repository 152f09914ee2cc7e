"""Models and migrations agree; a database is copied before it is changed; a newer one is left alone."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from llmpt.core.errors import SettingError
from llmpt_tracker.database import schema
from llmpt_tracker.database.models import Base
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import DatabaseUnavailable
from llmpt_tracker.rules import tokens
from llmpt_tracker.rules.catalogue import repos
from tests.support.postgresql import PostgresProcess
from tests.unit.tracker.conftest import NOW


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tracker.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, file: Path) -> Iterator[Database]:
    """An empty database, of each kind."""
    url = f"sqlite:///{file}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").create(f"t{uuid.uuid4().hex}")
    with Database(url) as database:
        yield database


@pytest.fixture
def migrated_postgresql(postgresql: PostgresProcess) -> str:
    """The URL of a PostgreSQL database of the test's own, migrated."""
    return postgresql.create(f"t{uuid.uuid4().hex}", template="migrated")


def migrate(file: Path) -> str | None:
    with Database(f"sqlite:///{file}") as database:
        return schema.migrate(database, backups=file.parent / "backups", now=NOW)


def is_ours(name: str | None, _kind: str, _parents: object) -> bool:
    """Leave out the index of words, which is no model's: in SQLite it is several tables that begin alike."""
    return not str(name).startswith("search") and name != "ix_paths_words"


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_models_and_migrations_agree(empty: Database, tmp_path: Path) -> None:
    schema.migrate(empty, backups=tmp_path, now=NOW)
    with empty.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_name": is_ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_each_step_leads_up_and_down_again(empty: Database) -> None:
    steps = [one.revision for one in ScriptDirectory(str(schema.MIGRATIONS)).walk_revisions()]  # the newest first
    made: dict[str, object] = {}
    for step in reversed(steps):
        with empty.writing() as session:
            command.upgrade(schema._config(session.connection()), step)
        made[step] = _described(empty)
    for step in [*steps[1:], "base"]:
        with empty.writing() as session:
            command.downgrade(schema._config(session.connection()), step)
        assert _described(empty) == made.get(step, {}), step
    with empty.writing() as session:
        command.upgrade(schema._config(session.connection()), "head")
    assert _described(empty) == made[steps[0]]


def test_of_two_that_start_at_once_one_makes_the_tables(empty: Database, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        starts = [pool.submit(schema.migrate, empty, backups=tmp_path, now=NOW) for _ in range(3)]
        assert {one.result() for one in starts} <= {schema.current_revision(empty), None}
    assert _instance(empty)


def test_a_reader_of_postgresql_sees_one_state_and_a_writer_is_alone(migrated_postgresql: str) -> None:
    with Database(migrated_postgresql, busy_timeout_ms=20) as database, database.reading() as session:
        before = repos.instance_id(session)
        with database.writing() as writer:
            writer.execute(text("update instance set uuid = 'x'"))
            with pytest.raises(DatabaseUnavailable, match="busy") as refusal, database.writing() as second:
                second.execute(text("select 1"))
            assert refusal.value.code == "database_busy"
        assert repos.instance_id(session) == before
        assert _instance(database) == "x"


def test_a_postgresql_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with (
        Database(f"postgresql+psycopg://u@/d?host={tmp_path}") as database,
        pytest.raises(DatabaseUnavailable, match="try again"),
    ):
        database.ping()


@pytest.mark.parametrize(("url", "said"), [("postgresql+pg8000://u@h/d", "pip install"), ("no+such://h/d", "names no database")])
def test_a_database_that_is_unknown_or_has_no_driver_is_a_wrong_setting(url: str, said: str) -> None:
    with pytest.raises(SettingError, match=f"LLMPT_DATABASE_URL.*{said}"):
        Database(url)


def test_an_empty_database_is_made_without_a_copy(file: Path) -> None:
    assert migrate(file) == "0015"
    assert migrate(file) is None
    assert not (file.parent / "backups").exists()


def test_a_database_is_copied_before_it_changes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(file)
    with Database(f"sqlite:///{file}") as database:
        instance = _instance(database)
        # What a pending migration would do, without having one: an unknown head that cannot be run.
        monkeypatch.setattr(ScriptDirectory, "get_current_head", lambda _self: "9998")
        monkeypatch.setattr(command, "upgrade", lambda *_: None)
        for minute in range(5):
            schema.migrate(database, backups=file.parent / "backups", now=NOW.replace(minute=minute))
    copies = sorted((file.parent / "backups").iterdir())
    assert len(copies) == schema.BACKUPS_KEPT
    assert copies[-1].stat().st_mode & 0o777 == 0o600
    with Database(f"sqlite:///{copies[-1]}") as copy:
        assert _instance(copy) == instance


def test_a_database_of_a_newer_version_is_not_touched(file: Path) -> None:
    migrate(file)
    with sqlite3.connect(file) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()
    with pytest.raises(SettingError, match="newer llmpt"):
        migrate(file)


def test_the_seeders_token_of_an_older_database_is_told_by_its_name_for_the_last_time(file: Path) -> None:
    columns = "id, name, scope, sha256, created_at"
    sql = text(f"insert into publisher_tokens ({columns}) values (:key, :name, :scope, :sha256, :now)")
    rows = [(tokens.APPLIANCE, "publish"), (tokens.APPLIANCE, "share"), ("ann", "publish")]
    with Database(f"sqlite:///{file}") as database, database.engine.begin() as connection:
        command.upgrade(schema._config(connection), "0004")
        for key, (name, scope) in enumerate(rows):
            connection.execute(sql, {"key": key, "name": name, "scope": scope, "sha256": str(key), "now": NOW})
    migrate(file)
    with Database(f"sqlite:///{file}") as database, database.reading() as session:
        assert [(one.name, one.scope) for one in tokens.listed(session) if one.appliance] == [(tokens.APPLIANCE, "publish")]


def test_tokens_and_refs_of_an_older_database_keep_what_they_had(file: Path) -> None:
    """An upgrade changes nothing that works: such a token is for all repos and for ever, and a ref stays its publisher's."""
    with Database(f"sqlite:///{file}") as database, database.engine.begin() as connection:
        command.upgrade(schema._config(connection), "0006")
        values = {
            "now": NOW,
            "sha": tokens.digest("old"),
            "commit": "1" * 40,
            "hash": b"h" * 32,
            "swarm": b"s" * 20,
            "data": b"x" * 99,
        }
        for sql in (
            "insert into publisher_tokens (id, name, scope, sha256, created_at) values (7, 'ann', 'publish', :sha, :now)",
            "insert into holders (bit, token_id, name) values (5, 7, 's1')",
            "insert into repos (id, type, name) values (1, 'model', 'org/m')",
            'insert into revisions (id, repo_id, "commit", complete, published_at) values (1, 1, :commit, 1, :now)',
            "insert into refs (repo_id, name, revision_id, holders, setter) values (1, 'main', 1, 32, 32), (1, 'v1', 1, 0, 0)",
            "insert into blobs (id, etag, size, info_hash, swarm, published_at) values (1, 'e', 1, :hash, :swarm, :now)",
            "insert into metainfo (blob_id, data) values (1, :data)",
        ):
            connection.execute(text(sql), values)
    migrate(file)
    with Database(f"sqlite:///{file}") as database, database.reading() as session:
        token = tokens.authenticate(session, "Bearer old", now=NOW.replace(year=2100))
        assert (token.id, token.repos, token.expires_at) == (7, None, None)
        assert dict(session.execute(text("select name, token_id from refs")).all()) == {"main": 7, "v1": None}
        assert session.scalar(text("select metainfo_bytes from blobs")) == 99


def test_two_databases_are_two_instances(tmp_path: Path) -> None:
    ids = set()
    for name in ("a.db", "b.db"):
        migrate(tmp_path / name)
        with Database(f"sqlite:///{tmp_path / name}") as database:
            ids.add(_instance(database))
    assert len(ids) == 2


def test_sqlite_is_set_up_for_readers_beside_a_writer(file: Path) -> None:
    migrate(file)
    with Database(f"sqlite:///{file}") as database, database.reading() as session:
        pragmas = {name: session.scalar(text(f"pragma {name}")) for name in ("journal_mode", "foreign_keys", "synchronous")}
        assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1}
        before = repos.instance_id(session)
        with database.writing() as writer:  # while the other session reads
            writer.execute(text("update instance set uuid = 'x'"))
        assert repos.instance_id(session) == before  # one moment for all statements


def test_a_session_that_will_write_has_the_lock_from_its_first_statement(file: Path) -> None:
    migrate(file)
    with Database(f"sqlite:///{file}") as database, database.writing() as session:
        session.execute(text("select 1"))
        with sqlite3.connect(file, timeout=0) as other, pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("begin immediate")
        other.close()


def test_a_writing_session_that_fails_leaves_nothing(file: Path) -> None:
    migrate(file)
    with Database(f"sqlite:///{file}") as database:
        before = _instance(database)
        with pytest.raises(DatabaseUnavailable), database.writing() as session:
            _change_and_fail(session)
        assert _instance(database) == before


def test_a_writer_that_waits_too_long_for_another_is_told_that_the_database_is_busy(file: Path) -> None:
    migrate(file)
    with Database(f"sqlite:///{file}", busy_timeout_ms=20) as database, database.writing() as first:
        first.execute(text("select 1"))
        with pytest.raises(DatabaseUnavailable, match="busy") as refusal, database.writing() as second:
            second.execute(text("select 1"))
        assert refusal.value.code == "database_busy"


def test_a_file_that_is_no_database_is_an_error_in_a_sentence(file: Path) -> None:
    file.write_bytes(b"not a database" * 1000)
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        migrate(file)


def _change_and_fail(session: Session) -> None:
    session.execute(text("update instance set uuid = 'x'"))
    session.execute(text("insert into instance (id) values (1)"))


def _described(database: Database) -> dict[str, object]:
    """Return the columns and indexes of each table but alembic's."""
    with database.engine.connect() as connection:
        looked = inspect(connection)
        return {
            table: (
                sorted((column["name"], str(column["type"]), column["nullable"]) for column in looked.get_columns(table)),
                sorted((str(index["name"]), bool(index["unique"])) for index in looked.get_indexes(table)),
            )
            for table in looked.get_table_names()
            if table != "alembic_version"
        }


def _instance(database: Database) -> str:
    with database.reading() as session:
        return repos.instance_id(session)
