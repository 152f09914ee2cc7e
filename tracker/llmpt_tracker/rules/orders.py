"""What an operator says of the queue of mirrors: cancelled is what is not to come, pinned what is to come first and to stay.

What is cancelled stands for a day: only one that asks for it by hand begins it anew. Each order is noted in the audit log.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from llmpt.core.mirrors import Mirror, MirrorState
from llmpt.core.orders import MAX_CANCELLED, MAX_PINS, MirrorOrders
from llmpt.core.repo import RepoRef
from llmpt_tracker.database.mirrors import MirrorRow, Pin
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import audit, mirrors
from llmpt_tracker.rules.audit import Actor

TOLD = timedelta(minutes=10)  # a seeder asks every ten seconds; one that comes later hears it when it reports


def orders(session: Session, *, now: datetime) -> MirrorOrders:
    """Return what holds: the pins, and what was cancelled of late."""
    of_late = (MirrorRow.state == MirrorState.CANCELLED.value, MirrorRow.ended_at > now - TOLD)
    cancelled = session.scalars(select(MirrorRow.id).where(*of_late).order_by(MirrorRow.ended_at.desc()).limit(MAX_CANCELLED))
    return MirrorOrders(frozenset(cancelled), frozenset(pinned(session)))


def cancel_one(session: Session, mirror_id: int, by: Actor, *, now: datetime) -> Mirror:
    """Cancel a mirror. Raises `Refused`: 404 when there is none of that number, 409 when it has ended."""
    found = mirrors.get(session, mirror_id, now=now)
    gone = mirrors.cancel(session, MirrorRow.id == mirror_id, now=now)
    if not gone:
        raise Refused(409, "over", f"mirror {mirror_id} is {found.state.value} already")
    audit.note(session, audit.MIRROR_CANCELLED, by, now=now, repo=str(found.ask.repo), mirrors=1)
    return gone[0]


def cancel_repo(session: Session, repo: RepoRef, by: Actor, *, now: datetime) -> int:
    """Cancel all that is to be fetched of a repo; return how many mirrors these were. Raises `Refused` (404) for none."""
    its = and_(MirrorRow.repo_type == repo.type, func.lower(MirrorRow.repo_name) == repo.folded.id)
    gone = mirrors.cancel(session, its, now=now)
    if not gone:
        raise Refused(404, "not_found", f"nothing of {repo} is to be fetched")
    audit.note(session, audit.MIRROR_CANCELLED, by, now=now, repo=str(repo), mirrors=len(gone))
    return len(gone)


def pin(session: Session, repo: RepoRef, by: Actor, *, now: datetime) -> None:
    """Pin a repo; nothing is done to one that is. Raises `Refused` (409) when there are as many as can be."""
    if session.get(Pin, (repo.type, repo.folded.id)) is not None:
        return
    if (session.scalar(select(func.count()).select_from(Pin)) or 0) >= MAX_PINS:
        raise Refused(409, "too_many_pins", f"{MAX_PINS} repos are pinned: unpin one first")
    session.add(Pin(repo_type=repo.type, folded=repo.folded.id, repo_name=repo.id, pinned_at=now))
    session.flush()
    audit.note(session, audit.PINNED, by, now=now, repo=str(repo))


def unpin(session: Session, repo: RepoRef, by: Actor, *, now: datetime) -> None:
    """Let a repo go as others do. Raises `Refused` (404) for one that is not pinned."""
    row = session.get(Pin, (repo.type, repo.folded.id))
    if row is None:
        raise Refused(404, "not_found", f"{repo} is not pinned")
    session.delete(row)
    session.flush()
    audit.note(session, audit.UNPINNED, by, now=now, repo=str(repo))


def pinned(session: Session) -> list[RepoRef]:
    """Return the repos that are pinned, by name."""
    rows = session.execute(select(Pin.repo_type, Pin.repo_name).order_by(Pin.repo_type, Pin.folded))
    return [RepoRef(kind, name) for kind, name in rows]
