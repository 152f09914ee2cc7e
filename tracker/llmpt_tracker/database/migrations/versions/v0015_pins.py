"""Repos that an operator has pinned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pins",
        sa.Column("repo_type", sa.String(16), nullable=False),
        sa.Column("folded", sa.String(200), nullable=False),
        sa.Column("repo_name", sa.String(200), nullable=False),
        sa.Column("pinned_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("repo_type", "folded", name="pk_pins"),
    )


def downgrade() -> None:
    op.drop_table("pins")
