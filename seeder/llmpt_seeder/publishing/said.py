"""What was said of a commit, in the figures by which the tracker tells what it has: so that either finds what the other lost."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass

from llmpt.core.blob import Etag
from llmpt.core.documents import read_json
from llmpt.core.holdings import HeldCommit, Holdings
from llmpt.core.repo import RepoRef
from llmpt_seeder.publishing.manifest import Manifest

MAX_SAID_BYTES = 1 << 20

Place = tuple[RepoRef, str]  # a repo and a commit


@dataclass(frozen=True, slots=True)
class Said:
    """The figures of a manifest.

    digest: what changes when anything in it does
    here, torrents: how many files we have, and how many of these have a torrent
    files: how many it lists; 0 while the whole listing is not known
    refs: those that point at the commit
    """

    digest: str
    here: int = 0
    torrents: int = 0
    files: int = 0
    refs: tuple[str, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest, torrents: Container[Etag]) -> Said:
        here = [line for line in manifest.lines if line.here]
        listed = len(manifest.lines) if manifest.complete else 0
        return cls(manifest.digest, len(here), sum(line.etag in torrents for line in here), listed, manifest.refs)

    @classmethod
    def parse(cls, text: str) -> Said:
        """Read what `str` wrote; of what an older seeder wrote only the digest is known."""
        digest, _, rest = text.partition(" ")
        if not rest:
            return cls(digest)
        try:
            here, torrents, files, *refs = read_json(rest, most_bytes=MAX_SAID_BYTES)
            return cls(digest, int(here), int(torrents), int(files), tuple(map(str, refs)))
        except (ValueError, TypeError):  # damaged
            return cls(digest)

    def __str__(self) -> str:
        return f"{self.digest} {json.dumps([self.here, self.torrents, self.files, *self.refs])}"

    def is_in(self, told: HeldCommit | None) -> bool:
        """Whether the tracker has all that was said, and nothing that was not."""
        if told is None:
            return self.here == 0
        whole = not self.files or (told.complete and told.files >= self.files)
        return told.here == self.here and told.torrents >= self.torrents and whole


@dataclass(frozen=True, slots=True)
class Difference:
    """What the tracker does not have as it was said, and what it has that was not said."""

    lost: frozenset[Place]
    surplus: frozenset[Place]


def difference(said: Mapping[Place, Said], told: Holdings) -> Difference:
    """Hold what was said against what the tracker has by it."""
    rows = {(row.repo, row.commit): row for row in told.commits}
    refs = {(row.repo, row.name): row.commit for row in told.refs}
    mine = {(repo, name): commit for (repo, commit), one in said.items() for name in one.refs}
    lost = {place for place, one in said.items() if not one.is_in(rows.get(place))}
    # A ref that another publisher has moved since is that one's word.
    lost |= {(repo, commit) for (repo, name), commit in mine.items() if refs.get((repo, name), "") not in (commit, None)}
    surplus = {place for place in rows if place not in said}
    for (repo, name), commit in refs.items():
        if commit is not None and (repo, name) not in mine:
            (lost if (repo, commit) in said else surplus).add((repo, commit))
    return Difference(frozenset(lost), frozenset(surplus))
