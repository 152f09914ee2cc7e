"""Repos of the catalogue, their revisions, and what a revision holds; the newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session

from llmpt.core.metainfo import InfoHash
from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import Blob, File, Instance, Path, Ref, Repo, Revision
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import holders, search

REVISIONS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class RevisionSummary:
    """A commit, and how much of it is known.

    `complete`: its whole listing is known.
    `files`, `size`: what is listed; `size` in bytes.
    `files_here`, `size_here`: what of it is here now: a publisher has it, or a machine of the LAN.
    """

    key: int
    commit: str
    refs: tuple[str, ...]
    complete: bool
    files: int
    size: int
    files_here: int
    size_here: int
    published_at: datetime


@dataclass(frozen=True, slots=True)
class RevisionLine:
    """A commit in the list of a repo's. `complete`: its whole listing is known; `is_whole`: and each file of it is here."""

    key: int
    commit: str
    refs: tuple[str, ...]
    complete: bool
    is_whole: bool
    published_at: datetime


@dataclass(frozen=True, slots=True)
class RepoSummary:
    """A repo and the newest of its revisions that are here, at most 20."""

    key: int
    repo: RepoRef
    revisions: tuple[RevisionSummary, ...]


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """A file of a manifest.

    `here`: whether a publisher, or a machine of the LAN, has its bytes now.
    `info_hash`: None for a file that has no swarm.
    """

    path: str
    size: int
    etag: str
    lfs: bool
    here: bool
    info_hash: InfoHash | None

    @property
    def swarm(self) -> str | None:
        """The truncated info-hash in hex."""
        return self.info_hash.truncated.hex() if self.info_hash else None


def list_repos(
    session: Session, *, limit: int, before: int | None, terms: tuple[str, ...] = ()
) -> tuple[list[RepoSummary], int | None]:
    """Return a page of the repos that are here (with `terms`, of those that have a file found by them), and the key after which
    the next page begins (None: this is the last one)."""
    if terms:
        return _found_repos(session, terms, limit=limit, before=before)
    statement = select(Repo).where(holders.is_repo_here(Repo.id)).order_by(Repo.id.desc()).limit(limit + 1)
    if before is not None:
        statement = statement.where(Repo.id < before)
    repos = session.scalars(statement).all()
    page = repos[:limit]
    return summaries(session, page, shown=REVISIONS_SHOWN), page[-1].id if len(repos) > limit else None


def summaries(session: Session, repos: Sequence[Repo], *, shown: int) -> list[RepoSummary]:
    """Return what is known of these repos, in their order, each with the newest of its revisions that are here, so many of them
    at most."""
    revisions = _revisions(session, [repo.id for repo in repos], holders.has_files(Revision.id), shown=shown)
    return [RepoSummary(repo.id, RepoRef(repo.type, repo.name), tuple(revisions[repo.id])) for repo in repos]


def revision_lines(session: Session, repo: RepoRef, *, limit: int, before: int | None) -> tuple[list[RevisionLine], int | None]:
    """Return a page of a repo's revisions, here or not, the newest first, and the key after which the next page begins. Their
    files are not counted. Raises `Refused` (404)."""
    away = exists(select(File.path).where(File.revision_id == Revision.id, File.holders == 0))
    statement = select(Revision.id, Revision.commit, Revision.complete, ~away, Revision.published_at)
    statement = statement.where(Revision.repo_id == _row(session, repo).id)
    if before is not None:
        statement = statement.where(Revision.id < before)
    rows: Any = session.execute(statement.order_by(Revision.id.desc()).limit(limit + 1)).all()
    page = rows[:limit]
    refs = _refs(session, [row[0] for row in page])
    lines = [
        RevisionLine(key, commit, tuple(refs[key]), complete, complete and has_all, published_at)
        for key, commit, complete, has_all, published_at in page
    ]
    return lines, page[-1][0] if len(rows) > limit else None


def default_revision(session: Session, repo: RepoRef) -> str:
    """Return what a repo is shown at: `main`, else its newest commit. Raises `Refused` (404)."""
    row = _row(session, repo)
    if session.scalar(select(Ref.name).where(Ref.repo_id == row.id, Ref.name == "main", holders.is_ref_here())):
        return "main"
    newest = select(Revision.commit).where(Revision.repo_id == row.id).order_by(Revision.id.desc())
    found = session.scalar(newest.limit(1))
    if found is None:
        raise Refused(404, "not_found", f"nothing of {repo} is published here")
    return found


def find_revision(session: Session, repo: RepoRef, revision: str) -> RevisionSummary:
    """Return a commit of a repo, by commit id (here or not: what it holds stays known) or the name of a ref.

    Raises `Refused` (404).
    """
    row = _row(session, repo)
    by_ref = select(Ref.revision_id).where(Ref.repo_id == row.id, Ref.name == revision, holders.is_ref_here())
    match = (Revision.commit == revision) | Revision.id.in_(by_ref)
    found = _revisions(session, [row.id], match)[row.id]
    if not found:
        raise Refused(404, "not_found", f"{repo} is published here, but not its revision {revision!r:.80}")
    return found[0]


def manifest(session: Session, revision: RevisionSummary, *, limit: int, after: str | None = None) -> list[ManifestLine]:
    """Return the next `limit` files of a revision, by path, `after` that one (None: from the first on)."""
    statement = _lines(revision).limit(limit)
    if after is not None:
        statement = statement.where(File.path > after)
    return list(map(_line, session.execute(statement)))


