"""`llmpt-seeder scan`: every repo of the caches with the verdict and its reason."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmpt.core.repo import HubAnswer, RepoRef
from llmpt_seeder.cache.contents import CachedRepo, Problem
from llmpt_seeder.cache.scanner import scan
from llmpt_seeder.sharing import AnswerMemory, Sharing, Verdict
from llmpt_seeder.state import open_state


@dataclass(frozen=True, slots=True)
class RepoLine:
    """One repo of one cache as the report shows it; `size` is the bytes of its blobs, each counted once."""

    cache: str
    repo_type: str
    repo_id: str
    revisions: int
    files: int
    size: int
    shared: bool
    reason: str
    problems: tuple[Problem, ...]

    @classmethod
    def of(cls, cache: Path, repo: CachedRepo, verdict: Verdict) -> RepoLine:
        blobs = {blob.path: blob.size for snapshot in repo.snapshots for _, blob in snapshot.files}
        files = len({path for snapshot in repo.snapshots for path, _ in snapshot.files})
        return cls(
            str(cache),
            repo.ref.type,
            repo.ref.id,
            len(repo.snapshots),
            files,
            sum(blobs.values()),
            verdict.shared,
            verdict.reason,
            repo.problems,
        )

    @property
    def name(self) -> str:
        return str(RepoRef(self.repo_type, self.repo_id))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def lines(
    caches: Sequence[Path],
    patterns: tuple[str, ...],
    *,
    memory: AnswerMemory,
    ask: Callable[[RepoRef], tuple[bool, str]],
    clock: Callable[[], float],
) -> Iterator[RepoLine]:
    """Yield the report's lines; the first cache must be there, or it raises `CacheMissing`. Reads no blob."""
    sharing = Sharing(patterns, memory=memory, ask=ask, clock=clock)
    for cache in caches:
        if cache == caches[0] or cache.is_dir():
            for repo in scan(cache):
                yield RepoLine.of(cache, repo, sharing.verdict(repo.ref))


class ForgetfulMemory:
    """Answers from what is remembered, and keeps new answers for the time of one report only."""

    def __init__(self, remembered: dict[RepoRef, HubAnswer]) -> None:
        self._answers = remembered

    def hub_answer(self, repo: RepoRef) -> HubAnswer | None:
        return self._answers.get(repo)

    def keep_hub_answer(self, repo: RepoRef, answer: HubAnswer) -> None:
        self._answers[repo] = answer


@contextmanager
def open_memory(database: Path, *, dry: bool) -> Iterator[AnswerMemory]:
    """Open the seeder's memory; with `dry` a copy of it, so that nothing at all is written."""
    if not dry:
        with open_state(database) as state:
            yield state
        return
    yield ForgetfulMemory(_read_answers(database))


def _read_answers(database: Path) -> dict[RepoRef, HubAnswer]:
    """Read the Hub's remembered answers without writing; none when there is no database, or it cannot be read."""
    try:
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    except sqlite3.Error:
        return {}
    try:
        rows = connection.execute("SELECT repo, public, reason, asked_at FROM hub_answers").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):  # of a damaged file not even the message can be read
        return {}
    finally:
        connection.close()
    return {RepoRef(*repo.split(":", 1)): HubAnswer(bool(public), reason, at) for repo, public, reason, at in rows}
