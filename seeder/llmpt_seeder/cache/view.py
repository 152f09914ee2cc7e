"""What the last look at the caches means: which blobs may be shared and from where, and which snapshots name them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt_seeder.cache.contents import BlobFile, CachedRepo, Problem, Snapshot
from llmpt_seeder.sharing import Verdict


@dataclass(frozen=True, slots=True)
class View:
    """The shared part of the caches.

    `blobs`: for each etag the files that should hold it, the first preferred; `snapshots`: those of shared repos, one for
    each commit, whichever caches hold parts of it; `verdicts`: why those repos are shared; `problems`: of shared repos only
    (the name of another may be a secret); `unknown`: something could not be read, so that what is missing here may be there
    all the same.
    """

    blobs: dict[Etag, list[BlobFile]] = field(default_factory=dict)
    snapshots: dict[tuple[RepoRef, str], Snapshot] = field(default_factory=dict)
    verdicts: dict[RepoRef, Verdict] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unknown: bool = False

    @classmethod
    def of(cls, repos: Iterable[tuple[CachedRepo, Verdict]]) -> View:
        view = cls()
        unknown = False
        paths: dict[Etag, set[Path]] = {}
        refs: dict[tuple[RepoRef, str], tuple[int, str]] = {}  # when it was written, and the commit
        for repo, verdict in repos:
            if not verdict.shared:
                continue
            unknown = unknown or repo.unknown
            view.verdicts[repo.ref] = verdict
            view.problems.extend(repo.problems)
            for snapshot in repo.snapshots:
                key = repo.ref, snapshot.commit
                known = view.snapshots.get(key)
                view.snapshots[key] = known.joined(snapshot) if known else snapshot
                for name in snapshot.refs:
                    place = repo.ref, name
                    refs[place] = max(refs.get(place, (-1, "")), (repo.ref_times.get(name, 0), snapshot.commit))
                for _, blob in snapshot.files:
                    seen = paths.setdefault(blob.etag, set())
                    if blob.path not in seen:
                        seen.add(blob.path)
                        view.blobs.setdefault(blob.etag, []).append(blob)
        for (ref, commit), snapshot in view.snapshots.items():
            names = tuple(name for name in snapshot.refs if refs[ref, name][1] == commit)
            if names != snapshot.refs:  # another cache learned later where that branch points
                view.snapshots[ref, commit] = replace(snapshot, refs=names)
        return cls(view.blobs, view.snapshots, view.verdicts, view.problems, unknown)