def whole_manifest(session: Session, revision: RevisionSummary) -> Iterator[ManifestLine]:
    """Yield every file of a revision, by path; few of them are in memory at a time."""
    yield from map(_line, session.execute(_lines(revision).execution_options(yield_per=1000)))


def paths_of(session: Session, etags: Collection[str]) -> dict[str, str]:
    """Return a path, of any revision, for each of `etags` that a manifest names; a page of them at most."""
    found = select(File.etag, func.min(File.path).label("path")).where(File.etag.in_(etags)).group_by(File.etag)
    return {row.etag: row.path for row in session.execute(found)}


def totals(session: Session) -> tuple[int, int, int]:
    """Return how many repos and blobs are here, and the bytes of the blobs."""
    repos = session.scalar(select(func.count()).select_from(Repo).where(holders.is_repo_here(Repo.id))) or 0
    sums = select(func.count(), func.coalesce(func.sum(Blob.size), 0)).select_from(Blob)
    blobs, size = session.execute(sums).one()
    away, away_size = session.execute(sums.where(holders.is_blob_away())).one()  # few, and by an index
    return repos, blobs - away, int(size) - int(away_size)


def instance_id(session: Session) -> str:
    """Return the identity of this database."""
    return session.scalars(select(Instance.uuid)).one()


def _row(session: Session, repo: RepoRef) -> Repo:
    row = session.scalars(select(Repo).where(Repo.type == repo.type, Repo.name == repo.id)).one_or_none()
    if row is None:
        raise Refused(404, "not_found", f"nothing of {repo} is published here")
    return row


def _found_repos(
    session: Session, terms: tuple[str, ...], *, limit: int, before: int | None
) -> tuple[list[RepoSummary], int | None]:
    """Return `list_repos` of a search, in the order of the newest paths that are found: a key is such a path's."""
    found = search.newest(select(Path.id, Path.repo_id), session.get_bind().dialect.name, terms, before=before)
    its = [holders.is_repo_here(Repo.id)]
    if before is not None:  # what an earlier page has shown
        its.append(~exists(select(Path.id).where(Path.repo_id == Repo.id, Path.id >= before, search.has(terms))))
    page: list[tuple[int, Repo]] = []
    rows: Any
    with session.execute(found) as rows:
        newest: dict[int, int] = {}
        new = ((at, key) for at, key in rows if newest.setdefault(key, at) == at)
        while batch := list(islice(new, limit + 1 - len(page))):
            here = {repo.id: repo for repo in session.scalars(select(Repo).where(Repo.id.in_([key for _, key in batch]), *its))}
            page += [(at, here[key]) for at, key in batch if key in here]
    shown = page[:limit]
    return summaries(session, [repo for _, repo in shown], shown=REVISIONS_SHOWN), shown[-1][0] if len(page) > limit else None


def _lines(revision: RevisionSummary) -> Any:
    return (
        select(File.path, File.size, File.etag, File.lfs, holders.is_here(), Blob.info_hash)
        .outerjoin(Blob, Blob.id == File.blob_id)
        .where(File.revision_id == revision.key)
        .order_by(File.path)
    )


def _line(row: Any) -> ManifestLine:
    path, size, etag, lfs, here, info_hash = row
    return ManifestLine(path, size, etag, lfs, here, InfoHash(info_hash) if info_hash else None)


def _revisions(
    session: Session, repos: Sequence[int], *match: ColumnElement[bool], shown: int = REVISIONS_SHOWN
) -> defaultdict[int, list[RevisionSummary]]:
    nth = func.row_number().over(partition_by=Revision.repo_id, order_by=Revision.id.desc()).label("nth")
    columns = (Revision.id, Revision.repo_id, Revision.commit, Revision.complete, Revision.published_at)  # cards may be long
    newest = select(*columns, nth).where(Revision.repo_id.in_(repos), *match).subquery()
    rows = session.execute(select(newest).where(newest.c.nth <= shown).order_by(newest.c.nth)).all()
    keys = [row.id for row in rows]
    is_here = holders.is_here()
    here = (func.count().filter(is_here), func.coalesce(func.sum(File.size).filter(is_here), 0))
    counts = {
        key: (files, int(size), files_here, int(size_here))
        for key, files, size, files_here, size_here in session.execute(
            select(File.revision_id, func.count(), func.sum(File.size), *here)
            .where(File.revision_id.in_(keys))
            .group_by(File.revision_id)
        )
    }
    refs = _refs(session, keys)
    found: defaultdict[int, list[RevisionSummary]] = defaultdict(list)
    for row in rows:
        figures = counts.get(row.id, (0, 0, 0, 0))
        found[row.repo_id].append(
            RevisionSummary(row.id, row.commit, tuple(refs[row.id]), row.complete, *figures, row.published_at)
        )
    return found


def _refs(session: Session, keys: Sequence[int]) -> defaultdict[int, list[str]]:
    """Return the refs that point at revisions now, by name."""
    refs: defaultdict[int, list[str]] = defaultdict(list)
    named = select(Ref.revision_id, Ref.name).where(Ref.revision_id.in_(keys), holders.is_ref_here())
    for key, name in session.execute(named.order_by(Ref.name)):
        refs[key].append(name)
    return refs
