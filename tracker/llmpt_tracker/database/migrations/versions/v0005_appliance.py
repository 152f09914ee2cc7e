"""Whose token is the seeder's beside this tracker: told by a column, where a name and the scope told it before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("publisher_tokens", sa.Column("appliance", sa.Boolean, server_default=sa.false(), nullable=False))
    tokens = sa.table("publisher_tokens", sa.column("name"), sa.column("scope"), sa.column("appliance", sa.Boolean))
    was_appliance = (tokens.c.scope == "publish") & (tokens.c.name == "seeder of this server")
    op.execute(tokens.update().where(was_appliance).values(appliance=sa.true()))


def downgrade() -> None:
    op.drop_column("publisher_tokens", "appliance")
