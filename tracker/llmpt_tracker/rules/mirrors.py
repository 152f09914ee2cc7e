"""The queue of mirrors: it outlives restarts.

    ask      a client wants a revision's listing, or files of it: one mirror, however many want the same
    report   the seeder says how far it is, or why it cannot
    cancel   an operator wants it no more (rules/orders.py)
    page     the mirrors, for the seeder and for all that ask

A mirror that is done or has failed is queued anew when it is asked for again: after a failure not before `retry_at`, so that
a hundred clients that want what upstream refuses cost it one question a minute.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, or_, select
from sqlalchemy.orm import Session

from llmpt.core.mirrors import MAX_ASKERS, MAX_MIRROR_ID, OPEN, Mirror, MirrorAsk, MirrorProblem, MirrorReport, MirrorState
from llmpt.core.repo import RepoRef
from llmpt_tracker.database.mirrors import MirrorRow, Pin
from llmpt_tracker.errors import Refused

MAX_OPEN = 20_000
MAX_OPEN_OF_ONE = 2_000  # of which one client was the first to ask for them
KEPT = timedelta(days=7)
VAIN_KEPT = timedelta(minutes=10)
CANCELLED_STANDS = timedelta(days=1)  # unless it is asked for by hand
FRESH = timedelta(seconds=5)  # what was done a moment ago is not done again
NO_STANDS = timedelta(seconds=60)
_OPEN = [state.value for state in OPEN]
_LISTING = "[]"  # `include` of a row that wants the listing only
_TURNS, _NUMBERS = 1 << 12, 1 << 44  # more than there are, of either
_COUNTS = ("files_total", "files_done", "bytes_total", "bytes_done")


@dataclass(frozen=True, slots=True)
class MirroredCommit:
    """How far the files of one commit are, over all mirrors that want some of them."""

    repo: RepoRef
    revision: str
    state: str
    files_total: int
    files_done: int
    bytes_total: int
    bytes_done: int
    error: str | None
    wanted_at: datetime


def find(session: Session, ask: MirrorAsk, *, now: datetime) -> Mirror | None:
    """Return the mirror that is asked for, if there is one."""
    row = _find(session, ask)
    return None if row is None else _mirror(row, now)


def standing(session: Session, ask: MirrorAsk, *, now: datetime, fresh: timedelta = FRESH) -> Mirror | None:
    """Return the mirror where asking again changes nothing: it is under way, was done less than `fresh` ago, or has failed for
    now."""
    row = _find(session, ask)
    return _mirror(row, now) if row is not None and _stands(row, now, fresh) else None


def no_such_repo(session: Session, repo: RepoRef, *, now: datetime) -> Mirror | None:
    """Return a mirror of whichever revision of a repo at which upstream has just said that there is no such repo."""
    its = (MirrorRow.repo_name == repo.id, MirrorRow.repo_type == repo.type)
    no = (MirrorRow.state == MirrorState.FAILED.value, MirrorRow.code == "RepoNotFound", MirrorRow.retry_at > now)
    row = session.scalars(select(MirrorRow).where(*its, *no, MirrorRow.ended_at <= now + FRESH).limit(1)).one_or_none()
    return None if row is None else _mirror(row, now)


def ask(
    session: Session, wanted: MirrorAsk, *, now: datetime, insist: bool = False, most: int = MAX_OPEN, asker: str = ""
) -> Mirror:
    """Queue a mirror for `asker`; `insist`: also when it has just failed. Raises `Refused` (429) when `most` are open already, or
    too many that this asker was the first to ask for."""
    row = _find(session, wanted)
    if row is None:
        if _count(session, MirrorRow.state.in_(_OPEN)) >= most:
            raise Refused(429, "queue_full", f"{most} things are to be fetched already; try again later")
        its = _turn(session, asker)
        if its >= min(most, MAX_OPEN_OF_ONE):
            raise Refused(429, "queue_full", f"{its} things are to be fetched for you already; try again later")
        prune(session, now=now)
        row = MirrorRow(key=wanted.key, repo_type=wanted.repo.type, repo_name=wanted.repo.id, revision=wanted.revision)
        row.include = json.dumps(sorted(set(wanted.include)))
        row.asker, row.askers, row.turn = asker, "[]", its
        row.state, row.requested_at = MirrorState.QUEUED.value, now
        row.files_total = row.files_done = row.bytes_total = row.bytes_done = 0
        session.add(row)
    elif not _is_open(row) and (insist or not _stands(row, now)):
        row.state, row.requested_at, row.ended_at = MirrorState.QUEUED.value, now, None
        row.files_done = row.bytes_done = 0
        row.status = row.code = row.error = row.retry_at = None
        row.asker, row.askers, row.turn = asker, "[]", min(_turn(session, asker), MAX_OPEN_OF_ONE)
    _note(row, asker)
    row.wanted_at = now
    session.flush()
    return _mirror(row, now)


def report(session: Session, mirror_id: int, said: MirrorReport, *, now: datetime) -> Mirror:
    """Note what the seeder says of a mirror. Raises `Refused`: 404 when there is no such one, 409 when it was cancelled."""
    row = _get(session, mirror_id)
    if row.state == MirrorState.CANCELLED:
        raise Refused(409, "cancelled", f"an operator has cancelled mirror {mirror_id}")
    row.state, row.commit = said.state.value, said.commit or row.commit
    row.files_total, row.files_done = said.files_total, said.files_done
    row.bytes_total, row.bytes_done = said.bytes_total, said.bytes_done
    row.status = row.code = row.error = row.retry_at = row.ended_at = None
    if (error := said.error) is not None:
        row.status, row.code, row.error = error.status, error.code, error.message
        row.retry_at = now + (NO_STANDS if error.retry_after_s is None else timedelta(seconds=error.retry_after_s))
    if not said.state.is_open:
        row.ended_at = now
    session.flush()
    return _mirror(row, now)


def cancel(session: Session, match: ColumnElement[bool], *, now: datetime) -> list[Mirror]:
    """Cancel what is open of the mirrors that match; return those."""
    rows = list(session.scalars(select(MirrorRow).where(match, MirrorRow.state.in_(_OPEN)).order_by(MirrorRow.id)))
    for row in rows:
        row.state, row.ended_at, row.retry_at = MirrorState.CANCELLED.value, now, now + CANCELLED_STANDS
        row.status, row.code, row.error = None, "Cancelled", "an operator has cancelled it"
    session.flush()
    return [_mirror(row, now) for row in rows]


def get(session: Session, mirror_id: int, *, now: datetime) -> Mirror:
    """Return one mirror. Raises `Refused` (404)."""
    return _mirror(_get(session, mirror_id), now)


def unknown(mirror_id: int) -> Refused:
    """Return the no to a mirror that is not there."""
    return Refused(404, "not_found", f"nothing with the number {mirror_id} is to be fetched")


def page(
    session: Session, *, states: Collection[MirrorState], limit: int, before: int | None, listings: bool, now: datetime
) -> tuple[list[Mirror], int | None]:
    """Return a page of mirrors, the newest first, and the number after which the next one begins.

    `listings`: also those that want a listing only, whose names the seeder alone may know (upstream may not show such a repo
    without a token).
    """
    match: list[ColumnElement[bool]] = [MirrorRow.state.in_([state.value for state in states])]
    if before is not None:
        match.append(MirrorRow.id < before)
    if not listings:
        match.append(MirrorRow.include != _LISTING)
    rows = list(session.scalars(select(MirrorRow).where(*match).order_by(MirrorRow.id.desc()).limit(limit + 1)))
    return [_mirror(row, now) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None


def next_page(
    session: Session, *, states: Collection[MirrorState], limit: int, after: int | None, listings: bool, now: datetime
) -> tuple[list[Mirror], int | None]:
    """Return a page of mirrors as they are to be taken (listings first, then what is pinned, then what was asked for first, the
    first of each asker before the second of any), and the key after which the next one begins; `listings` as in `page`."""
    pinned = exists().where(Pin.repo_type == MirrorRow.repo_type, Pin.folded == func.lower(MirrorRow.repo_name))
    rank: ColumnElement[int] = case((MirrorRow.include == _LISTING, 0), (pinned, 1), else_=2)
    place = (rank * _TURNS + MirrorRow.turn).label("place")
    match: list[ColumnElement[bool]] = [MirrorRow.state.in_([state.value for state in states])]
    if after is not None:
        at, number = divmod(after, _NUMBERS)
        match.append(or_(place > at, and_(place == at, MirrorRow.id > number)))
    if not listings:
        match.append(MirrorRow.include != _LISTING)
    rows = session.execute(select(MirrorRow, place).where(*match).order_by(place, MirrorRow.id).limit(limit + 1)).all()
    last = rows[limit - 1] if len(rows) > limit else None
    key = None if last is None else last[1] * _NUMBERS + last[0].id
    return [_mirror(row, now) for row, _ in rows[:limit]], key


def count_by_state(session: Session) -> dict[str, int]:
    """Return how many mirrors are kept in each state."""
    counts = {state.value: 0 for state in MirrorState}
    for state, count in session.execute(select(MirrorRow.state, func.count()).group_by(MirrorRow.state)):
        counts[state] = count
    return counts


def progress(session: Session, *, since: datetime | None, limit: int) -> list[MirroredCommit]:
    """Return what is under way or has ended after `since` (None: what is under way alone), by commit, the latest wanted first."""
    is_open = MirrorRow.state.in_(_OPEN)
    of_late = is_open if since is None else or_(is_open, MirrorRow.ended_at > since)
    latest = func.max(MirrorRow.wanted_at).label("latest")
    at = func.coalesce(MirrorRow.commit, MirrorRow.revision).label("at")
    ranked = [state.value for state in (MirrorState.RUNNING, MirrorState.QUEUED, MirrorState.FAILED, MirrorState.CANCELLED)]
    states = {state: func.sum(case((MirrorRow.state == state, 1), else_=0)).label(state) for state in ranked}
    sums = [func.sum(getattr(MirrorRow, name)).label(name) for name in _COUNTS]
    error = func.max(MirrorRow.error).label("error")
    rows = session.execute(
        select(MirrorRow.repo_type, MirrorRow.repo_name, at, latest, error, *sums, *states.values())
        .where(MirrorRow.include != _LISTING, of_late)
        .group_by(MirrorRow.repo_type, MirrorRow.repo_name, at)
        .order_by(latest.desc())
        .limit(limit)
    ).mappings()
    return [
        MirroredCommit(
            repo=RepoRef(row["repo_type"], row["repo_name"]),
            revision=row["at"],
            state=next((state for state in states if row[state]), MirrorState.DONE.value),
            error=row["error"],
            wanted_at=row["latest"],
            **{name: int(row[name]) for name in _COUNTS},
        )
        for row in rows
    ]


def prune(session: Session, *, now: datetime) -> None:
    """Forget what ended a week ago, and earlier what was only asked for and is not there: names can be made up without end."""
    over = [state.value for state in MirrorState if not state.is_open]
    for kept, match in ((KEPT, MirrorRow.state.in_(over)), (VAIN_KEPT, MirrorRow.state == MirrorState.FAILED.value)):
        # It was wanted before it ended: by the index, so that a long queue is not looked through for each file more.
        old = [match, MirrorRow.wanted_at < now - kept, MirrorRow.ended_at < now - kept]
        if kept is VAIN_KEPT:
            old.append(MirrorRow.include == _LISTING)
        session.execute(delete(MirrorRow).where(*old).execution_options(synchronize_session=False))


def _find(session: Session, wanted: MirrorAsk) -> MirrorRow | None:
    return session.scalars(select(MirrorRow).where(MirrorRow.key == wanted.key)).one_or_none()


def _get(session: Session, mirror_id: int) -> MirrorRow:
    row = session.get(MirrorRow, mirror_id) if mirror_id <= MAX_MIRROR_ID else None
    if row is None:
        raise unknown(mirror_id)
    return row


def _turn(session: Session, asker: str) -> int:
    """Return how many open mirrors an asker was the first to ask for; of one without a name none are counted."""
    return _count(session, and_(MirrorRow.asker == asker, MirrorRow.state.in_(_OPEN))) if asker else 0


def _note(row: MirrorRow, asker: str) -> None:
    known = json.loads(row.askers)
    if asker and asker not in known and len(known) < MAX_ASKERS:
        row.askers = json.dumps([*known, asker])


def _is_open(row: MirrorRow) -> bool:
    return MirrorState(row.state).is_open


def _stands(row: MirrorRow, now: datetime, fresh: timedelta = FRESH) -> bool:
    if _is_open(row):
        return True
    if row.ended_at is None or _is_from_before(row.ended_at, now):
        return False
    if row.state != MirrorState.DONE:
        return row.retry_at is not None and now < row.retry_at
    return now - row.ended_at < fresh


def _is_from_before(ended_at: datetime, now: datetime) -> bool:
    """Tell whether something ended before the clock was set back: long ago, for all that is known. What ended while the one who
    asks had looked at the clock already, and waited for the database, is new."""
    return ended_at > now + FRESH


def _mirror(row: MirrorRow, now: datetime) -> Mirror:
    """Return what a row says; until when a failure stands is told as seconds from now."""
    error = None
    if row.error is not None:
        is_old = row.ended_at is not None and _is_from_before(row.ended_at, now)
        left_s = None if row.retry_at is None else 0 if is_old else max(0, round((row.retry_at - now).total_seconds()))
        error = MirrorProblem(row.error, row.status, row.code, left_s)
    return Mirror(
        id=row.id,
        ask=MirrorAsk(RepoRef(row.repo_type, row.repo_name), row.revision, tuple(json.loads(row.include))),
        report=MirrorReport(MirrorState(row.state), row.commit, **{name: getattr(row, name) for name in _COUNTS}, error=error),
        requested_at=row.requested_at,
        wanted_at=row.wanted_at,
        ended_at=row.ended_at,
        askers=tuple(json.loads(row.askers)),
    )


def _count(session: Session, match: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(MirrorRow).where(match)) or 0
