"""Copies of a SQLite file: taken while others write, each of them one moment of it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

BUSY_TIMEOUT_S = 10.0


def copy(file: Path, target: Path) -> None:
    """Copy the database in `file` into `target`, which is made (mode 0600): one file that needs no other beside it.

    What is committed when the copy begins is in it; writers are not held up. Nothing is left of one that fails. Raises
    `sqlite3.Error`, and `OSError` when `target` is there.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    uri = f"file:{quote(str(file.absolute()))}?mode=rw"  # to read alone would not do: it has a -shm beside it
    try:
        with (
            contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as source,
            contextlib.closing(sqlite3.connect(target, timeout=BUSY_TIMEOUT_S)) as copied,
        ):
            source.backup(copied)  # in one step: in several, each write of others would begin it anew
            copied.execute("PRAGMA journal_mode=DELETE")
    except BaseException:
        for suffix in ("", "-journal", "-wal", "-shm"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        raise


def check(file: Path, *, thoroughly: bool = False) -> None:
    """Raise `sqlite3.DatabaseError` when the file is damaged, which nothing else has open."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        (said,) = database.execute("PRAGMA integrity_check(1)" if thoroughly else "PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise sqlite3.DatabaseError(f"it is damaged: {said}")


def revision(file: Path) -> str:
    """Return the step (`schema`) that the database in `file` is at. Raises `sqlite3.Error` when it is not one of ours."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        found: list[tuple[str]] = database.execute("SELECT version_num FROM alembic_version").fetchall()
    if not found:
        raise sqlite3.DatabaseError("it is an empty database")
    return found[0][0]


def settle(file: Path, aside: Path) -> None:
    """See to it that another database can take the place of `file`, which nothing else has open.

    What lies in the -wal beside it comes into it. Where that cannot be done, that goes beside `aside`: SQLite would take it
    for the other one's. Raises `OSError`.
    """
    if not os.path.lexists(wal := file.with_name(f"{file.name}-wal")):
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for left in (wal, file.with_name(f"{file.name}-shm")):
        if os.path.lexists(left):
            left.replace(aside.with_name(aside.name + left.name.removeprefix(file.name)))
