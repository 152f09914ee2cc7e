"""What the catalogue remembers, as tables.

A *blob* is a content that has a swarm, named by its etag; its metainfo lies in a table of its own, so that a row that is
listed is small. A *revision* is a commit of a repo, a *ref* points at one, its *files* are the manifest: path → etag and
size. Small files stand in manifests without a blob, and so do those that the LAN does not have yet. A *mirror* is something that
the seeder is to fetch from the Hub. Peers are not here: the announcer owns them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Text, false, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from llmpt_tracker.database.columns import NAMING, Key, Utc, away_index, folded_name

# Bits of `holders`, beside one for each publisher that has a name (rules/holders.py).
MACHINES = 1 << 0  # of the LAN, as long as they seed it
UNNAMED = 1 << 1  # publishers that do not say who they are: what they publish stays
BEFORE = 1 << 62  # what was said before publishers had names, until the first of them says anew what it has


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


class Instance(Base):
    """One row: the identity of this database, made with it. A seeder that meets another one publishes everything anew."""

    __tablename__ = "instance"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    uuid: Mapped[str] = mapped_column(String(36))
    created_at: Mapped[datetime] = mapped_column(Utc)


class PublisherToken(Base):
    """A bearer token (rules/tokens.py); only its SHA-256 is kept.

    scope: what it may do, names separated by commas.
    repos: patterns of the repos that it names, separated by commas; None: all.
    appliance: it is the seeder's beside this tracker.
    last_used_at: to a minute or so.
    previous_sha256, previous_until: the secret that it had before a rotation, and until when that is valid, too.
    address: the neighbourhood of the machine that got it over the network; None: an operator made it.
    """

    __tablename__ = "publisher_tokens"
    __table_args__ = (Index(None, "previous_sha256"), Index(None, "address"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scope: Mapped[str] = mapped_column(String(80), default="publish", server_default="publish")
    repos: Mapped[str | None] = mapped_column(Text)
    appliance: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime | None] = mapped_column(Utc)
    last_used_at: Mapped[datetime | None] = mapped_column(Utc)
    revoked_at: Mapped[datetime | None] = mapped_column(Utc)
    previous_sha256: Mapped[str | None] = mapped_column(String(64))
    previous_until: Mapped[datetime | None] = mapped_column(Utc)
    address: Mapped[str | None] = mapped_column(String(64))


class Holder(Base):
    """A publisher that says what it has: its bit in `holders`, its token, and the name that it gives itself."""

    __tablename__ = "holders"
    __table_args__ = (Index(None, "token_id", "name", unique=True),)

    bit: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    token_id: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(64))


class Invitation(Base):
    """A code for which so many machines get a token with this `scope` and `repos`, until it expires; only its SHA-256 is kept."""

    __tablename__ = "invitations"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    uses_left: Mapped[int]
    scope: Mapped[str] = mapped_column(String(80), default="share", server_default="share")
    repos: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime] = mapped_column(Utc)


class Report(Base):
    """What a receiver said of a torrent: its content is not what the etag names.

    `token_id`: the token with which it was published.
    `dropped`: whether it was taken out for that.
    `address`: the neighbourhood of the receiver.
    """

    __tablename__ = "reports"
    __table_args__ = (Index(None, "info_hash", "reporter_id", unique=True), Index(None, "token_id"), Index(None, "reported_at"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    etag: Mapped[str] = mapped_column(String(64))
    info_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    token_id: Mapped[int | None] = mapped_column(BigInteger)
    reporter_id: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(String(64))
    dropped: Mapped[bool]
    reported_at: Mapped[datetime] = mapped_column(Utc)


class Repo(Base):
    """A repo of the Hub of which at least one manifest was published. `folded`: its name in lower case, for all spellings."""

    __tablename__ = "repos"
    __table_args__ = (Index(None, "type", "name", unique=True), Index(None, "type", "folded"), Index(None, "folded"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    type: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(200))
    folded: Mapped[str] = mapped_column(String(200), default=folded_name, server_default=text("''"))


class Revision(Base):
    """A commit of a repo. `complete`: the manifest is the whole listing, by the Hub's own list. `card` is the front matter of its
    README, as JSON. `token_id`: who published it first."""

    __tablename__ = "revisions"
    __table_args__ = (Index(None, "repo_id", "commit", unique=True), Index(None, "commit"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey(Repo.id, ondelete="CASCADE"))
    commit: Mapped[str] = mapped_column(String(40))
    complete: Mapped[bool]
    card: Mapped[str | None] = mapped_column(Text)
    published_at: Mapped[datetime] = mapped_column(Utc)
    token_id: Mapped[int | None] = mapped_column(BigInteger)


class Ref(Base):
    """A branch, tag or `refs/pr/N` of a repo, and the revision it was last seen at. `holders`: the bits of the publishers that
    have such a ref, wherever it points with them; `setter`: the bit of the one that said last where it points; `token_id`: whose
    ref it is, so that no other moves it (rules/refs.py). `said_at`: when that was last said; `confirmed_at`: by upstream."""

    __tablename__ = "refs"
    __table_args__ = (Index(None, "revision_id"),)

    repo_id: Mapped[int] = mapped_column(ForeignKey(Repo.id, ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    revision_id: Mapped[int] = mapped_column(ForeignKey(Revision.id, ondelete="CASCADE"))
    holders: Mapped[int] = mapped_column(BigInteger, default=UNNAMED, server_default="0")
    setter: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    token_id: Mapped[int | None] = mapped_column(BigInteger)
    said_at: Mapped[datetime | None] = mapped_column(Utc)
    confirmed_at: Mapped[datetime | None] = mapped_column(Utc)


class VisibilityRow(Base):
    """What a seeder says of a repo (rules/visibility.py): `shown` is public, named or restricted, `at` since when it knows, `hub`
    on which Hub; empty: it does not say."""

    __tablename__ = "visibilities"

    repo_type: Mapped[str] = mapped_column(String(16), primary_key=True)
    repo_name: Mapped[str] = mapped_column(String(200), primary_key=True)
    token_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seeder: Mapped[str] = mapped_column(String(64), primary_key=True)
    shown: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(Utc)
    hub: Mapped[str] = mapped_column(String(255), default="", server_default=text("''"))


class Blob(Base):
    """A content with a swarm. `size` is bytes; `info_hash` 32 bytes, `swarm` its first 20 (BEP 52); `completed` how often the
    announcer had seen it downloaded when it was asked last; `token_id` whose word it is that this is the etag's content;
    `seen_at` when a machine was last seen to seed it, to a day or so."""

    __tablename__ = "blobs"
    __table_args__ = (Index(None, "token_id", "metainfo_bytes"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    etag: Mapped[str] = mapped_column(String(64), unique=True)
    size: Mapped[int] = mapped_column(BigInteger)
    info_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    swarm: Mapped[bytes] = mapped_column(LargeBinary(20), unique=True)
    published_at: Mapped[datetime] = mapped_column(Utc)
    completed: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    token_id: Mapped[int | None] = mapped_column(BigInteger)  # such tokens are never deleted
    metainfo_bytes: Mapped[int] = mapped_column(default=0, server_default="0")
    seen_at: Mapped[datetime | None] = mapped_column(Utc)


class Voucher(Base):
    """Another machine that published the very torrent of a blob: it has read the content, too. `address`: its neighbourhood."""

    __tablename__ = "vouchers"

    blob_id: Mapped[int] = mapped_column(ForeignKey(Blob.id, ondelete="CASCADE"), primary_key=True)
    token_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    address: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(Utc)


class StoredMetainfo(Base):
    """The .torrent of a blob, without any outer key but its piece layer."""

    __tablename__ = "metainfo"

    blob_id: Mapped[int] = mapped_column(ForeignKey(Blob.id, ondelete="CASCADE"), primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class File(Base):
    """A line of a manifest. The etag is what the publisher says the Hub says; `blob_id` is set when it has a swarm; `holders` are
    the bits of the publishers that have the bytes now, and of the LAN's machines (rules/holders.py)."""

    __tablename__ = "files"
    __table_args__ = (Index(None, "blob_id", "revision_id"), Index(None, "etag"), away_index())

    revision_id: Mapped[int] = mapped_column(ForeignKey(Revision.id, ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(String(2048), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    etag: Mapped[str] = mapped_column(String(64))
    lfs: Mapped[bool]
    holders: Mapped[int] = mapped_column(BigInteger, default=UNNAMED, server_default="0")
    blob_id: Mapped[int | None] = mapped_column(ForeignKey(Blob.id, ondelete="SET NULL"))


class Absent(Base):
    """A path of which the Hub has said that this commit does not hold it."""

    __tablename__ = "absent"

    revision_id: Mapped[int] = mapped_column(ForeignKey(Revision.id, ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(String(2048), primary_key=True)


class Path(Base):
    """A path that a repo has in any of its revisions, with the words by which it is found (rules/search.py)."""

    __tablename__ = "paths"
    __table_args__ = (Index(None, "repo_id", "path", unique=True),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey(Repo.id, ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(String(2048))
    words: Mapped[str] = mapped_column(Text)


class AuditRow(Base):
    """A deed that an operator may want to trace (rules/audit.py). `token` is the name that the token had, `detail` JSON, `times`
    how often it happened since `at`, where many of a kind are one row."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"), Index(None, "event", "id"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at: Mapped[datetime] = mapped_column(Utc)
    event: Mapped[str] = mapped_column(String(32))
    token_id: Mapped[int | None] = mapped_column(BigInteger)
    token: Mapped[str | None] = mapped_column(String(80))
    address: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(Text)
    times: Mapped[int] = mapped_column(default=1, server_default="1")
