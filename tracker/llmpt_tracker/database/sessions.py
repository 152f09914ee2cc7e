"""The database: one engine, short sessions.

SQLite is the embedded default: WAL, foreign keys on, a busy time-out, `synchronous` NORMAL. pysqlite's own idea of when a
transaction begins is switched off: a session that will write takes the write lock at its first statement, so that two
publishers wait for each other instead of failing half-way. Any other database comes by URL and keeps its own habits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.orm import Session

BUSY_TIMEOUT_MS = 10_000
_WRITES = "llmpt_writes"


class Database:
    """Owner of the engine. A context manager: leaving it closes all connections."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exc: object) -> None:
        self.engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session whose statements all see one state; nothing is kept of it."""
        with Session(self.engine) as session:
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """Yield a session that is committed as a whole when the block ends well, and undone when it raises."""
        with Session(self.engine.execution_options(**{_WRITES: True})) as session, session.begin():
            yield session

    def ping(self) -> None:
        """Ask the database for something; raises SQLAlchemy's error when it does not answer."""
        with self.engine.connect() as connection:
            connection.execute(text("select 1 from instance"))


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
