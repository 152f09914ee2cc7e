"""Many etags in one question: which of them have a torrent, and its metainfo where that is asked for.

A storm of machines asks for all files of a repo at once: rows are read as they are, and nothing is said of where they stand. That
is a question of its own, which each machine asks once an hour.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.orm import Session

from llmpt.core.repo import Commit, RepoRef
from llmpt_tracker.database.models import MACHINES, Blob, File, Repo, Revision
from llmpt_tracker.rules.catalogue.metainfo_texts import MetainfoTexts

BATCH = 500  # names in one IN (…)
REPOS_SHOWN = 20
MAX_METAINFO_BYTES = 8 << 20  # in one answer; what is above is asked for again
MAX_FILES_BESIDE = 1000  # of a commit, in the order of their paths
BESIDE_BYTES = 1 << 20  # of their metainfo in one answer: a machine may want none of them

_BLOBS = Blob.__table__.c
_NAMED = select(_BLOBS.etag, _BLOBS.id, _BLOBS.size, _BLOBS.info_hash, _BLOBS.metainfo_bytes).where(
    _BLOBS.etag.in_(bindparam("etags", expanding=True))
)


@dataclass(frozen=True, slots=True)
class FoundBlob:
    """An etag that has a torrent.

    `swarm`: the truncated info-hash in hex.
    `metainfo`: in base64; None when it was not asked for, or would make the answer too long.
    """

    etag: str
    size: int
    info_hash: bytes
    metainfo: bytes | None = None

    @property
    def swarm(self) -> str:
        return self.info_hash[:20].hex()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a blob stands.

    `published`: a publisher has it now, as a file of some repo.
    `repos`: of which repos it is a file, at most 20.
    """

    published: bool
    repos: tuple[RepoRef, ...]


def standing(session: Session, etags: Sequence[str]) -> dict[str, Standing]:
    """Return where blobs stand, of those of `etags` that a manifest names; one statement for 500 of them."""
    by_publisher = func.max(case((File.holders.op("&")(~MACHINES) != 0, 1), else_=0))
    found: dict[str, Standing] = {}
    for start in range(0, len(etags), BATCH):
        rows: Any = session.execute(
            select(File.etag, Repo.type, Repo.name, by_publisher)
            .join(Revision, Revision.id == File.revision_id)
            .join(Repo, Repo.id == Revision.repo_id)
            .where(File.etag.in_(list(etags[start : start + BATCH])))
            .group_by(File.etag, Repo.type, Repo.name)
        )
        for etag, kind, name, published in rows:
            known = found.get(etag, Standing(False, ()))
            found[etag] = Standing(known.published or bool(published), (*known.repos, RepoRef(kind, name))[:REPOS_SHOWN])
    return found


def beside(session: Session, repo: RepoRef, commit: Commit, *, but: Collection[str]) -> list[str]:
    """Return the etags of a commit's files that have a torrent, in the order of their paths, without those of `but`."""
    rows = session.scalars(
        select(File.etag)
        .join(Revision, Revision.id == File.revision_id)
        .join(Repo, Repo.id == Revision.repo_id)
        .where(Repo.type == repo.type, Repo.folded == repo.folded.id, Revision.commit == commit.value, File.blob_id.is_not(None))
        .order_by(File.path)
        .limit(MAX_FILES_BESIDE)
    )
    return [etag for etag in dict.fromkeys(rows) if etag not in but]


def find(
    session: Session,
    etags: Sequence[str],
    *,
    texts: MetainfoTexts,
    metainfo_of: Collection[str] = (),
    most_bytes: int = MAX_METAINFO_BYTES,
) -> list[FoundBlob]:
    """Return those of `etags` that have a torrent, in their order; with metainfo those that `metainfo_of` names, too."""
    rows: dict[str, tuple[int, int, bytes, int]] = {}
    for start in range(0, len(etags), BATCH):
        named: Any = session.execute(_NAMED, {"etags": list(etags[start : start + BATCH])})
        rows.update((row[0], (row[1], row[2], row[3], row[4])) for row in named)
    wanted: dict[int, bytes] = {}
    left = most_bytes
    for etag in etags:
        if etag in rows and etag in metainfo_of and left > 0:
            key, _, info_hash, metainfo_bytes = rows[etag]
            wanted[key] = info_hash
            left -= metainfo_bytes
    metainfo = texts.of(session, wanted)
    return [
        FoundBlob(etag, size, info_hash, metainfo.get(key))
        for etag in etags
        if etag in rows
        for key, size, info_hash, _ in (rows[etag],)
    ]
