"""The paths of each repo with the words by which they are found, and the database's own index of these words."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BATCH = 1000
_WORD = re.compile(r"[^\W_]+")

# The index keeps no copy of the words: they stand in `paths`, and triggers tell it what comes and goes.
_SQLITE = (
    """create virtual table search using fts5
    (words, content='paths', content_rowid='id', tokenize='unicode61 remove_diacritics 0', prefix='2 3')""",
    "create trigger paths_insert after insert on paths begin insert into search (rowid, words) values (new.id, new.words); end",
    """create trigger paths_delete after delete on paths begin
    insert into search (search, rowid, words) values ('delete', old.id, old.words); end""",
)
_POSTGRESQL = ("create index ix_paths_words on paths using gin (array_to_tsvector(string_to_array(words, ' ')))",)


def upgrade() -> None:
    paths = op.create_table(
        "paths",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("repo_id", _KEY, nullable=False),
        sa.Column("path", sa.String(2048), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_paths"),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_paths_repo_id_repos", ondelete="CASCADE"),
    )
    op.create_index("ix_paths_repo_id_path", "paths", ["repo_id", "path"], unique=True)
    connection = op.get_bind()
    for statement in {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}.get(connection.dialect.name, ()):
        op.execute(statement)
    known = connection.execute(
        sa.text(
            "select distinct repos.id, repos.name, files.path from files "
            "join revisions on revisions.id = files.revision_id join repos on repos.id = revisions.repo_id"
        )
    )
    for batch in known.partitions(_BATCH):
        rows = [{"repo_id": row[0], "path": row[2], "words": _words(row[1], row[2])} for row in batch]
        connection.execute(sa.insert(paths), rows)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for statement in ("drop trigger paths_insert", "drop trigger paths_delete", "drop table search"):
            op.execute(statement)
    op.drop_table("paths")


def _words(repo: str, path: str) -> str:
    """The words of `llmpt_tracker.rules.search` as they were at this step: a migration never changes."""
    return " ".join(dict.fromkeys(_WORD.findall(f"{repo} {path}".lower())))
