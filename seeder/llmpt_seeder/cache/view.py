"""What the looks at the caches mean: which blobs may be shared and from where, and which snapshots name them.

The view is brought up to date repo by repo. A repo in which nothing changed is the same object as at the last look, and
costs nothing; of the others the view says which etags and which commits changed, and the rest of a step is about those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt_seeder.cache.contents import BlobFile, CachedRepo, Problem, Snapshot
from llmpt_seeder.sharing import Verdict

Commit = tuple[RepoRef, str]


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be judged anew.

    etags: those with other files than before, or with none any more, in the order of the caches
    commits: those with another snapshot or another verdict, or that are gone
    """

    etags: dict[Etag, None] = field(default_factory=dict)
    commits: set[Commit] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Part:
    """One repo in one cache; `files` are those that should hold a blob, the first preferred."""

    repo: CachedRepo
    files: Mapping[Etag, tuple[BlobFile, ...]]

    @classmethod
    def of(cls, repo: CachedRepo) -> _Part:
        files: dict[Etag, tuple[BlobFile, ...]] = {}
        for blob in repo.blobs:
            files[blob.etag] = (*files.get(blob.etag, ()), blob)
        return cls(repo, files)


_Parts = Mapping[int, _Part]  # by the place of the cache in their order


class View:
    """The shared part of the caches. Belongs to one thread.

    `blobs`: for each etag the files that should hold it, the first preferred; `snapshots`: those of shared repos, one for
    each commit, whichever caches hold parts of it; `verdicts`: why those repos are shared; `problems`: of shared repos only
    (the name of another may be a secret); `unknown`: something could not be read, so that what is missing here may be there
    all the same; `whole`: the first cache was looked at to its end, once at least.
    """

    def __init__(self) -> None:
        self.blobs: dict[Etag, tuple[BlobFile, ...]] = {}
        self.snapshots: dict[Commit, Snapshot] = {}
        self.verdicts: dict[RepoRef, Verdict] = {}
        self.problems: list[Problem] = []
        self.unknown = self.whole = False
        self._repos: dict[RepoRef, _Parts] = {}
        self._holders: dict[Etag, tuple[tuple[int, RepoRef], ...]] = {}
        self._changes = Changes()

    def see(self, found: Sequence[Iterable[tuple[CachedRepo, Verdict]]]) -> None:
        """Take in what lies in the caches, in their order."""
        now: dict[RepoRef, dict[int, CachedRepo]] = {}
        verdicts: dict[RepoRef, Verdict] = {}
        for place, repos in enumerate(found):
            for repo, verdict in repos:
                if verdict.shared:
                    now.setdefault(repo.ref, {})[place] = repo
                    verdicts[repo.ref] = verdict
        changed = False
        for ref in [*now, *(ref for ref in self._repos if ref not in now)]:
            if not _is_same(self._repos.get(ref, {}), now.get(ref, {})):
                self._take_in(ref, now.get(ref, {}))
                changed = True
            elif verdicts[ref] != self.verdicts[ref]:
                self._changes.commits.update((ref, commit) for commit in _commits(self._repos[ref]))
        self.verdicts = verdicts
        if changed:
            parts = [part for ref in now for part in self._repos[ref].values()]
            self.problems = [problem for part in parts for problem in part.repo.problems]
            self.unknown = any(part.repo.unknown for part in parts)

    def lacks(self, commit: Commit) -> bool:
        """Whether a commit is not here, for sure: what cannot be looked at for now is not gone."""
        if commit in self.snapshots or not self.whole:
            return False
        return not any(part.repo.unknown for part in self._repos.get(commit[0], {}).values())

    def take_changes(self) -> Changes:
        """Return what changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def doubt(self) -> None:
        """Have everything judged anew."""
        self._changes.etags.update(dict.fromkeys(self.blobs))
        self._changes.commits.update(self.snapshots)

    def repo_of(self, etag: Etag) -> RepoRef | None:
        """Return the repo in which the preferred file of a blob lies."""
        holders = self._holders.get(etag)
        return holders[0][1] if holders else None

    def _take_in(self, ref: RepoRef, repos: Mapping[int, CachedRepo]) -> None:
        old = self._repos.get(ref, {})
        new = {
            place: old[place] if place in old and old[place].repo is repo else _Part.of(repo)
            for place, repo in sorted(repos.items())
        }
        if new:
            self._repos[ref] = new
        else:
            self._repos.pop(ref, None)
        for place in {*old, *new}:
            self._see_files(ref, place, old.get(place), new.get(place))
        self._see_snapshots(ref, {commit for parts in (old, new) for commit in _commits(parts)}, _joined(new))

    def _see_files(self, ref: RepoRef, place: int, old: _Part | None, new: _Part | None) -> None:
        before: Mapping[Etag, tuple[BlobFile, ...]] = old.files if old else {}
        now: Mapping[Etag, tuple[BlobFile, ...]] = new.files if new else {}
        if before is now:
            return
        holder = (place, ref)
        for etag in now:
            if before.get(etag) != now[etag]:
                self._hold(etag, {*self._holders.get(etag, ()), holder})
        for etag in before:
            if etag not in now:
                self._hold(etag, {*self._holders.get(etag, ())} - {holder})

    def _hold(self, etag: Etag, holders: set[tuple[int, RepoRef]]) -> None:
        self._changes.etags[etag] = None
        if not holders:
            del self.blobs[etag], self._holders[etag]
            return
        order = tuple(sorted(holders, key=lambda holder: (holder[0], holder[1].folder)))
        self._holders[etag] = order
        self.blobs[etag] = tuple(_each_once(file for place, ref in order for file in self._files(ref, place, etag)))

    def _files(self, ref: RepoRef, place: int, etag: Etag) -> tuple[BlobFile, ...]:
        part = self._repos.get(ref, {}).get(place)
        return part.files.get(etag, ()) if part else ()

    def _see_snapshots(self, ref: RepoRef, commits: Iterable[str], now: Mapping[str, Snapshot]) -> None:
        for commit in commits:
            key, snapshot = (ref, commit), now.get(commit)
            if snapshot == self.snapshots.get(key):
                continue
            self._changes.commits.add(key)
            if snapshot is None:
                del self.snapshots[key]
            else:
                self.snapshots[key] = snapshot


def _is_same(parts: _Parts, repos: Mapping[int, CachedRepo]) -> bool:
    return parts.keys() == repos.keys() and all(parts[place].repo is repo for place, repo in repos.items())


def _commits(parts: _Parts) -> Iterator[str]:
    return (snapshot.commit for part in parts.values() for snapshot in part.repo.snapshots)


def _joined(parts: _Parts) -> dict[str, Snapshot]:
    """Return one snapshot for each commit; a ref is where it was written last."""
    joined: dict[str, Snapshot] = {}
    refs: dict[str, tuple[int, str]] = {}  # when it was written, and the commit
    for part in parts.values():
        for snapshot in part.repo.snapshots:
            known = joined.get(snapshot.commit)
            joined[snapshot.commit] = known.joined(snapshot) if known else snapshot
            for name in snapshot.refs:
                refs[name] = max(refs.get(name, (-1, "")), (part.repo.ref_times.get(name, 0), snapshot.commit))
    for commit, snapshot in joined.items():
        names = tuple(name for name in snapshot.refs if refs[name][1] == commit)
        if names != snapshot.refs:  # another cache learned later where that branch points
            joined[commit] = replace(snapshot, refs=names)
    return joined


def _each_once(files: Iterable[BlobFile]) -> Iterator[BlobFile]:
    seen: set[Path] = set()
    for file in files:
        if file.path not in seen:
            seen.add(file.path)
            yield file
