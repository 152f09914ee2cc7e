"""What the last look at the cache means: which blobs may be shared and from where, and which snapshots name them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt_seeder.scanner import BlobFile, CachedRepo, Problem, Snapshot
from llmpt_seeder.sharing import Verdict


@dataclass(frozen=True, slots=True)
class View:
    """The shared part of a cache.

    `blobs`: for each etag the files that should hold it, the first preferred; `snapshots`: those of shared repos;
    `problems`: of shared repos only (the name of another may be a secret); `unknown`: something could not be read, so that
    what is missing here may be there all the same.
    """

    blobs: dict[Etag, list[BlobFile]] = field(default_factory=dict)
    snapshots: list[tuple[RepoRef, Snapshot]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unknown: bool = False

    @classmethod
    def of(cls, repos: Iterable[tuple[CachedRepo, Verdict]]) -> View:
        view = cls()
        unknown = False
        paths: dict[Etag, set[Path]] = {}
        for repo, verdict in repos:
            if not verdict.shared:
                continue
            unknown = unknown or repo.unknown
            view.problems.extend(repo.problems)
            for snapshot in repo.snapshots:
                view.snapshots.append((repo.ref, snapshot))
                for _, blob in snapshot.files:
                    seen = paths.setdefault(blob.etag, set())
                    if blob.path not in seen:
                        seen.add(blob.path)
                        view.blobs.setdefault(blob.etag, []).append(blob)
        return cls(view.blobs, view.snapshots, view.problems, unknown)
