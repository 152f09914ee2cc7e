"""What an operator has said of the queue of mirrors: the tracker tells its seeders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmpt.core.errors import InvalidInput
from llmpt.core.fields import Fields
from llmpt.core.repo import RepoRef

MAX_PINS = 1000
MAX_CANCELLED = 20_000  # that are told at once: no more are open


@dataclass(frozen=True, slots=True)
class MirrorOrders:
    """What holds now.

    cancelled: the numbers of the mirrors that were cancelled of late
    pinned: the repos whose files are fetched before others, and stay where they are
    """

    cancelled: frozenset[int] = frozenset()
    pinned: frozenset[RepoRef] = frozenset()

    @classmethod
    def parse(cls, said: object) -> MirrorOrders:
        """Read what a tracker tells. Raises `InvalidInput`, and `InvalidName` for what is no repo."""
        fields = Fields(said, "an operator's orders")
        numbers, repos = fields.any("cancelled"), fields.any("pinned")
        if not isinstance(numbers, list) or len(numbers) > MAX_CANCELLED or not all(type(one) is int for one in numbers):
            raise InvalidInput(f"cancelled: at most {MAX_CANCELLED} numbers of mirrors")
        if not isinstance(repos, list) or len(repos) > MAX_PINS:
            raise InvalidInput(f"pinned: at most {MAX_PINS} repos")
        pinned = (Fields(one, "a pinned repo") for one in repos)
        return cls(frozenset(numbers), frozenset(RepoRef(one.text("repo_type"), one.text("repo_id")) for one in pinned))

    def as_json(self) -> dict[str, Any]:
        """Write it down as the API tells it."""
        pinned = sorted(self.pinned, key=lambda repo: (repo.type, repo.id))
        return {
            "cancelled": sorted(self.cancelled),
            "pinned": [{"repo_type": repo.type, "repo_id": repo.id} for repo in pinned],
        }
