"""The queue of mirrors, and what an operator has pinned, as tables (rules/mirrors.py, rules/orders.py)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from llmpt_tracker.database.columns import Key, Utc
from llmpt_tracker.database.models import Base


class MirrorRow(Base):
    """A mirror (`llmpt.core.mirrors`): the files of a revision that `include` names (a JSON list of patterns; an empty one: its
    listing only). `key` is the SHA-256 of what is asked for; sizes in bytes; `status`, `code` and `error` are upstream's own
    words when it failed, `retry_at` is until when that stands; `asker` is who asked first, `askers` a few more (a JSON list),
    `turn` how many of the first one's mirrors were open then."""

    __tablename__ = "mirrors"
    __table_args__ = (Index(None, "state", "wanted_at"), Index(None, "asker", "state"), Index(None, "repo_name", "state"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    repo_type: Mapped[str] = mapped_column(String(16))
    repo_name: Mapped[str] = mapped_column(String(200))
    revision: Mapped[str] = mapped_column(String(255))
    include: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))  # as MirrorState has it
    commit: Mapped[str | None] = mapped_column(String(40))
    files_total: Mapped[int] = mapped_column(default=0)
    files_done: Mapped[int] = mapped_column(default=0)
    bytes_total: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_done: Mapped[int] = mapped_column(BigInteger, default=0)
    status: Mapped[int | None]
    code: Mapped[str | None] = mapped_column(String(40))
    error: Mapped[str | None] = mapped_column(Text)
    retry_at: Mapped[datetime | None] = mapped_column(Utc)
    requested_at: Mapped[datetime] = mapped_column(Utc)
    wanted_at: Mapped[datetime] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)
    asker: Mapped[str] = mapped_column(String(16), default="", server_default=text("''"))
    askers: Mapped[str] = mapped_column(Text, default="[]", server_default="[]")
    turn: Mapped[int] = mapped_column(default=0, server_default="0")


class Pin(Base):
    """A repo whose files are fetched first, and stay in the cache that is fetched into. `folded`: its name in lower case."""

    __tablename__ = "pins"

    repo_type: Mapped[str] = mapped_column(String(16), primary_key=True)
    folded: Mapped[str] = mapped_column(String(200), primary_key=True)
    repo_name: Mapped[str] = mapped_column(String(200))
    pinned_at: Mapped[datetime] = mapped_column(Utc)
