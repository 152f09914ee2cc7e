"""What the tracker keeps in LLMPT_DATA, and a sentence where it cannot be used: the file, what it holds, what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from llmpt.core.errors import StateUnavailable
from llmpt_tracker.database import schema
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import DatabaseUnavailable
from llmpt_tracker.settings import TrackerSettings

_PASSING = ("database_busy", "disk_full")  # the file is well, and the sentence says all


def open_database(settings: TrackerSettings, *, now: datetime) -> tuple[Database, str | None]:
    """Return the database, migrated, and the schema to which it came (None: it was there already).

    Raises `StateUnavailable` when the file cannot be used, `DatabaseUnavailable` when it is busy or the disk is full, or when a
    database of another kind does not answer.
    """
    file = settings.sqlite_file
    database = Database(settings.database_location)
    if settings.database_url:
        return database, schema.migrate(database, backups=settings.data / "backups", now=now)
    with usable(file, "the catalogue, tokens, and what is to be fetched", _mend(settings.data / "backups")):
        try:
            came_to = schema.migrate(database, backups=settings.data / "backups", now=now)
            schema.check(database)
        except DatabaseUnavailable as error:
            database.engine.dispose()
            if error.code in _PASSING:
                raise
            raise OSError(errno.EIO, _reason(error), str(file)) from error
        if file.stat().st_mode & 0o777 != 0o600:
            file.chmod(0o600)
    return database, came_to


@contextlib.contextmanager
def usable(file: Path, holds: str, mend: str) -> Iterator[None]:
    """Raise `StateUnavailable`, with what the file holds and what mends it, for what the operating system says no with."""
    try:
        yield
    except OSError as error:
        named = Path(error.filename) if isinstance(error.filename, (str, os.PathLike)) else file
        if file.is_dir():
            reason, mend = "it is a folder", "remove that folder, or mount the data folder and not a single file"
        elif isinstance(error, PermissionError) or (file.exists() and not os.access(file, os.R_OK | os.W_OK)):
            reason, mend = f"user {os.geteuid()} may not use it", f"make it that user's: chown {os.geteuid()} {file}*"
        else:
            reason = error.strerror or str(error)
        where = "" if named in (file, Path()) or str(named).startswith(f"{file.parent}/.") else f" ({named})"
        raise StateUnavailable(f"{file} cannot be used: {reason}{where}. It holds {holds}; {mend}") from error


def _mend(backups: Path) -> str:
    copies = f"a copy from {backups}" if any(backups.glob("*.db")) else "a copy that you made"
    return (
        f"put {copies} in its place, or move it away with its -wal and -shm: a new one is made, the seeder publishes all anew, "
        "and what is lost are counts, and tokens and invitations made by hand"
    )


def _reason(error: DatabaseUnavailable) -> str:
    cause = error.__cause__
    return str(getattr(cause, "orig", None) or cause or error)
