"""What is told of a commit: its files, which of them are here, what the Hub does not have, and the README's front matter.

Whatever the cache holds of it is told, and with the Hub's own listing the rest as well: a file that is known of without being
here keeps a client from taking what is here for the whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llmpt.core.blob import Etag
from llmpt.core.metainfo import PUBLISH_BYTES
from llmpt.core.repo import RepoRef
from llmpt_seeder.cache.contents import BlobFile, Problem, Snapshot
from llmpt_seeder.cache.listing import Listing
from llmpt_seeder.cache.view import View
from llmpt_seeder.errors import InDoubt
from llmpt_seeder.publishing.card import README, read_card


@dataclass(frozen=True, slots=True)
class PublishLimits:
    """How much goes in one body.

    size: bytes of JSON
    torrents, lines: so many are entered in a few seconds
    """

    size: int = PUBLISH_BYTES
    torrents: int = 500
    lines: int = 20_000


@dataclass(frozen=True, slots=True)
class Line:
    """A file of a commit; `size` in bytes; `here` when we have it, too."""

    path: str
    etag: Etag
    size: int
    here: bool

    def as_json(self) -> dict[str, object]:
        line: dict[str, object] = {"path": self.path, "size": self.size, "etag": self.etag.value, "lfs": self.etag.is_sha256}
        return line if self.here else {**line, "here": False}


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is known of one commit. `complete`: `lines` is the whole listing, by the Hub's own word."""

    repo: RepoRef
    commit: str
    refs: tuple[str, ...]
    lines: tuple[Line, ...]
    complete: bool
    absent: tuple[str, ...] = ()
    card: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return f"{self.repo}@{self.commit}"

    @property
    def digest(self) -> str:
        """Return what changes when anything in it does."""
        return hashlib.sha256(json.dumps(list(self.bodies()), sort_keys=True).encode()).hexdigest()

    def bodies(self, limits: PublishLimits = PublishLimits()) -> Iterator[dict[str, object]]:
        """Yield what is to be posted, in this order: files in parts that a tracker takes, and with the last all else, so that
        no ref points at a listing of which a part is missing, nor is it called complete."""
        place: dict[str, object] = {"repo_type": self.repo.type, "repo_id": self.repo.id, "commit": self.commit}
        part: list[dict[str, object]] = []
        size = 0
        for line in self.lines:
            told = line.as_json()
            length = len(json.dumps(told)) + 2
            if part and (size + length > limits.size or len(part) >= limits.lines):
                yield {**place, "refs": [], "complete": False, "files": part}
                part, size = [], 0
            part.append(told)
            size += length
        last = {**place, "refs": list(self.refs), "complete": self.complete, "files": part}
        if self.absent:
            last["absent"] = list(self.absent)
        if self.card is not None:
            last["card"] = dict(self.card)
        yield last


class Listings(Protocol):
    """What the Hub itself can be asked for (`HubListings`)."""

    def of(self, repo: RepoRef, commit: str) -> Listing | None: ...

    def want(self, wanted: Mapping[tuple[RepoRef, str], bool]) -> None: ...


class Manifests:
    """Makes the manifests of a view. After a round `in_doubt` says whether one had to be left out, `problems` what is odd."""

    def __init__(self, listings: Listings) -> None:
        self._listings = listings
        self._cards: dict[Etag, dict[str, Any] | None] = {}
        self.problems: list[Problem] = []
        self.in_doubt = False

    def of(self, view: View, find: Callable[[Etag], BlobFile | None]) -> Iterator[Manifest]:
        """Yield the manifest of each commit of which something is here, and ask for the listings that are missing.

        `find` returns a verified file that holds a blob and may be named, None without one; it raises `InDoubt`.
        """
        self.in_doubt = False
        problems: list[Problem] = []
        wanted: dict[tuple[RepoRef, str], bool] = {}
        for (repo, commit), snapshot in view.snapshots.items():
            here = _Here(find)
            if snapshot.listing is None:
                wanted[repo, commit] = view.verdicts[repo].public
            try:
                listing = self._listing(repo, snapshot, here, problems)
                if listing is not snapshot.listing or listing is None:
                    wanted[repo, commit] = view.verdicts[repo].public
                lines = tuple(_lines(snapshot, listing, here))
            except InDoubt:
                self.in_doubt = True
                continue
            if any(line.here for line in lines):
                named = {line.path for line in lines}
                absent = tuple(path for path in snapshot.absent if path not in named)
                yield Manifest(repo, commit, snapshot.refs, lines, listing is not None, absent, self._card(lines, here))
        self.problems = problems
        self._listings.want(wanted)

    def _listing(self, repo: RepoRef, snapshot: Snapshot, here: _Here, problems: list[Problem]) -> Listing | None:
        """Return the Hub's listing of a snapshot, from wherever: not one that the snapshot contradicts."""
        candidates = {f"its trees/{snapshot.commit}.json": snapshot.listing}
        candidates["what HF_ENDPOINT lists"] = self._listings.of(repo, snapshot.commit)
        for name, listing in candidates.items():
            if listing is not None:
                odd = _contradiction(snapshot, listing, here)
                if odd is None:
                    return listing
                problems.append(Problem(f"{repo}@{snapshot.commit[:12]}", f"{name} is not of this commit: {odd}"))
        return None

    def _card(self, lines: tuple[Line, ...], here: _Here) -> dict[str, Any] | None:
        etag = next((line.etag for line in lines if line.path == README and line.here), None)
        if etag is None or (readme := here[etag]) is None:
            return None
        if etag not in self._cards:
            self._cards[etag] = read_card(readme.path)
        return self._cards[etag]


class _Here(dict[Etag, "BlobFile | None"]):
    """What was found of each blob that was asked for."""

    def __init__(self, find: Callable[[Etag], BlobFile | None]) -> None:
        self._find = find

    def __missing__(self, etag: Etag) -> BlobFile | None:
        found = self[etag] = self._find(etag)
        return found


def _lines(snapshot: Snapshot, listing: Listing | None, here: _Here) -> Iterator[Line]:
    if listing is None:
        for path, blob in snapshot.files:
            if (found := here[blob.etag]) is not None:
                yield Line(path, blob.etag, found.size, True)
        return
    for path, listed in sorted(listing.items()):
        yield Line(path, listed.etag, listed.size, here[listed.etag] is not None)


def _contradiction(snapshot: Snapshot, listing: Listing, here: _Here) -> str | None:
    """Say where a listing cannot be that of the snapshot's commit, which is immutable; None when it can."""
    for path, blob in snapshot.files:
        listed = listing.get(path)
        if listed is None:
            return f"it does not name {path}, which lies in the snapshot"
        if listed.etag != blob.etag:
            return f"it says that {path} is {listed.etag}, and in the snapshot it is {blob.etag}"
    for path, listed in listing.items():
        found = here[listed.etag]
        if found is not None and found.size != listed.size:
            return f"it says that {path} has {listed.size} bytes, and it has {found.size}"
    return None
