"""What receivers say of torrents whose content is not what the etag names.

A sharer's entry is dropped on the first word of any receiver: it costs one more fetch from the Hub. But each other machine that
published the very same torrent has read the content, too, and counts against a receiver; what two of them have read stays. A
publisher's stays as well. What stays is shown as a problem.

The machine that had published what was dropped may not publish that etag again for a day; another one may. A sharer of whose
entries three were dropped shares no more, if three machines said so whose tokens are a day old at least. Tokens are free, so
machines are told apart by the addresses from which they got theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import Blob, PublisherToken, Report
from llmpt_tracker.rules import audit, entries, tokens
from llmpt_tracker.rules.rights import is_publisher

DROPPED_AT_MOST = 3
REPORTERS = 3
OLD_ENOUGH = timedelta(days=1)  # the token of a machine whose word counts against another's token
VOUCHED = 2  # machines that have read what then stays
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


@dataclass(frozen=True, slots=True)
class Finding:
    """What a receiver says: the etag, the torrent (`info_hash`: 32 bytes, or the first 20), and what was wrong."""

    etag: str
    info_hash: bytes
    reason: str


def report(session: Session, found: Finding, *, by: PublisherToken, now: datetime) -> Outcome:
    """Take in that `by` found another content in a torrent."""
    blob = session.scalars(select(Blob).where(Blob.etag == found.etag)).one_or_none()
    if blob is None or blob.info_hash[: len(found.info_hash)] != found.info_hash:
        return Outcome(known=False)
    session.execute(delete(Report).where(Report.reported_at < now - KEPT).execution_options(synchronize_session=False))
    same = (Report.info_hash == blob.info_hash, Report.reporter_id == by.id)
    row = session.scalars(select(Report).where(*same)).one_or_none()
    if row is None:
        row = Report(etag=found.etag, info_hash=blob.info_hash, reporter_id=by.id, dropped=False)
        session.add(row)
    row.token_id, row.reason, row.reported_at = blob.token_id, found.reason, now
    row.address = entries.whereabouts(by)
    session.flush()
    if blob.token_id is None or not entries.is_shared(session, blob) or not _is_believed(session, blob, by):
        row.dropped = False
        return Outcome(known=True)
    its = update(Report).where(Report.info_hash == blob.info_hash, Report.token_id == blob.token_id).values(dropped=True)
    session.execute(its.execution_options(synchronize_session=False))
    session.expire(row)
    revoked = _revoke_if_due(session, blob.token_id, now)
    return Outcome(known=True, dropped=entries.drop(session, blob), revoked=revoked)


def open_problems(session: Session, *, limit: int, now: datetime) -> list[tuple[str, str]]:
    """Return (what, reason) of commits of which the Hub was said to say something else, and of publishers' torrents, by etag,
    that were found wrong: within a day, the newest first."""
    recent = (Report.dropped.is_(False), Report.reported_at.between(now - SHOWN, now))
    found = select(Report.etag, Report.reason).where(*recent).order_by(Report.reported_at.desc(), Report.id.desc()).limit(limit)
    doubts = audit.recent(session, audit.DOUBTED, since=now - SHOWN, until=now, limit=limit)
    said = [(f"{one.get('repo')}@{one.get('commit')}", f"{one.get('path')}: {one.get('reason')}") for one in doubts]
    return [*said, *((row.etag, row.reason) for row in session.execute(found))][:limit]


def _is_believed(session: Session, blob: Blob, by: PublisherToken) -> bool:
    """Whether more receivers say that a content is another one than machines have read it; a publisher is believed at once."""
    if is_publisher(by):
        return True
    vouchers = entries.vouchers(session, blob)
    said = set(session.scalars(select(Report.address).where(Report.info_hash == blob.info_hash)))
    return len(vouchers) < VOUCHED and len(said - vouchers) > len(vouchers)


def _revoke_if_due(session: Session, token_id: int, now: datetime) -> str | None:
    culprit = tokens.get(session, token_id)
    its = (Report.token_id == token_id, Report.dropped)
    if len(set(session.scalars(select(Report.etag).where(*its)))) < DROPPED_AT_MOST:
        return None
    old_enough = (PublisherToken.id == Report.reporter_id, PublisherToken.created_at <= now - OLD_ENOUGH)
    said = set(session.scalars(select(Report.address).join(PublisherToken, old_enough[0]).where(*its, old_enough[1])))
    if len(said - {entries.whereabouts(culprit)}) < REPORTERS:
        return None
    return tokens.revoke(session, token_id, now=now).name
