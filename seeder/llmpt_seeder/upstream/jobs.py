"""A row of the tracker's queue, and what the seeder makes of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from llmpt.core.repo import RepoRef, check_ref
from llmpt_seeder.cache.listing import ListedFile, Listing

log = logging.getLogger("llmpt.seeder")

UNREACHABLE = "Unreachable"  # the code of a no that is not upstream's: whatever else is asked of it now, asked in vain


@dataclass(frozen=True, slots=True)
class Row:
    """What somebody wants: files of a revision that the patterns of `include` name; without patterns its listing only."""

    id: int
    repo: RepoRef
    revision: str
    include: tuple[str, ...]

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Row | None:
        """Read what the tracker says; None when it makes no sense to us (a newer tracker's?): the other rows go on."""
        try:
            repo = RepoRef(row["repo_type"], row["repo_id"])
            return cls(int(row["id"]), repo, check_ref(row["revision"]), tuple(map(str, row["include"])))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("a row of the tracker's queue is passed over: %s", error)
            return None

    def chosen(self, listing: Listing) -> dict[str, ListedFile]:
        """Return the files that it names; a pattern that ends with a slash names a folder, as huggingface_hub has it."""
        patterns = [f"{pattern}*" if pattern.endswith("/") else pattern for pattern in self.include]
        return {path: file for path, file in listing.items() if any(fnmatchcase(path, pattern) for pattern in patterns)}


@dataclass(slots=True)
class Job:
    """A row whose files are known. `told` is what the tracker was told of it last, `told_at` when (monotonic seconds)."""

    row: Row
    commit: str
    files: dict[str, ListedFile]
    told: dict[str, object] | None = None
    told_at: float = float("-inf")

    def is_news(self, said: Mapping[str, object]) -> bool:
        """Whether the tracker does not know that yet: of a row for one file that it is queued goes without saying."""
        return self.told is not None or len(self.files) > 1 or "error" in said


def no(message: str, status: int | None = None, code: str | None = None, retry_after_s: int | None = None) -> dict[str, object]:
    """Write down why something cannot be had, as the tracker takes it."""
    error = {"message": message[:4000] or "no reason was given", "status": status, "code": (code or "")[:40] or None}
    return {**error, "retry_after_s": None if retry_after_s is None else min(retry_after_s, 86400)}
