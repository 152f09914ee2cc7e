"""Who may read what, where reading takes a token (LLMPT_REQUIRE_READ_TOKEN): the one place that decides.

A token reads the repos that its patterns name, what stands in their revisions, and the blobs that a file of theirs is. A blob
that no manifest names may be read with any token if a machine shared it: machines share what is public. One that a publisher
has published is on its way into a manifest, which will tell whose it is.

What may not be read is not there: `limit` makes a session blind for it, whatever is asked in it through the models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from threading import Lock
from typing import Any

from sqlalchemy import ColumnElement, and_, event, exists, or_, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from llmpt.core.patterns import RepoPatterns
from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import Blob, File, Path, PublisherToken, Ref, Repo, Revision
from llmpt_tracker.read_keys import KeyOwner
from llmpt_tracker.rules.rights import PUBLISH, READ, grants, may

BATCH = 500  # names in one IN (…)
REMEMBERED = 256
_LIMITED = "llmpt_limited"
_FILES, _REVISIONS = File.__table__.c, Revision.__table__.c


@dataclass(frozen=True, slots=True)
class Reader:
    """What one token may read.

    `owner`: the token, as keys name it.
    `repos`: the repos that it names; None: all, and all that stands in none.
    """

    owner: KeyOwner
    repos: RepoPatterns | None = None

    @classmethod
    def of(cls, token: PublisherToken) -> Reader:
        return cls(KeyOwner.of(token.id, token.created_at), None if token.repos is None else grants(token))

    @classmethod
    def of_repo(cls, repo: RepoRef) -> Reader:
        """Return the holder of a token of the Hub's, which is good for one repo there; it has no keys."""
        return cls(KeyOwner(0, 0), RepoPatterns((f"{repo.type}s/{repo.id}",)))

    def may_read(self, repo: RepoRef) -> bool:
        """Say whether it may read a repo."""
        return self.repos is None or _allows(self.repos, repo)


class GrantedRepos:
    """The ids of the repos that readers may read. Repos come and never go, so each request looks only at those that are new; all
    of them are looked at once in `fresh_s`: where processes write at once, a smaller id may come later. Used by many threads.
    """

    def __init__(self, *, fresh_s: float = 60.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._fresh_s, self._monotonic, self._lock = fresh_s, monotonic, Lock()
        self._found: dict[RepoPatterns, tuple[float, int, tuple[int, ...]]] = {}  # until when, up to which id, and those

    def ids(self, session: Session, patterns: RepoPatterns) -> tuple[int, ...]:
        """Return the ids of the repos that patterns name."""
        now = self._monotonic()
        with self._lock:
            until, last, ids = self._found.get(patterns, (now, 0, ()))
        if now >= until:
            until, last, ids = now + self._fresh_s, 0, ()
        rows: Any = session.execute(select(Repo.id, Repo.type, Repo.name).where(Repo.id > last).order_by(Repo.id)).all()
        if rows:
            ids += tuple(key for key, kind, name in rows if _allows(patterns, RepoRef(kind, name)))
            with self._lock:
                if len(self._found) >= REMEMBERED:
                    self._found.clear()
                self._found[patterns] = until, rows[-1][0], ids
        return ids


def limit(session: Session, reader: Reader | None, granted: GrantedRepos) -> None:
    """Let every statement of a session see only what `reader` may read; None sees all.

    Statements on tables instead of models are not limited: `is_limited` says that they must not be used.
    """
    if reader is None or reader.repos is None:
        return
    ids = granted.ids(session, reader.repos)
    session.info[_LIMITED] = True
    event.listen(session, "do_orm_execute", partial(_hide, _criteria(ids)))


def owners(session: Session, *, now: datetime) -> list[KeyOwner]:
    """Return the tokens with which something may be read now."""
    valid = (PublisherToken.revoked_at.is_(None), or_(PublisherToken.expires_at.is_(None), PublisherToken.expires_at > now))
    found = session.scalars(select(PublisherToken).where(*valid))
    return [KeyOwner.of(one.id, one.created_at) for one in found if may(one, READ)]


def is_limited(session: Session) -> bool:
    """Say whether a session sees only what someone may read."""
    return _LIMITED in session.info


def readable(session: Session, etags: Sequence[str]) -> list[str]:
    """Return those of `etags` that have a torrent which the session sees, in their order; all of them if it is not limited."""
    if not is_limited(session):
        return list(etags)
    seen: set[str] = set()
    for start in range(0, len(etags), BATCH):
        seen.update(session.scalars(select(Blob.etag).where(Blob.etag.in_(etags[start : start + BATCH]))))
    return [etag for etag in etags if etag in seen]


def may_read_blob(session: Session, etag: str) -> bool:
    """Say whether a limited session sees a blob, also a small file's that has no torrent."""
    if not is_limited(session) or session.scalar(select(Blob.id).where(Blob.etag == etag)) is not None:
        return True
    return session.scalar(select(File.path).where(File.etag == etag).limit(1)) is not None


def _hide(criteria: Collection[Any], state: ORMExecuteState) -> None:
    if state.is_select:
        state.statement = state.statement.options(*criteria)


def _criteria(repos: Sequence[int]) -> list[Any]:
    revisions = select(_REVISIONS.id).where(_REVISIONS.repo_id.in_(repos))
    named = select(_FILES.path).where(_FILES.blob_id == Blob.id)
    granted: ColumnElement[bool] = exists(named.where(_FILES.revision_id.in_(revisions)).correlate(Blob.__table__))
    publishers = select(PublisherToken.__table__.c.id).where(PublisherToken.__table__.c.scope.contains(PUBLISH))
    shared = and_(~exists(named.correlate(Blob.__table__)), Blob.token_id.not_in(publishers))
    rules: list[tuple[Any, ColumnElement[bool]]] = [
        (Repo, Repo.id.in_(repos)),
        (Revision, Revision.repo_id.in_(repos)),
        (Path, Path.repo_id.in_(repos)),
        (Ref, Ref.repo_id.in_(repos)),
        (File, File.revision_id.in_(revisions)),
        (Blob, or_(granted, shared)),
    ]
    return [with_loader_criteria(model, rule, include_aliases=True) for model, rule in rules]


@lru_cache(maxsize=1 << 16)
def _allows(patterns: RepoPatterns, repo: RepoRef) -> bool:
    return patterns.allows(repo)
