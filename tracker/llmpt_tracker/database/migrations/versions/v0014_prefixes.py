"""SQLite's index of words by every beginning of up to 12 letters, so that of what has many a page is read, and not all of it."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_INDEX = """create virtual table search using fts5
(words, content='paths', content_rowid='id', tokenize='unicode61 remove_diacritics 0', detail=none, columnsize=0,
prefix='1 2 3 4 5 6 7 8 9 10 11 12')"""

_BEFORE = """create virtual table search using fts5
(words, content='paths', content_rowid='id', tokenize='unicode61 remove_diacritics 0', prefix='2 3')"""


def upgrade() -> None:
    _make(_INDEX)


def downgrade() -> None:
    _make(_BEFORE)


def _make(index: str) -> None:
    if op.get_bind().dialect.name == "sqlite":  # the triggers name the table, and find the new one
        op.execute("drop table search")
        op.execute(index)
        op.execute("insert into search (search) values ('rebuild')")
