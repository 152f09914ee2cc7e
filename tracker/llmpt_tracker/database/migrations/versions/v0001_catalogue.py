"""The catalogue: repos, revisions, refs, files, blobs, metainfo, publisher tokens, and the identity of the database."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def _by_bytes(length: int) -> sa.String:
    """Text that every database puts into one order, and finds by its beginning with an index."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    instance = op.create_table(
        "instance",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_instance"),
    )
    op.bulk_insert(instance, [{"id": 1, "uuid": str(uuid.uuid4()), "created_at": datetime.now(timezone.utc)}])
    op.create_table(
        "publisher_tokens",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("revoked_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_publisher_tokens"),
        sa.UniqueConstraint("sha256", name="uq_publisher_tokens_sha256"),
    )
    op.create_table(
        "repos",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("name", _by_bytes(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_repos"),
    )
    op.create_index("ix_repos_type_name", "repos", ["type", "name"], unique=True)
    op.create_table(
        "revisions",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("repo_id", _KEY, nullable=False),
        sa.Column("commit", sa.String(40), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("published_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revisions"),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_revisions_repo_id_repos", ondelete="CASCADE"),
    )
    op.create_index("ix_revisions_repo_id_commit", "revisions", ["repo_id", "commit"], unique=True)
    op.create_index("ix_revisions_commit", "revisions", ["commit"])
    op.create_table(
        "refs",
        sa.Column("repo_id", _KEY, nullable=False),
        sa.Column("name", _by_bytes(255), nullable=False),
        sa.Column("revision_id", _KEY, nullable=False),
        sa.PrimaryKeyConstraint("repo_id", "name", name="pk_refs"),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_refs_repo_id_repos", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name="fk_refs_revision_id_revisions", ondelete="CASCADE"),
    )
    op.create_index("ix_refs_revision_id", "refs", ["revision_id"])
    op.create_table(
        "blobs",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("etag", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("info_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("swarm", sa.LargeBinary(20), nullable=False),
        sa.Column("published_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blobs"),
        sa.UniqueConstraint("etag", name="uq_blobs_etag"),
        sa.UniqueConstraint("info_hash", name="uq_blobs_info_hash"),
        sa.UniqueConstraint("swarm", name="uq_blobs_swarm"),
    )
    op.create_table(
        "metainfo",
        sa.Column("blob_id", _KEY, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("blob_id", name="pk_metainfo"),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name="fk_metainfo_blob_id_blobs", ondelete="CASCADE"),
    )
    op.create_table(
        "files",
        sa.Column("revision_id", _KEY, nullable=False),
        sa.Column("path", _by_bytes(2048), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("etag", sa.String(64), nullable=False),
        sa.Column("lfs", sa.Boolean(), nullable=False),
        sa.Column("blob_id", _KEY, nullable=True),
        sa.PrimaryKeyConstraint("revision_id", "path", name="pk_files"),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name="fk_files_revision_id_revisions", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name="fk_files_blob_id_blobs", ondelete="SET NULL"),
    )
    op.create_index("ix_files_blob_id_revision_id", "files", ["blob_id", "revision_id"])
    op.create_index("ix_files_etag", "files", ["etag"])


def downgrade() -> None:
    for table in ("files", "metainfo", "blobs", "refs", "revisions", "repos", "publisher_tokens", "instance"):
        op.drop_table(table)
