"""Which repos the LAN may answer for without the Hub, and when it was last said where a ref points."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "visibilities",
        sa.Column("repo_type", sa.String(16), primary_key=True),
        sa.Column("repo_name", sa.String(200), primary_key=True),
        sa.Column("token_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seeder", sa.String(64), primary_key=True),
        sa.Column("shown", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("refs", sa.Column("said_at", sa.DateTime(timezone=True)))
    op.add_column("refs", sa.Column("confirmed_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_table("visibilities")
    op.drop_column("refs", "confirmed_at")
    op.drop_column("refs", "said_at")
