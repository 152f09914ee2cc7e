"""A SQLite file, opened as well as it can be: what is remembered is worth less than what runs.

    inventory, trouble = opened(lambda way: Inventory(database, way), database)

A file that is no database, or that cannot be read, is set aside and made anew. On a full disk what is known is read, and
what is new is kept as soon as there is room. Where nothing can be written, or nothing at all be had, the process remembers in
memory what is new.
"""

from __future__ import annotations

import enum
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from llmpt.core.errors import StateUnavailable

log = logging.getLogger("llmpt.disk")

T = TypeVar("T")

BUSY_TIMEOUT_S = 10.0  # while another process writes
ASIDE = ".bad"
LEAST_FREE_BYTES = 1 << 20


class Way(enum.Enum):
    """How a file is opened.

    ORDINARY: to be shared with other processes
    ALONE: without the file by which processes share it: a full disk has no room for that
    READING: never to be written to
    NOWHERE: not at all; what is new is forgotten at the end
    """

    ORDINARY = "ordinary"
    ALONE = "alone"
    READING = "reading"
    NOWHERE = "nowhere"


def connect(database: Path, way: Way, schema: str) -> sqlite3.Connection:
    """Open a database that has the tables of `schema`; raise `OSError` or `sqlite3.Error`, also for what is damaged."""
    if way is Way.READING:
        target = f"{database.absolute().as_uri()}?mode=ro&immutable=1"
    elif way is Way.NOWHERE:
        target = "file::memory:"
    else:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database.touch(mode=0o600)  # it names repos and paths; SQLite gives its own files the same mode
        target = database.absolute().as_uri()
    connection = sqlite3.connect(target, timeout=BUSY_TIMEOUT_S, check_same_thread=False, isolation_level=None, uri=True)
    try:
        if way is Way.ALONE:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        if way is not Way.READING:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(schema)
    except sqlite3.Error:
        connection.close()
        raise
    except UnicodeDecodeError as error:
        connection.close()
        raise unreadable(error) from error
    return connection


def unreadable(error: UnicodeDecodeError) -> sqlite3.DatabaseError:
    """Return the error that SQLite meant with a message that Python cannot read: it quotes the bytes of a damaged file."""
    return sqlite3.DatabaseError(f"malformed: its bytes are no text ({error.reason})")


def opened(make: Callable[[Way], T], database: Path) -> tuple[T, str | None]:
    """Return what `make` makes of the file at `database` (it raises `StateUnavailable` caused by what SQLite or the disk said),
    and what is wrong with the file, None for nothing."""
    try:
        return make(Way.ORDINARY), None
    except StateUnavailable as error:
        first = error
    log.warning("%s", first)
    for way, words in _ways(first, database):
        try:
            made = make(way)
        except StateUnavailable as error:
            log.debug("%s: %s", way, error)
        else:
            log.error("%s", words)
            return made, words
    raise first


def is_damaged(error: BaseException | None) -> bool:
    """Whether SQLite says that a file is no database, or not one of ours."""
    odd = ("no such column", "has no column", "malformed")
    return isinstance(error, sqlite3.DatabaseError) and (
        type(error) is sqlite3.DatabaseError or any(words in str(error) for words in odd)
    )


def set_aside(database: Path) -> Path | None:
    """Rename a file that cannot be used, with what belongs to it; return its name now, None when that cannot be done."""
    aside = database.with_name(database.name + ASIDE)
    try:
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        database.replace(aside)
        for suffix in ("-wal", "-shm"):
            beside = database.with_name(database.name + suffix)
            if os.path.lexists(beside):
                beside.replace(f"{aside}{suffix}")
    except OSError as error:
        log.warning("%s cannot be set aside: %s", database, error.strerror)
        return None
    return aside


def _ways(error: StateUnavailable, database: Path) -> Iterator[tuple[Way, str]]:
    cause = error.__cause__
    keep = not is_damaged(cause) and _is_full_or_busy(cause, database)
    if not is_damaged(cause):
        if keep:
            yield Way.ALONE, f"{error}; what is known counts, and what is new is kept as soon as there is room"
        yield Way.READING, f"{error}; what is known counts, and what is new is kept as soon as it can be written"
    if not keep and os.path.lexists(database) and (aside := set_aside(database)) is not None:
        yield (
            Way.ORDINARY,
            f"{error}; it was set aside as {aside}, which may be removed, and is made anew: each file is read again",
        )
    yield Way.NOWHERE, f"{error}; make it a file that can be written: until then what is new is forgotten at the end"


def _is_full_or_busy(cause: BaseException | None, database: Path) -> bool:
    """Whether the file may be as good as ever: there is no room beside it, or another process uses it."""
    words = str(cause)
    if "I/O" in words:  # on a full disk, too
        try:
            return shutil.disk_usage(database.parent).free < LEAST_FREE_BYTES
        except OSError:
            return False
    return any(sign in words for sign in ("full", "locked", "No space", "quota"))
