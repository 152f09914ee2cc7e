"""Where refs point, and on whose word: a ref belongs to the publisher that set it.

    nobody's         the first publisher of it sets it
    one publisher's  moves with that publisher's word, and with no other's
    confirmed        moves, whosever it is: the Hub said so just now, by the seeder beside this tracker, or an operator did

What another publisher says is noted (it has such a ref, wherever it points), and answered with what would move it. A token that
was revoked owns nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import UNNAMED, PublisherToken, Ref, Repo, Revision
from llmpt_tracker.errors import Refused

LEAD = timedelta(seconds=2)  # what was noted while the one who asks had looked at the clock already


@dataclass(frozen=True, slots=True)
class KeptRef:
    """A ref that stayed where it is, though a publisher said otherwise.

    commit: where it points
    owner: the name of the token whose ref it is
    """

    name: str
    commit: str
    owner: str

    def as_json(self, repo: RepoRef, wanted: str) -> dict[str, str]:
        """The ref as a publisher is told of it. `wanted`: the commit that it named."""
        remedy = f"`llmpt-tracker ref set {repo} {self.name} {wanted}` by an operator moves it"
        message = f"{self.name} of {repo} was set by {self.owner!r}, and stays at {self.commit[:12]}: {remedy}"
        return {"ref": self.name, "commit": self.commit, "message": message}


@dataclass(frozen=True, slots=True)
class ShownRef:
    """A ref as an operator sees it. `owner`: the name of its token, None: it is nobody's."""

    repo: RepoRef
    name: str
    commit: str
    owner: str | None


@dataclass(frozen=True, slots=True)
class Claims:
    """What became of the refs that a publisher named: those that it set or moved, and those that stayed."""

    moved: tuple[str, ...] = ()
    kept: tuple[KeptRef, ...] = ()


@dataclass(frozen=True, slots=True)
class RefNews:
    """How new it is that a ref points where it does.

    age_s: seconds since that was last said, by upstream or by the publisher whose ref it is; None: not known
    fresh: upstream said so within the lifetime of a ref
    """

    age_s: int | None
    fresh: bool


def claim(session: Session, revision: Revision, names: Sequence[str], *, by: PublisherToken, bit: int, confirmed: bool) -> Claims:
    """Let refs of a repo point at `revision` on the word of `by`, as far as it counts; `confirmed`: the Hub said so just now."""
    moved: list[str] = []
    kept: list[KeptRef] = []
    for name in names:
        ref = session.get(Ref, (revision.repo_id, name))
        if ref is None:
            fresh = Ref(repo_id=revision.repo_id, name=name, revision_id=revision.id, holders=bit, setter=bit, token_id=by.id)
            session.add(fresh)
            moved.append(name)
            continue
        ref.holders |= bit
        owner = None if ref.token_id is None else session.get(PublisherToken, ref.token_id)
        is_ours = owner is None or owner.id == by.id or owner.revoked_at is not None
        if not is_ours and not confirmed:
            if ref.revision_id != revision.id:
                kept.append(KeptRef(name, _commit(session, ref.revision_id), owner.name if owner else ""))
                ref.setter = UNNAMED if ref.setter in (0, bit) else ref.setter  # so that nobody says it anew
            continue
        if ref.revision_id != revision.id:
            moved.append(name)
            ref.confirmed_at = None
        ref.revision_id, ref.setter, ref.token_id = revision.id, bit, by.id
    return Claims(tuple(moved), tuple(kept))


def release(session: Session, revision_id: int, *, by: PublisherToken) -> None:
    """Let the refs to a revision be nobody's that a publisher has set and says to have no longer."""
    mine = update(Ref).where(Ref.revision_id == revision_id, Ref.token_id == by.id, Ref.holders == 0).values(token_id=None)
    session.execute(mine.execution_options(synchronize_session=False))


