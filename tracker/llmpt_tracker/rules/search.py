"""Finding repos and files by words.

A file is found by the words of its repo's name and of its path: what stands between signs, in lower case. Each word that is
asked for must begin one of them. The words are kept beside each path of a repo, divided by blanks, and every database looks
them up in its own way: SQLite with FTS5, PostgreSQL with a GIN index over text vectors, others by reading all.
"""

from __future__ import annotations

import re

from sqlalchemy import ColumnElement, and_, cast, literal, literal_column, select, table
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import Path
from llmpt_tracker.errors import Refused

MAX_TERMS = 16
MAX_QUESTION = 300

_WORD = re.compile(r"[^\W_]+")
_VECTOR = "array_to_tsvector(string_to_array(paths.words, ' '))"  # to the letter as the index has it
_INDEX = table("search")


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


def search(session: Session, terms: tuple[str, ...]) -> ColumnElement[bool]:
    """Return the condition that a `Path` is found by all `terms`."""
    return condition(session.get_bind().dialect.name, terms)


def condition(dialect: str, terms: tuple[str, ...]) -> ColumnElement[bool]:
    """Return `search`'s condition for a database of that name. Terms hold letters and digits only, so they need no escaping."""
    if dialect == "sqlite":
        found = literal_column("search").op("MATCH")(" ".join(f'"{term}"*' for term in terms))
        return Path.id.in_(select(literal_column("rowid")).select_from(_INDEX).where(found))
    if dialect == "postgresql":
        return literal_column(_VECTOR).op("@@")(cast(" & ".join(f"'{term}':*" for term in terms), TSQUERY))
    return and_(*((literal(" ") + Path.words).like(f"% {term}%") for term in terms))
