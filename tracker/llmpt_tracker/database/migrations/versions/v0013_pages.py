"""Repos by name, and the files that are not here: what the pages list and count without looking at all there is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_repos_folded", "repos", ["folded"])
    away = sa.text("holders = 0")
    op.create_index("ix_files_away", "files", ["revision_id", "blob_id"], sqlite_where=away, postgresql_where=away)


def downgrade() -> None:
    op.drop_index("ix_files_away", "files")
    op.drop_index("ix_repos_folded", "repos")
