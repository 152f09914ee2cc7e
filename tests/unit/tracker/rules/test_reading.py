"""Which repos a reader may read: found by looking at those that are new, whatever there is."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy.orm import Session

from llmpt.core.patterns import RepoPatterns
from llmpt_tracker.rules.reading import GrantedRepos

ACME = RepoPatterns(("acme/*",))


class Database:
    """Has repos by id; `looked_at` counts the rows of each question."""

    def __init__(self) -> None:
        self.repos: dict[int, str] = {}
        self.looked_at: list[int] = []

    def execute(self, statement: Any) -> Database:
        (last,) = statement.compile().params.values()
        self._rows = [(key, "model", name) for key, name in self.repos.items() if key > last]
        self.looked_at.append(len(self._rows))
        return self

    def all(self) -> list[tuple[int, str, str]]:
        return self._rows


def test_a_request_looks_at_new_repos_alone_and_at_all_of_them_once_a_minute() -> None:
    database, now = Database(), [0.0]
    granted = GrantedRepos(fresh_s=60, monotonic=lambda: now[0])

    def ids() -> tuple[int, ...]:
        return granted.ids(cast(Session, database), ACME)

    database.repos = {number: f"acme/{number}" for number in range(1, 1001)}
    assert len(ids()) == len(ids()) == 1000
    database.repos |= {1001: "other/one", 1002: "acme/new"}
    assert len(ids()) == 1001
    assert 1001 not in ids()
    assert database.looked_at == [1000, 0, 2, 0]
    now[0] = 60.0
    assert len(ids()) == 1001
    assert database.looked_at[-1] == 1002
