"""How often each blob was downloaded to the end: the announcer counts, and forgets when it ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("blobs", sa.Column("completed", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("blobs", "completed")
