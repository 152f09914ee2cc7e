"""The list of repos as people look at it: by words, in an order of theirs, a page at a time."""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import File, Path, Repo, Revision
from llmpt_tracker.rules import holders, paging
from llmpt_tracker.rules.catalogue.repos import RepoSummary, summaries
from llmpt_tracker.rules.search import search

Place = tuple[int, int]  # a repo in the order of sizes: the negated bytes of its newest revision that are here, its negated key


class Order(str, enum.Enum):
    """What stands first."""

    NEWEST = "newest"
    NAME = "name"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class RepoQuery:
    """Which repos: those with a file that is found by all `terms`, in an `order`, after the cursor `after`."""

    terms: tuple[str, ...] = ()
    order: Order = Order.NEWEST
    limit: int = paging.DEFAULT_LIMIT
    after: str | None = None


def browse(session: Session, query: RepoQuery, *, by_size: Sequence[Place] = ()) -> tuple[list[RepoSummary], str | None]:
    """Return a page of repos that are here, each with its newest revision, and the cursor of the next one (None: this is the
    last). `by_size`: what `sizes` said, for that order. Raises `Refused` (400) for a cursor that is none."""
    found = _by_size(session, query, by_size) if query.order is Order.SIZE else _by_index(session, query)
    page = found[: query.limit]
    more = len(found) > query.limit
    return summaries(session, page, shown=1), _cursor(query.order, page[-1], by_size) if more else None


def sizes(session: Session) -> list[Place]:
    """Return all repos, the largest first: this looks at every file, so that its answer should be kept for a while."""
    newest = select(func.max(Revision.id)).where(holders.has_files(Revision.id)).group_by(Revision.repo_id)
    size = func.coalesce(func.sum(File.size).filter(holders.is_here()), 0)
    rows: Any = session.execute(
        select(Revision.repo_id, size)
        .join(File, File.revision_id == Revision.id)
        .where(Revision.id.in_(newest))
        .group_by(Revision.repo_id)
    )
    return sorted((-int(its), -key) for key, its in rows)


def _by_index(session: Session, query: RepoQuery) -> Sequence[Repo]:
    statement = select(Repo).where(holders.is_repo_here(Repo.id)).limit(query.limit + 1)
    if query.terms:
        statement = statement.where(Repo.id.in_(_found(session, query.terms)))
    if query.order is Order.NEWEST:
        before = paging.read_cursor(query.after)
        statement = statement.order_by(Repo.id.desc())
        return session.scalars(statement if before is None else statement.where(Repo.id < before)).all()
    statement = statement.order_by(Repo.folded, Repo.id)
    if query.after is not None:
        name, key = paging.read_pair_cursor(query.after, str)
        statement = statement.where(tuple_(Repo.folded, Repo.id) > (name, key))
    return session.scalars(statement).all()


def _by_size(session: Session, query: RepoQuery, by_size: Sequence[Place]) -> Sequence[Repo]:
    start = 0
    if query.after is not None:
        size, key = paging.read_pair_cursor(query.after, int)
        start = bisect_right(by_size, (-size, -key))
    keys: Iterator[int] = (-by_size[at][1] for at in range(start, len(by_size)))
    if query.terms:
        wanted = set(session.scalars(_found(session, query.terms)))
        keys = (key for key in keys if key in wanted)
    chosen = list(islice(keys, query.limit + 1))
    rows = {row.id: row for row in session.scalars(select(Repo).where(Repo.id.in_(chosen), holders.is_repo_here(Repo.id)))}
    return [rows[key] for key in chosen if key in rows]


def _found(session: Session, terms: tuple[str, ...]) -> Any:
    return select(Path.repo_id).where(search(session, terms)).distinct()


def _cursor(order: Order, last: Repo, by_size: Sequence[Place]) -> str:
    if order is Order.NEWEST:
        return paging.write_cursor(last.id)
    if order is Order.NAME:
        return paging.write_pair_cursor(last.folded, last.id)
    return paging.write_pair_cursor(next(-size for size, key in by_size if -key == last.id), last.id)
