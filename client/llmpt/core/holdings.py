"""What a tracker's catalogue has on the word of one seeder: told to it, so that it finds out what was lost there.

`as_json` writes one, `parse` reads it again; what cannot be one raises `InvalidInput`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmpt.core.errors import InvalidInput
from llmpt.core.fields import Fields
from llmpt.core.repo import RepoRef, check_commit, check_ref


@dataclass(frozen=True, slots=True)
class HeldCommit:
    """What is known of a commit of which the seeder has something.

    complete: the whole listing is known
    files: how many are listed, here or not
    here: how many of them the seeder has
    torrents: how many of these have a torrent
    """

    repo: RepoRef
    commit: str
    complete: bool
    files: int
    here: int
    torrents: int

    @classmethod
    def parse(cls, said: object) -> HeldCommit:
        row = Fields(said, "what is held of a commit")
        return cls(
            _repo(row),
            check_commit(row.text("commit")),
            row.any("complete") is True,
            row.count("files"),
            row.count("here"),
            row.count("torrents"),
        )

    def as_json(self) -> dict[str, Any]:
        counts = {"files": self.files, "here": self.here, "torrents": self.torrents}
        return {**_as_json(self.repo), "commit": self.commit, "complete": self.complete, **counts}


@dataclass(frozen=True, slots=True)
class HeldRef:
    """A ref that the seeder has; `commit` is None where another publisher said last where it points."""

    repo: RepoRef
    name: str
    commit: str | None

    @classmethod
    def parse(cls, said: object) -> HeldRef:
        row = Fields(said, "a ref that is held")
        commit = row.optional("commit", row.text)
        return cls(_repo(row), check_ref(row.text("name")), None if commit is None else check_commit(commit))

    def as_json(self) -> dict[str, Any]:
        return {**_as_json(self.repo), "name": self.name, "commit": self.commit}


@dataclass(frozen=True, slots=True)
class Holdings:
    """All of it."""

    commits: tuple[HeldCommit, ...] = ()
    refs: tuple[HeldRef, ...] = ()

    @property
    def digest(self) -> str:
        """Return what changes when anything in it does."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:32]

    @classmethod
    def parse(cls, said: object) -> Holdings:
        told = Fields(said, "what is held")
        return cls(
            tuple(HeldCommit.parse(row) for row in _rows(told, "commits")),
            tuple(HeldRef.parse(row) for row in _rows(told, "refs")),
        )

    def as_json(self) -> dict[str, Any]:
        return {"commits": [one.as_json() for one in self.commits], "refs": [one.as_json() for one in self.refs]}


def _rows(told: Fields, name: str) -> Iterator[object]:
    rows = told.any(name)
    if not isinstance(rows, list):
        raise InvalidInput(f"{name}: a list")
    yield from rows


def _repo(row: Fields) -> RepoRef:
    return RepoRef(row.text("repo_type"), row.text("repo_id"))


def _as_json(repo: RepoRef) -> dict[str, Any]:
    return {"repo_type": repo.type, "repo_id": repo.id}
