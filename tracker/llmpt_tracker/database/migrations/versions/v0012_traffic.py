"""Bytes by minute and by day, by repo and month, and the counters of seeders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "traffic",
        sa.Column("span", sa.String(6), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        *_bytes("swarm", "http", "beside", "hub", "mirrored", "arrived"),
        sa.PrimaryKeyConstraint("span", "at", name="pk_traffic"),
    )
    op.create_table(
        "repo_traffic",
        sa.Column("repo_id", KEY, nullable=False),
        sa.Column("month", MOMENT, nullable=False),
        *_bytes("arrived", "mirrored"),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_repo_traffic_repo_id_repos", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repo_id", "month", name="pk_repo_traffic"),
    )
    op.create_table(
        "seeder_counters",
        sa.Column("token_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("said_at", MOMENT, nullable=False),
        *_bytes("swarm", "http", "beside"),
        sa.PrimaryKeyConstraint("token_id", "name", name="pk_seeder_counters"),
    )


def downgrade() -> None:
    for table in ("seeder_counters", "repo_traffic", "traffic"):
        op.drop_table(table)


def _bytes(*kinds: str) -> list[sa.Column[int]]:
    return [sa.Column(f"{kind}_bytes", sa.BigInteger, nullable=False) for kind in kinds]
