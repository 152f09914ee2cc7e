"""The database: one engine, short sessions.

SQLite is the embedded default: WAL, foreign keys on, a busy time-out, `synchronous` NORMAL. pysqlite's own idea of when a
transaction begins is switched off: a session that will write takes the write lock at its first statement, so that two
publishers wait for each other instead of failing half-way.

PostgreSQL comes by URL, and is held to the same: one writer at a time, whichever replica of the tracker it is of, by a lock of
the database that ends with the transaction; and a session that reads sees one state. Any other database keeps its own habits.

What a database says no with is translated here and nowhere else: outside, it is `DatabaseUnavailable`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from llmpt.core.errors import SettingError
from llmpt_tracker.errors import DatabaseUnavailable

BUSY_TIMEOUT_MS = 10_000
CONNECT_TIMEOUT_S = 5
_WRITES = "llmpt_writes"
_WRITERS = 0x6C6C6D7074  # the key of PostgreSQL's lock that a writer holds

# What SQLite and PostgreSQL say, the code of the answer, and the sentence that helps.
_WORDS = (
    ("database is locked", "database_busy", "the database is busy with another writer; try again in a moment"),
    ("due to lock timeout", "database_busy", "the database is busy with another writer; try again in a moment"),
    ("disk is full", "disk_full", "the disk of the tracker's database is full: make room there (LLMPT_DATA), then try again"),
    ("No space left on device", "disk_full", "the disk of the tracker's database is full: make room there, then try again"),
    (
        "readonly database",
        "database_unavailable",
        "the database cannot be written: see who owns the files in LLMPT_DATA",
    ),
    (
        "malformed",
        "database_unavailable",
        "the database does not answer, its file is damaged: start the tracker anew, and it says what to do",
    ),
    (
        "not a database",
        "database_unavailable",
        "the database does not answer, its file is damaged: start the tracker anew, and it says what to do",
    ),
)


class Database:
    """Owner of the engine. A context manager: leaving it closes all connections.

    `busy_timeout_ms`: how long a writer waits for another one. Raises `SettingError` when the URL names nothing that is known.
    """

    def __init__(self, url: str, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        try:
            self.engine = _engine(url, busy_timeout_ms)
        except ModuleNotFoundError as error:
            raise SettingError(f"LLMPT_DATABASE_URL needs {error.name}: for PostgreSQL pip install 'llmpt[postgresql]'") from None
        except (ArgumentError, NoSuchModuleError) as error:
            raise SettingError(f"LLMPT_DATABASE_URL names no database: {error}") from None
        except ValueError:  # a port that is none
            raise SettingError("LLMPT_DATABASE_URL names no database: write postgresql://user:password@host:5432/name") from None
        is_postgresql = self.engine.dialect.name == "postgresql"
        one_state = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if is_postgresql else {}
        self._reading = self.engine.execution_options(**one_state)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exc: object) -> None:
        self.engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session whose statements all see one state; nothing is kept of it."""
        with translated(), Session(self._reading) as session:
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """Yield a session that is committed as a whole when the block ends well, and undone when it raises."""
        engine = self.engine.execution_options(**{_WRITES: True})
        with translated(), Session(engine) as session, session.begin():
            yield session

    def ping(self) -> None:
        """Ask the database for something; raises `DatabaseUnavailable` when it does not answer."""
        with translated(), self.engine.connect() as connection:
            connection.execute(text("select 1 from instance"))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise `DatabaseUnavailable`, with the database's own error as its cause, for whatever a database says no with."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError) as error:  # the last: of a damaged file SQLite quotes its bytes
        said = str(error)
        for words, code, message in _WORDS:
            if words in said:
                raise DatabaseUnavailable(message, code=code) from error
        raise DatabaseUnavailable("the database does not answer; try again in a moment") from error


def _engine(url: str, busy_timeout_ms: int) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        waits = {} if "connect_timeout" in parsed.query else {"connect_timeout": CONNECT_TIMEOUT_S}
        engine = create_engine(url, pool_pre_ping=True, connect_args=waits if parsed.get_driver_name() == "psycopg" else {})
        event.listen(engine, "begin", partial(_begin_postgresql, f"{busy_timeout_ms}ms"))
        return engine
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": busy_timeout_ms / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(timeout: str, connection: Connection) -> None:
    if connection.get_execution_options().get(_WRITES):
        connection.execute(text("select set_config('lock_timeout', :timeout, true)"), {"timeout": timeout})
        connection.execute(text("select pg_advisory_xact_lock(:writers)"), {"writers": _WRITERS})
