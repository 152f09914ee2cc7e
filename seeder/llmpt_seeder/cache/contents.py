"""What was found in a Hub cache: repos, their snapshots, and the files that should hold blobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.cache.listing import Listing


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not shared although one might expect it, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A file that should hold a blob.

    path: its real path
    stamp: what `stat` says of it
    """

    etag: Etag
    path: Path
    stamp: FileStamp

    @property
    def size(self) -> int:
        return self.stamp.size


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is here of one commit.

    refs: the branches and tags that point at it
    files: by path, in the order of their paths
    listing: the Hub's own, if that can be read
    absent: paths that the Hub said are not there, when a client asked for them
    """

    commit: str
    refs: tuple[str, ...]
    files: tuple[tuple[str, BlobFile], ...]
    listing: Listing | None = None
    absent: tuple[str, ...] = ()

    def joined(self, other: Snapshot) -> Snapshot:
        """Return what both have of the commit; where they differ, this one counts."""
        return Snapshot(
            self.commit,
            tuple(sorted({*self.refs, *other.refs})),
            tuple(sorted({**dict(other.files), **dict(self.files)}.items())),
            other.listing if self.listing is None else self.listing,
            tuple(sorted({*self.absent, *other.absent})),
        )


@dataclass(frozen=True, slots=True)
class CachedRepo:
    """One repo folder. What did not change since the last look at it is the same object, down to its files.

    snapshots: those that hold files
    problems: what is not shared of it, and why
    unknown: whether something could not be read, so that it may be here all the same
    ref_times: when its refs were written (ns since 1970)
    blobs: the files that the snapshots name, each once
    """

    ref: RepoRef
    snapshots: tuple[Snapshot, ...]
    problems: tuple[Problem, ...]
    unknown: bool
    ref_times: Mapping[str, int] = field(default_factory=dict)
    blobs: tuple[BlobFile, ...] = ()
