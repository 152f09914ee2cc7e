"""Under which name a repo is in the catalogue: on the Hub, names in lower and upper case are the same."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import Repo
from llmpt_tracker.rules.hub.revisions import is_known

MAX_REMEMBERED = 10_000


class Spelling:
    """Knows repos that are written as here, so that nothing is asked for them. Used by many threads; one for each application."""

    def __init__(self) -> None:
        self._exact: set[RepoRef] = set()

    def is_exact(self, repo: RepoRef) -> bool:
        """Whether a repo is known to be written so."""
        return repo in self._exact

    def as_here(self, session: Session, repo: RepoRef) -> RepoRef:
        """Return a repo under its name in the catalogue; as it is, where that knows none like it."""
        its = (Repo.type == repo.type, Repo.folded == repo.folded.id)
        names = session.scalars(select(Repo.name).where(*its, is_known()).order_by(Repo.id)).all()
        if repo.id in names:
            if len(self._exact) >= MAX_REMEMBERED:
                self._exact = set()
            self._exact.add(repo)
        return repo if repo.id in names or not names else RepoRef(repo.type, names[0])
