"""Finding repos and files by words.

A file is found by the words of its repo's name and of its path: what stands between signs, in lower case. Each word that is
asked for must begin one of them. The words are kept beside each path of a repo, divided by blanks, and every database looks
them up in its own way: SQLite with FTS5, PostgreSQL with a GIN index over text vectors, others by reading all.

What is found comes in the order of its paths, the newest first: SQLite then reads as much of its index as a page takes, however
much there is. Beginnings of more letters than the index knows, and letters that it may not know, are looked at in the words.
"""

from __future__ import annotations

import re
from typing import Any
from unicodedata import ucd_3_2_0

from sqlalchemy import ColumnElement, and_, cast, literal, literal_column, select, table, true
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import Path
from llmpt_tracker.errors import Refused

MAX_TERMS = 16
MAX_QUESTION = 300

_WORD = re.compile(r"[^\W_]+")
_VECTOR = "array_to_tsvector(string_to_array(paths.words, ' '))"  # to the letter as the index has it
_INDEX = table("search")
_ROW: ColumnElement[int] = literal_column("search.rowid")
_PREFIX = 12  # letters: the longest beginning in SQLite's index


def words(repo: str, path: str) -> str:
    """Return the words by which a file is found."""
    return " ".join(dict.fromkeys(_WORD.findall(f"{repo} {path}".lower())))


def terms(question: str) -> tuple[str, ...]:
    """Read the words of a search. Raises `Refused` (400) when there is nothing in it to look for, or too much."""
    found = tuple(dict.fromkeys(_WORD.findall(question.lower())))
    if not found:
        raise Refused(400, "bad_request", "q: words to look for, such as `llama gguf`")
    if len(question) > MAX_QUESTION or len(found) > MAX_TERMS:
        raise Refused(400, "bad_request", f"q: at most {MAX_TERMS} words, {MAX_QUESTION} characters")
    return found


def newest(statement: Any, dialect: str, terms: tuple[str, ...], *, before: int | None = None) -> Any:
    """Let a statement select from the paths that are found by all `terms`, the newest first; `before`: older ones than that. Read
    of its rows no more than you need: yield_per is set."""
    statement = statement.execution_options(yield_per=200)
    match, rest = _split(terms)
    if dialect == "sqlite" and match:
        statement = statement.select_from(_INDEX).join(Path, Path.id == _ROW).order_by(_ROW.desc())
        statement = statement.where(_matches(match), has(rest))
        return statement if before is None else statement.where(before > _ROW)
    statement = statement.select_from(Path).where(condition(dialect, terms)).order_by(Path.id.desc())
    return statement if before is None else statement.where(Path.id < before)


def search(session: Session, terms: tuple[str, ...]) -> ColumnElement[bool]:
    """Return the condition that a `Path` is found by all `terms`, where all that are found are wanted."""
    return condition(session.get_bind().dialect.name, terms)


def condition(dialect: str, terms: tuple[str, ...]) -> ColumnElement[bool]:
    """Return `search`'s condition for a database of that name."""
    match, rest = _split(terms)
    if dialect == "sqlite" and match:
        return and_(Path.id.in_(select(literal_column("rowid")).select_from(_INDEX).where(_matches(match))), has(rest))
    if dialect == "postgresql":
        return literal_column(_VECTOR).op("@@")(cast(" & ".join(f"'{term}':*" for term in terms), TSQUERY))
    return has(terms)


def has(terms: tuple[str, ...]) -> ColumnElement[bool]:
    """Return the condition that a `Path` that is read is found by all `terms`: they hold letters and digits only."""
    return and_(true(), *((literal(" ") + Path.words).like(f"% {term}%") for term in terms))


def _matches(match: str) -> ColumnElement[bool]:
    return literal_column("search").op("MATCH")(match)


def _split(terms: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return what SQLite's index can say of the terms, and those that have to be looked at in the words."""
    match = " ".join(f'"{term[:_PREFIX]}"*' for term in terms if _is_indexed(term))
    return match, tuple(term for term in terms if len(term) > _PREFIX or not _is_indexed(term))


def _is_indexed(term: str) -> bool:
    """Say whether SQLite, which knows an older Unicode, takes a term for one word."""
    return all(ucd_3_2_0.category(letter)[0] in "LN" for letter in term)
