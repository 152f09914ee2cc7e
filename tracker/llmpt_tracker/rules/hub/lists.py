"""The list of repos as the Hub has it: by words, author and tags; the newest first, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import Ref, Repo, Revision
from llmpt_tracker.rules import holders
from llmpt_tracker.rules.hub.cards import card, tags
from llmpt_tracker.rules.hub.revisions import DEFAULT_REVISION, HubRevision

BATCH = 200


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What is asked for: a part of the name, its owner, tags (all of them).

    `before`: where the last page ended.
    """

    repo_type: str
    search: str = ""
    author: str = ""
    tags: frozenset[str] = frozenset()
    limit: int = 1000
    before: int | None = None


def list_repos(session: Session, query: ListQuery) -> tuple[list[HubRevision], int | None]:
    """Return a page of repos, each at `main` (or its newest commit), and where it ended (None: that was the last one)."""
    found: list[tuple[int, HubRevision]] = []
    before = query.before
    while len(found) <= query.limit:
        repos = _batch(session, query, before)
        revisions = _revisions(session, [repo.id for repo in repos])
        for repo in repos:
            at = revisions.get(repo.id)
            if at is not None and (not query.tags or query.tags <= set(tags(card(at.card)))):
                where = HubRevision(at.id, RepoRef(repo.type, repo.name), at.commit, at.complete, at.card, at.published_at)
                found.append((repo.id, where))
        if len(repos) < BATCH:
            break
        before = repos[-1].id
    page = found[: query.limit]
    return [revision for _, revision in page], page[-1][0] if len(found) > query.limit else None


def count_repos(session: Session, owner: str) -> dict[str, int]:
    """Return how many repos of an owner are here, by type; {}: none."""
    its = func.lower(Repo.name).startswith(f"{owner.lower()}/", autoescape=True)
    counts = select(Repo.type, func.count()).where(its, holders.is_repo_here(Repo.id)).group_by(Repo.type)
    return {row[0]: row[1] for row in session.execute(counts)}


def _batch(session: Session, query: ListQuery, before: int | None) -> Sequence[Repo]:
    statement = (
        select(Repo).where(Repo.type == query.repo_type, holders.is_repo_here(Repo.id)).order_by(Repo.id.desc()).limit(BATCH)
    )
    if before is not None:
        statement = statement.where(Repo.id < before)
    if query.author:
        statement = statement.where(Repo.name.startswith(f"{query.author}/", autoescape=True))
    if query.search:
        statement = statement.where(func.lower(Repo.name).contains(query.search.lower(), autoescape=True))
    return session.scalars(statement).all()


def _revisions(session: Session, repos: Sequence[int]) -> dict[int, Revision]:
    here = holders.has_files(Revision.id)
    newest = select(func.max(Revision.id)).where(Revision.repo_id.in_(repos), here).group_by(Revision.repo_id)
    main = select(Ref.revision_id).where(Ref.repo_id.in_(repos), Ref.name == DEFAULT_REVISION, holders.is_ref_here())
    found = {one.repo_id: one for one in session.scalars(select(Revision).where(Revision.id.in_(newest)))}
    found.update((one.repo_id, one) for one in session.scalars(select(Revision).where(Revision.id.in_(main))))
    return found
