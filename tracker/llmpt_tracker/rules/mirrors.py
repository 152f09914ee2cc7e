"""What is to be fetched from upstream: a queue that outlives restarts, and what the seeder says of it.

    ask      somebody wants a revision's listing, or files of it: one row, however many want the same
    report   the seeder says how far it is, or why it cannot
    page     the rows, for the seeder, for people, for whoever asked

A row that is done or has failed is queued anew when it is asked for again: after a failure not before `retry_at`, so that
a hundred clients that want what upstream refuses cost it one question a minute.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select
from sqlalchemy.orm import Session

from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import Mirror
from llmpt_tracker.errors import Refused

QUEUED, RUNNING, DONE, FAILED = STATES = ("queued", "running", "done", "failed")
OPEN = (QUEUED, RUNNING)
MAX_OPEN = 20_000
MAX_ID = (1 << 63) - 1  # no database counts further
KEPT = timedelta(days=7)
VAIN_KEPT = timedelta(minutes=10)
FRESH = timedelta(seconds=5)  # what was done a moment ago is not done again
NO_STANDS = timedelta(seconds=60)
UNREACHABLE = "Unreachable"  # the seeder's code for an upstream that says nothing, or is not well
LISTING = "[]"  # `include` of a row that wants the listing only


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody wants the files of a revision that one of the patterns of `include` names; none: its listing only."""

    repo: RepoRef
    revision: str
    include: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same for the same wish."""
        said = [self.repo.type, self.repo.id, self.revision, *sorted(set(self.include))]
        return sha256("\0".join(said).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Report:
    """What the seeder says of a row. `status`, `code` and `message` are upstream's words; `retry_after_s` when it named one."""

    state: str
    commit: str | None = None
    files_total: int = 0
    files_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    status: int | None = None
    code: str | None = None
    message: str | None = None
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the files of one commit are, over all rows that want some of them."""

    repo: RepoRef
    revision: str
    state: str
    files_total: int
    files_done: int
    bytes_total: int
    bytes_done: int
    error: str | None
    wanted_at: datetime


def exactly(path: str) -> str:
    """Return the pattern that fits `path` and nothing else."""
    return re.sub(r"([*?[])", r"[\1]", path)


def find(session: Session, ask: Ask) -> Mirror | None:
    """Return the row of a wish, if there is one."""
    return session.scalars(select(Mirror).where(Mirror.key == ask.key)).one_or_none()


def stands(row: Mirror, now: datetime) -> bool:
    """Whether asking again changes nothing: it is under way, was just done, or has failed for now."""
    if row.state in OPEN:
        return True
    if row.state == FAILED:
        return row.retry_at is not None and now < row.retry_at
    return row.ended_at is not None and now - row.ended_at < FRESH


def ask(session: Session, wish: Ask, *, now: datetime, insist: bool = False) -> Mirror:
    """Enter a wish; `insist`: also when it has just failed. Raises `Refused` (429) when too much is queued already."""
    row = find(session, wish)
    if row is None:
        if _count(session, Mirror.state.in_(OPEN)) >= MAX_OPEN:
            raise Refused(429, "queue_full", f"{MAX_OPEN} things are to be fetched already; try again later")
        prune(session, now=now)
        row = Mirror(key=wish.key, repo_type=wish.repo.type, repo_name=wish.repo.id, revision=wish.revision)
        row.include = json.dumps(sorted(set(wish.include)))
        row.state, row.requested_at = QUEUED, now
        row.files_total = row.files_done = row.bytes_total = row.bytes_done = 0
        session.add(row)
    elif row.state not in OPEN and (insist or not stands(row, now)):
        row.state, row.requested_at, row.ended_at = QUEUED, now, None
        row.files_done = row.bytes_done = 0
        row.status = row.code = row.error = row.retry_at = None
    row.wanted_at = now
    session.flush()
    return row


def report(session: Session, mirror_id: int, said: Report, *, now: datetime) -> Mirror:
    """Note what the seeder says of a row. Raises `Refused` (404) when there is no such row."""
    row = get(session, mirror_id)
    row.state, row.commit = said.state, said.commit or row.commit
    row.files_total, row.files_done = said.files_total, said.files_done
    row.bytes_total, row.bytes_done = said.bytes_total, said.bytes_done
    row.status, row.code, row.error = said.status, said.code, said.message
    row.retry_at = row.ended_at = None
    if said.message is not None:
        row.retry_at = now + (NO_STANDS if said.retry_after_s is None else timedelta(seconds=said.retry_after_s))
    if said.state not in OPEN:
        row.ended_at = now
    session.flush()
    return row


def get(session: Session, mirror_id: int) -> Mirror:
    """Return one row. Raises `Refused` (404)."""
    row = session.get(Mirror, mirror_id) if mirror_id <= MAX_ID else None
    if row is None:
        raise unknown(mirror_id)
    return row


def unknown(mirror_id: int) -> Refused:
    """Return the no to a row that is not there."""
    return Refused(404, "not_found", f"nothing with the number {mirror_id} is to be fetched")


def page(
    session: Session, *, states: Collection[str], limit: int, before: int | None, listings: bool
) -> tuple[list[Mirror], int | None]:
    """Return a page of rows, the newest first, and the row after which the next one begins; `listings`: also those that want
    a listing only, whose names are nobody's business but the seeder's (upstream may not show such a repo to everybody)."""
    match: list[ColumnElement[bool]] = [Mirror.state.in_(states)]
    if before is not None:
        match.append(Mirror.id < before)
    if not listings:
        match.append(Mirror.include != LISTING)
    rows = list(session.scalars(select(Mirror).where(*match).order_by(Mirror.id.desc()).limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def progress(session: Session, *, since: datetime, limit: int) -> list[Progress]:
    """Return what is under way or has ended after `since`, by commit, the latest wanted first."""
    latest = func.max(Mirror.wanted_at).label("latest")
    at = func.coalesce(Mirror.commit, Mirror.revision).label("at")
    states = {state: func.sum(case((Mirror.state == state, 1), else_=0)).label(state) for state in (RUNNING, QUEUED, FAILED)}
    figures = ("files_total", "files_done", "bytes_total", "bytes_done")
    sums = [func.sum(getattr(Mirror, name)).label(name) for name in figures]
    error = func.max(Mirror.error).label("error")
    rows = session.execute(
        select(Mirror.repo_type, Mirror.repo_name, at, latest, error, *sums, *states.values())
        .where(Mirror.include != LISTING, or_(Mirror.state.in_(OPEN), Mirror.ended_at > since))
        .group_by(Mirror.repo_type, Mirror.repo_name, at)
        .order_by(latest.desc())
        .limit(limit)
    ).mappings()
    return [
        Progress(
            repo=RepoRef(row["repo_type"], row["repo_name"]),
            revision=row["at"],
            state=next((state for state in states if row[state]), DONE),
            error=row["error"],
            wanted_at=row["latest"],
            **{name: int(row[name]) for name in figures},
        )
        for row in rows
    ]


def prune(session: Session, *, now: datetime) -> None:
    """Forget what ended a week ago, and earlier what was only asked for and is not there: names can be made up without end."""
    vain = (Mirror.state == FAILED, Mirror.include == LISTING, Mirror.ended_at < now - VAIN_KEPT)
    session.execute(delete(Mirror).where(or_(Mirror.ended_at < now - KEPT, and_(*vain))))


def _count(session: Session, match: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(Mirror).where(match)) or 0
