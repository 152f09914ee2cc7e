"""The name of a repo as an operator types it."""

from __future__ import annotations

from llmpt.core.repo import REPO_TYPES, RepoRef


def repo_named(text: str) -> RepoRef:
    """Read org/name of a model, or datasets/org/name. Raises `InvalidName`."""
    kind, _, rest = text.partition("/")
    return RepoRef(kind[:-1], rest) if kind.endswith("s") and kind[:-1] in REPO_TYPES and rest else RepoRef("model", text)
