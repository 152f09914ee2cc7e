"""The audit log: who did what, when and from where. It is only added to, and of each kind the newest are kept.

What many may do often (be refused, share what they fetched) is counted: one row a minute for each of a few, with how often it
happened. So a flood of one kind neither fills the database nor pushes another kind out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import AuditRow, PublisherToken

PUBLISHED = "published"
SHARED = "shared"
REF_SET = "ref_set"
REF_KEPT = "ref_kept"
DELETED = "deleted"
TOKEN_MADE = "token_made"  # noqa: S105
TOKEN_ROTATED = "token_rotated"  # noqa: S105
TOKEN_REVOKED = "token_revoked"  # noqa: S105
INVITED = "invited"
REPORTED = "reported"
DOUBTED = "doubted"
REFUSED = "refused"
MIRROR_CANCELLED = "mirror_cancelled"
PINNED = "pinned"
UNPINNED = "unpinned"
KINDS = (
    PUBLISHED,
    SHARED,
    REF_SET,
    REF_KEPT,
    DELETED,
    TOKEN_MADE,
    TOKEN_ROTATED,
    TOKEN_REVOKED,
    INVITED,
    REPORTED,
    DOUBTED,
    REFUSED,
    MIRROR_CANCELLED,
    PINNED,
    UNPINNED,
)
KEPT_ROWS = 20_000  # of each kind
KEPT = timedelta(days=400)
MAX_DETAIL = 4000
BATCH = 1000
CONSOLE = "console"  # in place of an address: the command line of the server


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: the number and name of a token (None: without one), and from which address."""

    token_id: int | None = None
    token: str | None = None
    address: str | None = None

    @classmethod
    def of(cls, token: PublisherToken, address: str | None = None) -> Actor:
        """The holder of a token."""
        return cls(token.id, token.name, address)


OPERATOR = Actor(address=CONSOLE)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A line of the log. `times`: how often it happened since `at`."""

    id: int
    at: datetime
    event: str
    actor: Actor
    detail: dict[str, Any]
    times: int

    def as_json(self) -> dict[str, Any]:
        """The entry as `llmpt-tracker audit --json` writes it."""
        actor = {"token_id": self.actor.token_id, "token": self.actor.token, "address": self.actor.address}
        return {"at": self.at.isoformat(), "event": self.event, **actor, "times": self.times, "detail": self.detail}


def note(session: Session, event: str, by: Actor, *, now: datetime, times: int = 1, **detail: Any) -> None:
    """Add a line."""
    text = json.dumps(detail, ensure_ascii=True, separators=(",", ":"))
    if len(text) > MAX_DETAIL:
        text = json.dumps({"cut": text[: MAX_DETAIL // 2]})
    row = AuditRow(at=now, event=event, token_id=by.token_id, token=by.token, address=by.address, detail=text, times=times)
    session.add(row)


def entries(session: Session, *, since: datetime | None = None) -> Iterator[AuditEntry]:
    """Yield the lines, the oldest first."""
    after = 0
    match = [] if since is None else [AuditRow.at >= since]
    while True:
        rows = session.scalars(select(AuditRow).where(AuditRow.id > after, *match).order_by(AuditRow.id).limit(BATCH)).all()
        if not rows:
            return
        yield from map(_entry, rows)
        after = rows[-1].id
        session.expunge_all()


def page(session: Session, *, limit: int, before: int | None = None) -> tuple[list[AuditEntry], int | None]:
    """Return a page of lines, the newest first, and the number before which the next one begins."""
    match = [] if before is None else [AuditRow.id < before]
    rows = session.scalars(select(AuditRow).where(*match).order_by(AuditRow.id.desc()).limit(limit + 1)).all()
    return [_entry(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None


def recent(session: Session, event: str, *, since: datetime, until: datetime, limit: int) -> list[dict[str, Any]]:
    """Return the details of a kind of deed, the newest first."""
    its = (AuditRow.event == event, AuditRow.at.between(since, until))
    return [
        json.loads(text)
        for text in session.scalars(select(AuditRow.detail).where(*its).order_by(AuditRow.id.desc()).limit(limit))
    ]


def prune(session: Session, *, now: datetime, kept_rows: int = KEPT_ROWS) -> None:
    """Forget what is older than is kept, and of each kind all but the newest."""
    session.execute(delete(AuditRow).where(AuditRow.at < now - KEPT).execution_options(synchronize_session=False))
    for event in KINDS:
        newest = select(AuditRow.id).where(AuditRow.event == event).order_by(AuditRow.id.desc())
        last = session.scalar(newest.offset(kept_rows).limit(1))
        if last is not None:
            old = delete(AuditRow).where(AuditRow.event == event, AuditRow.id <= last)
            session.execute(old.execution_options(synchronize_session=False))


def _entry(row: AuditRow) -> AuditEntry:
    actor = Actor(row.token_id, row.token, row.address)
    return AuditEntry(row.id, row.at, row.event, actor, json.loads(row.detail), row.times)
