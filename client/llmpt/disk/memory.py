"""What a process remembers in a SQLite file: used by several threads, and through damage and full disks.

What SQLite and the disk say against it is translated here, once, into `StateUnavailable`.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from llmpt.core.errors import StateUnavailable
from llmpt.disk.database import Way, connect, is_damaged, set_aside, unreadable

log = logging.getLogger("llmpt.disk")

Self = TypeVar("Self", bound="Memory")


class Memory:
    """Owns the file at `database`, with the tables of its class's `schema`; a context manager. Every method raises
    `StateUnavailable` when the file cannot be used that way."""

    schema = ""

    def __init__(self, database: Path, way: Way = Way.ORDINARY) -> None:
        self._lock = threading.RLock()
        self._database = database
        self._way, self._is_open = way, False
        try:
            with self._translated():
                self._connection = connect(database, way, self.schema)
                self._is_open = True
        except OSError as error:
            raise StateUnavailable(f"the state at {database} cannot be used: {error.strerror or error}") from error

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock, self._translated():
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the database for one thread: all of what happens inside is kept, or nothing when it raises."""
        with self._lock, self._translated():
            if self._way is Way.READING:
                self._write_from_now_on()
            sql = self._connection
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
                sql.execute("COMMIT")
            except BaseException:
                if sql.in_transaction:  # SQLite itself may have ended it, on a full disk
                    sql.execute("ROLLBACK")
                raise

    def _write_from_now_on(self) -> None:
        """A disk that was full, or could not be written, when the file was opened may have room again."""
        try:
            ordinary = connect(self._database, Way.ORDINARY, self.schema)
        except (OSError, sqlite3.Error):
            return
        self._connection.close()
        self._connection, self._way = ordinary, Way.ORDINARY
        log.info("%s can be written again", self._database)

    def _one(self, query: str, values: tuple[object, ...]) -> Any:
        with self._lock, self._translated():
            return self._connection.execute(query, values).fetchone()

    def _all(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._lock, self._translated():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            said = unreadable(error) if isinstance(error, UnicodeDecodeError) else error
            if self._is_open and is_damaged(said):
                self.begin_anew()
            raise StateUnavailable(f"the state at {self._database} cannot be used: {said}") from said

    def begin_anew(self) -> None:
        """Set the file aside and go on with an empty one: it is damaged. What was read of it goes on counting in this life."""
        self._connection.close()
        aside = set_aside(self._database)
        log.error("%s is damaged: it was set aside as %s, and is made anew", self._database, aside)
        try:
            self._connection = connect(self._database, Way.ORDINARY if aside else Way.NOWHERE, self.schema)
        except (OSError, sqlite3.Error):
            self._connection = connect(self._database, Way.NOWHERE, self.schema)
