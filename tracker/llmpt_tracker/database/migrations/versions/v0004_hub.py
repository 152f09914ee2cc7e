"""The Hub without the Hub: whole listings, what the Hub does not have, what is to be fetched, and tokens that only share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("publisher_tokens", sa.Column("scope", sa.String(16), server_default="publish", nullable=False))
    op.add_column("revisions", sa.Column("card", sa.Text))
    op.add_column("files", sa.Column("here", sa.Boolean, server_default=sa.true(), nullable=False))
    op.add_column("blobs", sa.Column("token_id", sa.BigInteger))
    op.create_table(
        "absent",
        sa.Column("revision_id", KEY, nullable=False),
        sa.Column("path", sa.String(2048), nullable=False),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name="fk_absent_revision_id_revisions", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("revision_id", "path", name="pk_absent"),
    )
    op.create_table(
        "mirrors",
        sa.Column("id", KEY, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("repo_type", sa.String(16), nullable=False),
        sa.Column("repo_name", sa.String(200), nullable=False),
        sa.Column("revision", sa.String(255), nullable=False),
        sa.Column("include", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("commit", sa.String(40)),
        sa.Column("files_total", sa.Integer, nullable=False),
        sa.Column("files_done", sa.Integer, nullable=False),
        sa.Column("bytes_total", sa.BigInteger, nullable=False),
        sa.Column("bytes_done", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("code", sa.String(40)),
        sa.Column("error", sa.Text),
        sa.Column("retry_at", MOMENT),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("wanted_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_mirrors"),
        sa.UniqueConstraint("key", name="uq_mirrors_key"),
    )
    op.create_index("ix_mirrors_state_wanted_at", "mirrors", ["state", "wanted_at"])
    op.create_table(
        "invitations",
        sa.Column("id", KEY, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("uses_left", sa.Integer, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_invitations"),
        sa.UniqueConstraint("sha256", name="uq_invitations_sha256"),
    )
    op.create_table(
        "reports",
        sa.Column("id", KEY, nullable=False),
        sa.Column("etag", sa.String(64), nullable=False),
        sa.Column("info_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("token_id", sa.BigInteger),
        sa.Column("reporter_id", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("dropped", sa.Boolean, nullable=False),
        sa.Column("reported_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
    )
    op.create_index("ix_reports_info_hash_reporter_id", "reports", ["info_hash", "reporter_id"], unique=True)
    op.create_index("ix_reports_token_id", "reports", ["token_id"])
    op.create_index("ix_reports_reported_at", "reports", ["reported_at"])


def downgrade() -> None:
    for table in ("reports", "invitations", "mirrors", "absent"):
        op.drop_table(table)
    op.drop_column("blobs", "token_id")
    op.drop_column("files", "here")
    op.drop_column("revisions", "card")
    op.execute("delete from publisher_tokens where scope <> 'publish'")  # without it they could do more
    op.drop_column("publisher_tokens", "scope")
