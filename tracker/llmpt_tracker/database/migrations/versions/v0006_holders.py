"""Who has what: a bit for each publisher in every line of a manifest and in every ref, in place of one flag for all.

What was said before has no author who could take it back: it has a bit of its own, until the first publisher says anew what it
has. The database gets another identity, so that every publisher does.
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BEFORE = 1 << 62


def upgrade() -> None:
    op.create_table(
        "holders",
        sa.Column("bit", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("token_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
    )
    op.create_index("ix_holders_token_id_name", "holders", ["token_id", "name"], unique=True)
    op.add_column("files", sa.Column("holders", sa.BigInteger, server_default="0", nullable=False))
    op.add_column("refs", sa.Column("holders", sa.BigInteger, server_default="0", nullable=False))
    op.add_column("refs", sa.Column("setter", sa.BigInteger, server_default="0", nullable=False))
    files, refs = sa.table("files", sa.column("holders"), sa.column("here", sa.Boolean)), sa.table("refs", sa.column("holders"))
    op.execute(files.update().where(files.c.here == sa.true()).values(holders=BEFORE))
    op.execute(refs.update().values(holders=BEFORE))
    op.drop_column("files", "here")
    instance = sa.table("instance", sa.column("uuid"))
    op.execute(instance.update().values(uuid=str(uuid.uuid4())))


def downgrade() -> None:
    op.add_column("files", sa.Column("here", sa.Boolean, server_default=sa.true(), nullable=False))
    files = sa.table("files", sa.column("holders"), sa.column("here", sa.Boolean))
    op.execute(files.update().where(files.c.holders == 0).values(here=sa.false()))
    for table, column in (("files", "holders"), ("refs", "setter"), ("refs", "holders")):
        op.drop_column(table, column)
    op.drop_table("holders")
    op.execute(sa.table("instance", sa.column("uuid")).update().values(uuid=str(uuid.uuid4())))
