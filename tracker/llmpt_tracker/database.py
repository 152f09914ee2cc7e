"""The database: one engine, short sessions, migrations run once by the parent.

SQLite is the embedded default: WAL, foreign keys on, a busy time-out, `synchronous` NORMAL. pysqlite's own idea of when a
transaction begins is switched off: a session that will write takes the write lock at its first statement, so that two
publishers wait for each other instead of failing half-way. Any other database comes by URL and keeps its own habits.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.orm import Session

from llmpt.core.errors import SettingError

BUSY_TIMEOUT_MS = 10_000
BACKUPS_KEPT = 3
_MIGRATIONS = Path(__file__).parent / "migrations"
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

    def migrate(self, *, backups: Path, now: datetime) -> str | None:
        """Bring the schema up to date. Returns the revision it came to, or None when there was nothing to do.

        A SQLite file that has something to lose is copied into `backups` before; the last few copies are kept. Raises
        `SettingError` when the database was made by a newer llmpt.
        """
        scripts = ScriptDirectory(str(_MIGRATIONS))
        head = scripts.get_current_head()
        with self.engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        if current == head:
            return None
        if current is not None:
            if current not in {script.revision for script in scripts.walk_revisions()}:
                raise SettingError(f"the database was made by a newer llmpt (its schema is {current!r}): update the tracker")
            self._back_up(backups, f"{now:%Y%m%dT%H%M%SZ}-before-{head}")
        with self.engine.begin() as connection:
            command.upgrade(_config(connection), "head")
        return head

    def _back_up(self, folder: Path, label: str) -> None:
        file = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not file or file == ":memory:":
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy = folder / f"tracker-{label}.db"
        with contextlib.closing(sqlite3.connect(file)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        copy.chmod(0o600)
        for old in sorted(folder.glob("tracker-*-before-*.db"))[:-BACKUPS_KEPT]:
            old.unlink()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


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
