"""On which Hub a repo is of which a seeder speaks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("visibilities", sa.Column("hub", sa.String(255), nullable=False, server_default=sa.text("''")))


def downgrade() -> None:
    op.drop_column("visibilities", "hub")
