"""The names of repos in lower case: on the Hub they are the same however they are written."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("repos", sa.Column("folded", sa.String(200), nullable=False, server_default=sa.text("''")))
    op.execute("update repos set folded = lower(name)")  # they are ASCII
    op.create_index("ix_repos_type_folded", "repos", ["type", "folded"])


def downgrade() -> None:
    op.drop_index("ix_repos_type_folded", "repos")
    op.drop_column("repos", "folded")
