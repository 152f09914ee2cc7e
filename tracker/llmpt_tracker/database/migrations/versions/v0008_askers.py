"""Which clients asked for a mirror: what one of them may cost is bounded, and what several want is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("mirrors", sa.Column("asker", sa.String(16), server_default=sa.text("''"), nullable=False))
    op.add_column("mirrors", sa.Column("askers", sa.Text, server_default="[]", nullable=False))
    op.add_column("mirrors", sa.Column("turn", sa.Integer, server_default="0", nullable=False))
    op.create_index("ix_mirrors_asker_state", "mirrors", ["asker", "state"])
    op.create_index("ix_mirrors_repo_name_state", "mirrors", ["repo_name", "state"])


def downgrade() -> None:
    op.drop_index("ix_mirrors_repo_name_state", "mirrors")
    op.drop_index("ix_mirrors_asker_state", "mirrors")
    for column in ("turn", "askers", "asker"):
        op.drop_column("mirrors", column)
