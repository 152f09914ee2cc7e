"""What columns are made of: names that every database agrees on, keys, and moments."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import BigInteger, Dialect, Index, Integer, TypeDecorator, text
from sqlalchemy import DateTime as SqlDateTime
from sqlalchemy.engine.default import DefaultExecutionContext

# Names that every database agrees on, so that a later migration can drop what an earlier one made.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only in a column that is an INTEGER


class Utc(TypeDecorator[datetime]):
    """A moment: aware and UTC in Python, whatever the database keeps."""

    impl = SqlDateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(timezone.utc) if value is not None else None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def folded_name(row: DefaultExecutionContext) -> str:
    """Return the name of a row that is entered in lower case."""
    name: str = row.get_current_parameters()["name"]  # type: ignore[no-untyped-call]
    return name.lower()


def away_index() -> Index:
    """Return the index of the files that no machine has now, which are few."""
    away = text("holders = 0")
    return Index("ix_files_away", "revision_id", "blob_id", sqlite_where=away, postgresql_where=away)
