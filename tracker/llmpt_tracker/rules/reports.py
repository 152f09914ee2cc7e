"""What receivers say of torrents whose content is not what the etag names.

A sharer's entry is dropped on the first word of any receiver: it costs one more fetch from the Hub. A publisher's stays,
and is shown as a problem. A sharer of whose entries three were dropped, on the word of two machines at least, shares no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import Blob, PublisherToken, Report
from llmpt_tracker.rules import entries, tokens

DROPPED_AT_MOST = 3
REPORTERS = 2
SHOWN = timedelta(days=1)
KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a report led to: the swarm that was dropped, and the name of the token that was revoked.

    `known`: whether the catalogue has that torrent at all.
    """

    known: bool
    dropped: bytes | None = None
    revoked: str | None = None


def report(session: Session, *, etag: str, info_hash: bytes, reason: str, by: PublisherToken, now: datetime) -> Outcome:
    """Take in that `by` found another content in a torrent (`info_hash`: 32 bytes, or the first 20)."""
    blob = session.scalars(select(Blob).where(Blob.etag == etag)).one_or_none()
    if blob is None or blob.info_hash[: len(info_hash)] != info_hash:
        return Outcome(known=False)
    shared = entries.is_shared(session, blob)
    session.execute(delete(Report).where(Report.reported_at < now - KEPT).execution_options(synchronize_session=False))
    same = (Report.info_hash == blob.info_hash, Report.reporter_id == by.id)
    row = session.scalars(select(Report).where(*same)).one_or_none()
    if row is None:
        row = Report(etag=etag, info_hash=blob.info_hash, reporter_id=by.id)
        session.add(row)
    row.token_id, row.reason, row.dropped, row.reported_at = blob.token_id, reason, shared, now
    session.flush()
    if not shared or blob.token_id is None:
        return Outcome(known=True)
    revoked = _revoke_if_due(session, blob.token_id, now)
    return Outcome(known=True, dropped=entries.drop(session, blob), revoked=revoked)


def open_problems(session: Session, *, limit: int, now: datetime) -> list[tuple[str, str]]:
    """Return (etag, reason) of publishers' torrents that were found wrong within a day, the newest first."""
    recent = (Report.dropped.is_(False), Report.reported_at.between(now - SHOWN, now))
    found = select(Report.etag, Report.reason).where(*recent).order_by(Report.reported_at.desc(), Report.id.desc()).limit(limit)
    return [(row.etag, row.reason) for row in session.execute(found)]


def _revoke_if_due(session: Session, token_id: int, now: datetime) -> str | None:
    its = (Report.token_id == token_id, Report.dropped)
    figures = select(func.count(Report.info_hash.distinct()), func.count(Report.reporter_id.distinct())).where(*its)
    entries, reporters = session.execute(figures).one()
    if entries < DROPPED_AT_MOST or reporters < REPORTERS:
        return None
    return tokens.revoke(session, token_id, now=now).name
