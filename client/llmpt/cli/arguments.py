"""What several commands take: the name of a repo, which of its files, and the tracker that is set."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from llmpt.core.errors import SettingError
from llmpt.core.repo import REPO_TYPES, RepoRef
from llmpt.identity.gate import joined
from llmpt.settings import ClientSettings
from llmpt.tracker.client import TrackerClient

repo_type_option: Callable[[Any], Any] = click.option(
    "--repo-type", type=click.Choice(REPO_TYPES), help="Instead of datasets/… or spaces/… in front of the name."
)


@dataclass(frozen=True, slots=True)
class Pick:
    """Which files of a repo.

    `revision`: a branch, a tag or a commit; None: the Hub's default.
    `include`: only files with names like these patterns; empty: all.
    `exclude`: and not those with names like these.
    """

    revision: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()


def picking(command: Callable[..., None]) -> Callable[..., None]:
    """Hand `--revision`, `--include` and `--exclude` to a command as one `pick`."""

    @wraps(command)
    def picked(*, revision: str | None, include: tuple[str, ...], exclude: tuple[str, ...] = (), **others: Any) -> None:
        command(pick=Pick(revision, include, exclude), **others)

    return picked


def repo(text: str, repo_type: str | None = None) -> RepoRef:
    """Read `owner/name`, `datasets/owner/name`, …; raise `InvalidName` when it is not the name of a repo."""
    kind, _, rest = text.partition("/")
    if repo_type is None and kind.endswith("s") and kind[:-1] in REPO_TYPES and rest:
        return RepoRef(kind[:-1], rest)
    return RepoRef(repo_type or "model", text)


def tracker(settings: ClientSettings) -> TrackerClient:
    """Return a client of the tracker that is set; raise `SettingError` when none is."""
    if settings.tracker is None:
        raise SettingError("no tracker is set: `llmpt join http://server:8000`")
    return joined(settings.tracker, settings.ca, os.environ, token=settings.token)
