"""Which commits are to be told of, and the manifests that are made of them.

Whatever the cache holds of a commit is told, and with the Hub's own listing the rest as well: a file that is known of without
being here keeps a client from taking what is here for the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt_seeder.cache.contents import BlobFile, Problem, Snapshot
from llmpt_seeder.cache.listing import Listing
from llmpt_seeder.cache.view import Commit, View
from llmpt_seeder.errors import InDoubt
from llmpt_seeder.publishing.card import README, read_card
from llmpt_seeder.publishing.manifest import Line, Manifest

Find = Callable[[Etag], "BlobFile | None"]
Here = Mapping[Etag, "BlobFile | None"]


class Listings(Protocol):
    """What the Hub itself can be asked for (`HubListings`)."""

    def of(self, repo: RepoRef, commit: str) -> Listing | None: ...

    def want(self, wanted: Mapping[Commit, bool]) -> None: ...

    def take_news(self) -> set[Commit]: ...


class Manifests:
    """Makes the manifests of those commits that were marked, and of those that a marked etag concerns.

    A manifest follows from the commit's snapshot, its listing, and what is known of certain etags. While one of these is in
    doubt the manifest is put off; it is made when the last doubt is gone.
    """

    def __init__(self, listings: Listings) -> None:
        self._listings = listings
        self._cards: dict[Etag, dict[str, Any] | None] = {}
        self._commits: set[Commit] = set()  # whose manifests are to be made
        self._etags: set[Etag] = set()  # that changed since it was last looked which commits they concern
        self._needed: dict[Commit, frozenset[Etag]] = {}
        self._doubts: dict[Commit, set[Etag]] = {}
        self._odd: dict[Commit, list[Problem]] = {}
        self._wanted: dict[Commit, bool] = {}
        self.empty: set[Commit] = set()  # of which nothing is here, for sure
        self._has_gone = False

    def mark(self, etags: Iterable[Etag], commits: Iterable[Commit]) -> None:
        """Say what changed."""
        self._etags.update(etags)
        self._commits.update(commits)

    def problems(self) -> Iterator[Problem]:
        """Yield what is odd about the listings."""
        return (problem for problems in self._odd.values() for problem in problems)

    def take_gone(self) -> bool:
        """Return whether a commit turned out to be gone, or empty, since the last call."""
        gone, self._has_gone = self._has_gone, False
        return gone

    def due(self, view: View, find: Find) -> Iterator[Manifest]:
        """Yield each manifest that may be another than before, and ask for the listings that are missing.

        `find` returns a verified file that holds a blob and may be named, None without one; it raises `InDoubt`. A manifest
        counts as told when the next one is asked for.
        """
        self._commits |= self._listings.take_news()
        self._commits |= self._concerned(find)
        wanted = dict(self._wanted)
        for commit in list(self._commits):
            snapshot = view.snapshots.get(commit)
            self.empty.discard(commit)
            if snapshot is None:
                self._has_gone = True
                for kept in (self._needed, self._doubts, self._odd, self._wanted):
                    kept.pop(commit, None)
            elif (manifest := self._made(commit, snapshot, view.verdicts[commit[0]].public, find)) is not None:
                yield manifest
            self._commits.discard(commit)
        if wanted != self._wanted:
            self._listings.want(self._wanted)

    def _concerned(self, find: Find) -> set[Commit]:
        """Return the commits that the marked etags concern."""
        etags, self._etags = self._etags, set()
        certain = etags - _look(etags, find)[1]
        concerned: set[Commit] = set()
        for commit, needed in self._needed.items() if etags else ():
            doubts = self._doubts.get(commit)
            if doubts is None:
                if not needed.isdisjoint(etags):
                    concerned.add(commit)
            elif not doubts.isdisjoint(certain):
                doubts.difference_update(certain)
                if not doubts:
                    concerned.add(commit)
        return concerned

    def _made(self, commit: Commit, snapshot: Snapshot, public: bool, find: Find) -> Manifest | None:
        """Return a commit's manifest; None when something is in doubt, or nothing of it is here."""
        repo, revision = commit
        candidates = {f"its trees/{revision}.json": snapshot.listing, "what HF_ENDPOINT lists": self._listings.of(repo, revision)}
        here, doubts = _look(self._note_needed(commit, snapshot, candidates.values()), find)
        if doubts:
            self._doubts[commit] = doubts
            self._note_wanted(commit, public, wanted=snapshot.listing is None)
            return None
        self._doubts.pop(commit, None)
        listing = self._listing(commit, snapshot, candidates, here)
        self._note_wanted(commit, public, wanted=listing is None or listing is not snapshot.listing)
        lines = tuple(_lines(snapshot, listing, here))
        if not any(line.here for line in lines):
            self.empty.add(commit)
            self._has_gone = True
            return None
        named = {line.path for line in lines}
        absent = tuple(path for path in snapshot.absent if path not in named)
        return Manifest(repo, revision, snapshot.refs, lines, listing is not None, absent, self._card(lines, here))

    def _note_needed(self, commit: Commit, snapshot: Snapshot, listings: Iterable[Listing | None]) -> frozenset[Etag]:
        """Return the etags from which the commit's manifest follows."""
        needed = {blob.etag for _, blob in snapshot.files}
        for listing in listings:
            if listing is not None and _misnaming(snapshot, listing) is None:
                needed.update(listed.etag for listed in listing.values())
        self._needed[commit] = frozenset(needed)
        return self._needed[commit]

    def _note_wanted(self, commit: Commit, public: bool, *, wanted: bool) -> None:
        if wanted:
            self._wanted[commit] = public
        else:
            self._wanted.pop(commit, None)

    def _listing(
        self, commit: Commit, snapshot: Snapshot, candidates: Mapping[str, Listing | None], here: Here
    ) -> Listing | None:
        """Return the Hub's listing of a snapshot, from wherever: not one that the snapshot contradicts."""
        self._odd.pop(commit, None)
        for name, listing in candidates.items():
            if listing is not None:
                odd = _misnaming(snapshot, listing) or _mismeasuring(listing, here)
                if odd is None:
                    return listing
                what = f"{commit[0]}@{snapshot.commit[:12]}"
                self._odd.setdefault(commit, []).append(Problem(what, f"{name} is not of this commit: {odd}"))
        return None

    def _card(self, lines: tuple[Line, ...], here: Here) -> dict[str, Any] | None:
        etag = next((line.etag for line in lines if line.path == README and line.here), None)
        if etag is None or (readme := here[etag]) is None:
            return None
        if etag not in self._cards:
            self._cards[etag] = read_card(readme.path, readme.stamp)
        return self._cards[etag]