def date(session: Session, revision_id: int, names: Sequence[str], *, now: datetime, confirmed: bool) -> None:
    """Note that refs were just said to point at a revision, those of `names` that do; `confirmed`: by the Hub."""
    moments = {"said_at": now, "confirmed_at": now} if confirmed else {"said_at": now}
    dated = update(Ref).where(Ref.revision_id == revision_id, Ref.name.in_(names)).values(**moments)
    session.execute(dated.execution_options(synchronize_session=False))


def date_commit(session: Session, repo: RepoRef, name: str, commit: str, *, now: datetime) -> None:
    """Note that the Hub has just said that a ref points at a commit, if it does here."""
    its = (Repo.type == repo.type, Repo.name == repo.id, Revision.commit == commit)
    at = session.scalar(select(Revision.id).join(Repo, Repo.id == Revision.repo_id).where(*its))
    if at is not None:
        date(session, at, (name,), now=now, confirmed=True)


def news(session: Session, repo: RepoRef, name: str, *, now: datetime, ttl_s: float) -> RefNews:
    """Return how new it is where a ref points. A moment in the future is from before the clock was set back: long ago."""
    its = (Repo.type == repo.type, Repo.name == repo.id, Ref.name == name)
    row = session.execute(select(Ref.said_at, Ref.confirmed_at).join(Repo, Repo.id == Ref.repo_id).where(*its)).one_or_none()
    said, confirmed = (None, None) if row is None else (_age(row.said_at, now), _age(row.confirmed_at, now))
    ages = [age for age in (said, confirmed) if age is not None]
    return RefNews(
        round(min(ages).total_seconds()) if ages else None, confirmed is not None and confirmed <= timedelta(seconds=ttl_s)
    )


def _age(at: datetime | None, now: datetime) -> timedelta | None:
    """Return how long ago that was; None for never, and for a moment in the future."""
    if at is None or at - now > LEAD:
        return None
    return max(now - at, timedelta(0))


def confirm(session: Session, repo: RepoRef, name: str, commit: str) -> ShownRef:
    """Let a ref point at a commit because an operator says so. It is the publisher's of that commit from then on.

    Raises `Refused` (404) when no such commit is published.
    """
    row = session.scalars(select(Repo).where(Repo.type == repo.type, Repo.name == repo.id)).one_or_none()
    match = (Revision.repo_id == (row.id if row else -1), Revision.commit == commit)
    revision = session.scalars(select(Revision).where(*match)).one_or_none()
    if revision is None:
        raise Refused(404, "not_found", f"{repo} is not published with the commit {commit}: `llmpt-tracker ref list {repo}`")
    owner = None if revision.token_id is None else session.get(PublisherToken, revision.token_id)
    ref = session.get(Ref, (revision.repo_id, name))
    if ref is None:
        ref = Ref(repo_id=revision.repo_id, name=name, holders=UNNAMED)
        session.add(ref)
    ref.revision_id, ref.setter, ref.token_id = revision.id, UNNAMED, owner.id if owner else None
    ref.said_at = ref.confirmed_at = None
    return ShownRef(repo, name, commit, owner.name if owner else None)


def listed(session: Session, repo: RepoRef | None = None) -> list[ShownRef]:
    """Return the refs of a repo, or of all."""
    rows = select(Repo.type, Repo.name, Ref.name, Revision.commit, PublisherToken.name)
    rows = rows.join_from(Ref, Revision, Revision.id == Ref.revision_id).join(Repo, Repo.id == Ref.repo_id)
    rows = rows.outerjoin(PublisherToken, PublisherToken.id == Ref.token_id).order_by(Repo.type, Repo.name, Ref.name)
    if repo is not None:
        rows = rows.where(Repo.type == repo.type, Repo.name == repo.id)
    return [ShownRef(RepoRef(kind, name), ref, commit, owner) for kind, name, ref, commit, owner in session.execute(rows).all()]


def _commit(session: Session, revision_id: int) -> str:
    return session.scalar(select(Revision.commit).where(Revision.id == revision_id)) or ""
