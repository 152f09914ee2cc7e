"""What a token may do, for which repos and until when; whose word refs, commits and torrents rest on; and the audit log.

What is there already keeps its rights: a token without patterns is for all repos, and without an end for ever. A ref belongs to
the publisher that set it last, as far as that is known.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _tokens()
    op.add_column("invitations", sa.Column("scope", sa.String(80), server_default="share", nullable=False))
    op.add_column("invitations", sa.Column("repos", sa.Text))
    op.add_column("refs", sa.Column("token_id", sa.BigInteger))
    op.add_column("revisions", sa.Column("token_id", sa.BigInteger))
    op.add_column("reports", sa.Column("address", sa.String(64)))
    _blobs()
    op.create_table(
        "audit",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("token_id", sa.BigInteger),
        sa.Column("token", sa.String(80)),
        sa.Column("address", sa.String(64)),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("times", sa.Integer, server_default="1", nullable=False),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_event_id", "audit", ["event", "id"])
    _owners_of_refs()


def downgrade() -> None:
    op.drop_table("audit")
    op.drop_table("vouchers")
    op.drop_index("ix_blobs_token_id_metainfo_bytes", "blobs")
    op.drop_index("ix_publisher_tokens_address", "publisher_tokens")
    op.drop_index("ix_publisher_tokens_previous_sha256", "publisher_tokens")
    # Without its limits a token, or an invitation to one, could do more than it was made for.
    op.execute(
        "delete from publisher_tokens where repos is not null or expires_at is not null or scope not in ('publish', 'share')"
    )
    op.execute("delete from invitations where repos is not null or scope <> 'share'")
    dropped = {
        "blobs": ("seen_at", "metainfo_bytes"),
        "reports": ("address",),
        "revisions": ("token_id",),
        "refs": ("token_id",),
        "invitations": ("repos", "scope"),
        "publisher_tokens": ("address", "previous_until", "previous_sha256", "last_used_at", "expires_at", "repos"),
    }
    for table, columns in dropped.items():
        for column in columns:
            op.drop_column(table, column)
    with op.batch_alter_table("publisher_tokens") as table_of_tokens:
        table_of_tokens.alter_column("scope", type_=sa.String(16))


def _tokens() -> None:
    with op.batch_alter_table("publisher_tokens") as table:
        table.alter_column("scope", type_=sa.String(80))
    for column in (
        sa.Column("repos", sa.Text),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("previous_sha256", sa.String(64)),
        sa.Column("previous_until", sa.DateTime(timezone=True)),
        sa.Column("address", sa.String(64)),
    ):
        op.add_column("publisher_tokens", column)
    op.create_index("ix_publisher_tokens_previous_sha256", "publisher_tokens", ["previous_sha256"])
    op.create_index("ix_publisher_tokens_address", "publisher_tokens", ["address"])


def _blobs() -> None:
    op.add_column("blobs", sa.Column("metainfo_bytes", sa.Integer, server_default="0", nullable=False))
    op.add_column("blobs", sa.Column("seen_at", sa.DateTime(timezone=True)))
    op.create_index("ix_blobs_token_id_metainfo_bytes", "blobs", ["token_id", "metainfo_bytes"])
    blobs = sa.table("blobs", sa.column("id"), sa.column("metainfo_bytes"))
    stored = sa.table("metainfo", sa.column("blob_id"), sa.column("data", sa.LargeBinary))
    length = sa.select(sa.func.length(stored.c.data)).where(stored.c.blob_id == blobs.c.id).scalar_subquery()
    op.execute(blobs.update().values(metainfo_bytes=sa.func.coalesce(length, 0)))
    op.create_table(
        "vouchers",
        sa.Column("blob_id", KEY, nullable=False),
        sa.Column("token_id", sa.BigInteger, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("blob_id", "token_id", name="pk_vouchers"),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name="fk_vouchers_blob_id_blobs", ondelete="CASCADE"),
    )


def _owners_of_refs() -> None:
    holders = sa.table("holders", sa.column("bit", sa.Integer), sa.column("token_id"))
    refs = sa.table("refs", sa.column("setter", sa.BigInteger), sa.column("token_id"))
    rows: Any = op.get_bind().execute(sa.select(holders.c.bit, holders.c.token_id)).all()
    for bit, token_id in rows:
        op.execute(refs.update().where(refs.c.setter == 1 << bit).values(token_id=token_id))