def _look(etags: Iterable[Etag], find: Find) -> tuple[dict[Etag, BlobFile | None], set[Etag]]:
    """Return what is here of these etags, and those that are in doubt."""
    here: dict[Etag, BlobFile | None] = {}
    doubts: set[Etag] = set()
    for etag in etags:
        try:
            here[etag] = find(etag)
        except InDoubt:
            doubts.add(etag)
    return here, doubts


def _lines(snapshot: Snapshot, listing: Listing | None, here: Here) -> Iterator[Line]:
    if listing is None:
        for path, blob in snapshot.files:
            if (found := here[blob.etag]) is not None:
                yield Line(path, blob.etag, found.size, True)
        return
    for path, listed in sorted(listing.items()):
        yield Line(path, listed.etag, listed.size, here[listed.etag] is not None)


def _misnaming(snapshot: Snapshot, listing: Listing) -> str | None:
    """Say where a listing cannot name the files of the snapshot's commit, which is immutable; None when it can."""
    for path, blob in snapshot.files:
        listed = listing.get(path)
        if listed is None:
            return f"it does not name {path}, which lies in the snapshot"
        if listed.etag != blob.etag:
            return f"it says that {path} is {listed.etag}, and in the snapshot it is {blob.etag}"
    return None


def _mismeasuring(listing: Listing, here: Here) -> str | None:
    """Say which file that is here has another size than a listing says; None without one."""
    for path, listed in listing.items():
        found = here[listed.etag]
        if found is not None and found.size != listed.size:
            return f"it says that {path} has {listed.size} bytes, and it has {found.size}"
    return None
