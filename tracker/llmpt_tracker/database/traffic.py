"""What is counted of bytes, as tables (rules/traffic.py); all of them are bounded."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from llmpt_tracker.database.columns import Utc
from llmpt_tracker.database.models import Base, Repo


class TrafficRow(Base):
    """The bytes of a minute, or of a day, from `at` on.

    swarm_bytes, http_bytes: what seeders gave by BitTorrent, and over HTTP
    beside_bytes: of those over HTTP, what went to peers of swarms: it is in files that they got to the end, too
    hub_bytes: what came from the Hub, for all
    mirrored_bytes: of those, what the appliance fetched for others
    arrived_bytes: files that machines got to the end from swarms
    """

    __tablename__ = "traffic"

    span: Mapped[str] = mapped_column(String(6), primary_key=True)  # minute, day
    at: Mapped[datetime] = mapped_column(Utc, primary_key=True)
    swarm_bytes: Mapped[int] = mapped_column(BigInteger)
    http_bytes: Mapped[int] = mapped_column(BigInteger)
    beside_bytes: Mapped[int] = mapped_column(BigInteger)
    hub_bytes: Mapped[int] = mapped_column(BigInteger)
    mirrored_bytes: Mapped[int] = mapped_column(BigInteger)
    arrived_bytes: Mapped[int] = mapped_column(BigInteger)


class RepoTraffic(Base):
    """The bytes of a repo's files in the month that begins at `month`: what machines got to the end from swarms, and what the
    appliance fetched for others."""

    __tablename__ = "repo_traffic"

    repo_id: Mapped[int] = mapped_column(ForeignKey(Repo.id, ondelete="CASCADE"), primary_key=True)
    month: Mapped[datetime] = mapped_column(Utc, primary_key=True)
    arrived_bytes: Mapped[int] = mapped_column(BigInteger)
    mirrored_bytes: Mapped[int] = mapped_column(BigInteger)


class SeederCounter(Base):
    """What a seeder had given since its start when it was counted last, and when it said so."""

    __tablename__ = "seeder_counters"

    token_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    said_at: Mapped[datetime] = mapped_column(Utc)
    swarm_bytes: Mapped[int] = mapped_column(BigInteger)
    http_bytes: Mapped[int] = mapped_column(BigInteger)
    beside_bytes: Mapped[int] = mapped_column(BigInteger)
