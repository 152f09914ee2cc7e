"""Which seeder may serve a file over HTTP: the one that said to have that very line of a manifest, with a token for that repo.

What a client without a hook gets from there, nobody checks. So a token's server serves what that token published, and the rest is
for the seeder beside this tracker, and for one that an operator lets fetch for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import BEFORE, UNNAMED, Blob, File, PublisherToken, Repo, Revision
from llmpt_tracker.rules import holders
from llmpt_tracker.rules.rights import MIRROR, grants

LINES = 1000  # of manifests that name a blob: beyond, the newest count


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a manifest."""

    repo: RepoRef
    commit: str
    path: str


def serves_for_all(token: PublisherToken) -> bool:
    """Say whether a seeder may fetch from upstream, and serve, what it has not published: it is the one beside this tracker, or
    its token says `mirror` beside `publish`."""
    return token.appliance or MIRROR in token.scope.split(",")


def has_own_seeder(session: Session) -> bool:
    """Say whether the seeder beside this tracker has ever been heard of."""
    its = (PublisherToken.appliance, PublisherToken.last_used_at.is_not(None), PublisherToken.revoked_at.is_(None))
    return session.scalar(select(PublisherToken.id).where(*its).limit(1)) is not None


def may_serve(session: Session, etag: str, *, token_id: int | None, seeder: str, place: Place | None = None) -> bool:
    """Say whether a seeder has said to have a blob, as the file at `place`; None: wherever it stands."""
    token = None if token_id is None else session.get(PublisherToken, token_id)
    if token is None:
        return False
    bit, named = holders.find(session, token.id, seeder), grants(token)
    unnamed = UNNAMED | BEFORE
    for repo, held, first in _lines(session, etag, place):
        if named.allows(repo) and (held & bit or (held & unnamed and first in (None, token.id))):
            return True
    return place is None and session.scalar(select(Blob.token_id).where(Blob.etag == etag)) == token.id


def _lines(session: Session, etag: str, place: Place | None) -> Iterable[tuple[RepoRef, int, int | None]]:
    rows = select(Repo.type, Repo.name, File.holders, Revision.token_id)
    rows = rows.join_from(File, Revision, Revision.id == File.revision_id).join(Repo, Repo.id == Revision.repo_id)
    rows = rows.where(File.etag == etag)
    if place is not None:
        at = (Repo.type == place.repo.type, Repo.name == place.repo.id, Revision.commit == place.commit, File.path == place.path)
        rows = rows.where(*at)
    found = session.execute(rows.order_by(File.revision_id.desc()).limit(LINES)).all()
    return [(RepoRef(kind, name), held, first) for kind, name, held, first in found]
