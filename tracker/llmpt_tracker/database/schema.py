"""Bring a database's schema up to date: the parent does it once, before anything is served.

The steps are in `migrations/` (alembic). A SQLite file that has something to lose is copied first.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from llmpt.core.errors import SettingError
from llmpt_tracker.database import copies
from llmpt_tracker.database.sessions import Database, translated

BACKUPS_KEPT = 3
MIGRATIONS = Path(__file__).parent / "migrations"


@translated()
def migrate(database: Database, *, backups: Path, now: datetime) -> str | None:
    """Bring the schema up to date. Returns the revision it came to, or None when there was nothing to do.

    A SQLite file is copied into `backups` before; the last few copies are kept. Raises `SettingError` when the database was
    made by a newer llmpt, `DatabaseUnavailable` when it cannot be used.
    """
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    current = current_revision(database)
    if current == head:
        return None
    if current is not None:
        if not is_known(current):
            raise SettingError(f"the database was made by a newer llmpt (its schema is {current!r}): update the tracker")
        _back_up(database.engine, backups, f"{now:%Y%m%dT%H%M%SZ}-before-{head}")
    with database.writing() as session:  # of several trackers that start at once, one does it
        command.upgrade(_config(session.connection()), "head")
    return head


def is_known(revision: str) -> bool:
    """Whether a database at that step can be used, or brought up to date."""
    return revision in {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


@translated()
def check(database: Database) -> None:
    """Raise `DatabaseUnavailable` when a SQLite file is damaged: it is looked through, some hundred megabytes in a second."""
    if database.engine.dialect.name != "sqlite":
        return
    with database.engine.connect() as connection:
        said = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    if said != "ok":
        raise sqlite3.DatabaseError(f"it is damaged: {said}")


def current_revision(database: Database) -> str | None:
    """Return the step that the database is at; None for an empty one."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _back_up(engine: Engine, folder: Path, label: str) -> None:
    file = engine.url.database
    if engine.dialect.name != "sqlite" or not file or file == ":memory:":
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    copies.copy(Path(file), folder / f"tracker-{label}.db")
    for old in sorted(folder.glob("tracker-*-before-*.db"))[:-BACKUPS_KEPT]:
        old.unlink()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
