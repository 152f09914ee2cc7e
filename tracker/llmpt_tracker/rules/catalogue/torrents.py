"""Torrents of the catalogue by exact filters and by words, the newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, select
from sqlalchemy.orm import Session

from llmpt.core.blob import Etag
from llmpt.core.metainfo import InfoHash, magnet_link, piece_length_for
from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import Blob, File, Path, Ref, Repo, Revision, StoredMetainfo
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import holders, search
from llmpt_tracker.rules.reading import is_limited

APPEARANCES_SHOWN = 20
_KEYS = 10**9  # more than there can be blobs

Places = Sequence[ColumnElement[bool]]

_BLOBS, _FILES, _REVISIONS, _REPOS, _STORED = (one.__table__.c for one in (Blob, File, Revision, Repo, StoredMetainfo))
_ONE = select(_BLOBS.id, _BLOBS.size, _BLOBS.info_hash).where(_BLOBS.etag == bindparam("etag"))
_METAINFO = select(_STORED.blob_id, _STORED.data).where(_STORED.blob_id.in_(bindparam("keys", expanding=True)))
_PLACES = (
    select(_REPOS.type, _REPOS.name, _REVISIONS.commit, _FILES.path)
    .join_from(File.__table__, Revision.__table__, _REVISIONS.id == _FILES.revision_id)
    .join(Repo.__table__, _REPOS.id == _REVISIONS.repo_id)
    .where(_FILES.blob_id == bindparam("key"))
    .order_by(_FILES.revision_id.desc(), _FILES.path)
    .limit(APPEARANCES_SHOWN)
)


@dataclass(frozen=True, slots=True)
class TorrentQuery:
    """Exact filters, and words to look for; None filters nothing.

    `repo_id`: in any case, as on the Hub.
    `revision`: a commit, or the name of a ref.
    `info_hash`: 20 or 32 bytes.
    `most_bytes`: a page ends before the metainfo of its torrents is more than this; one torrent is always in it.
    """

    repo_type: str | None = None
    repo_id: str | None = None
    revision: str | None = None
    path: str | None = None
    etag: Etag | None = None
    info_hash: bytes | None = None
    terms: tuple[str, ...] = ()
    limit: int = 50
    most_bytes: int | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Appearance:
    """A place where a blob stands: a path in a commit of a repo."""

    repo: RepoRef
    commit: str
    path: str


@dataclass(frozen=True, slots=True)
class Torrent:
    """A blob that has a swarm.

    `appears_in`: at most 20 places, the newest first.
    """

    key: int
    etag: str
    size: int
    info_hash: InfoHash
    appears_in: tuple[Appearance, ...]

    @property
    def piece_length(self) -> int:
        return piece_length_for(self.size)

    @property
    def swarm(self) -> str:
        """The truncated info-hash, in hex: what the announcer calls it."""
        return self.info_hash.truncated.hex()

    def magnet(self, announce: str) -> str:
        """Return the magnet link, with a tracker's announce URL."""
        return magnet_link(self.info_hash, self.etag, self.size, announce=announce)


def find_torrents(session: Session, query: TorrentQuery) -> tuple[list[Torrent], int | None]:
    """Return a page of torrents, and the key after which the next page begins (None: this is the last one).

    What is not here any more is found by its etag or info-hash only, so that a machine that has it can go on seeding it.
    """
    is_by_etag = query == TorrentQuery(etag=query.etag, limit=query.limit, most_bytes=query.most_bytes)
    if is_by_etag and query.etag is not None and not is_limited(session):
        return _by_etag(session, query.etag), None
    places = _place_filters(query)
    blobs, keys = _by_words(session, query, places) if query.terms else _by_filters(session, query, places)
    page = _within(blobs[: query.limit], query.most_bytes)
    appearances = _appearances(session, [blob.id for blob in page], query, places)
    torrents = [Torrent(blob.id, blob.etag, blob.size, InfoHash(blob.info_hash), tuple(appearances[blob.id])) for blob in page]
    return torrents, keys[len(page) - 1] if len(blobs) > len(page) else None


def torrent(session: Session, info_hash: bytes) -> Torrent:
    """Return one torrent by its info-hash (32 bytes, or the first 20). Raises `Refused` (404)."""
    found, _ = find_torrents(session, TorrentQuery(info_hash=info_hash, limit=1))
    if not found:
        raise Refused(404, "not_found", f"no torrent has the info-hash {info_hash.hex()}")
    return found[0]


def metainfo(session: Session, keys: Sequence[int]) -> dict[int, bytes]:
    """Return the stored metainfo of torrents, by key."""
    rows: Any = session.execute(_METAINFO, {"keys": list(keys)})
    return {row[0]: row[1] for row in rows}


def all_swarms(session: Session, *, after: int, limit: int) -> list[tuple[int, bytes, int]]:
    """Return (key, truncated info-hash, downloads) of the next `limit` blobs: the announcer's closed list, in slices."""
    statement = select(Blob.id, Blob.swarm, Blob.completed).where(Blob.id > after).order_by(Blob.id).limit(limit)
    return [(row[0], row[1], row[2]) for row in session.execute(statement)]


def _by_etag(session: Session, etag: Etag) -> list[Torrent]:
    """Answer what machines ask most, and all at once: by statements that are made once, of columns and not of objects."""
    row: Any = session.execute(_ONE, {"etag": etag.value}).first()
    if row is None:
        return []
    key, size, info_hash = row
    places: Any = session.execute(_PLACES, {"key": key})
    appearances = tuple(Appearance(RepoRef(kind, name), commit, path) for kind, name, commit, path in places)
    return [Torrent(key, etag.value, size, InfoHash(info_hash), appearances)]


def _by_filters(session: Session, query: TorrentQuery, places: Places) -> tuple[list[Blob], list[int]]:
    """Return the blobs of a page, and one more if there is one, the newest first; and the key of each."""
    statement = select(Blob).where(*_blob_filters(query)).order_by(Blob.id.desc()).limit(query.limit + 1)
    if query.before is not None:
        statement = statement.where(Blob.id < query.before)
    if places:
        statement = statement.where(Blob.id.in_(_joined(select(File.blob_id), query).where(*places, File.blob_id.is_not(None))))
    blobs = list(session.scalars(statement))
    return blobs, [blob.id for blob in blobs]


def _by_words(session: Session, query: TorrentQuery, places: Places) -> tuple[list[Blob], list[int]]:
    """Return the same of a search: each blob at the newest path at which it is found, in the order of these paths. A key holds
    that path's, and the blob's own, where several stand at one."""
    start, blob_start = divmod(query.before, _KEYS) if query.before is not None else (None, 0)
    before = None if start is None else start + 1
    found = search.newest(select(Path.id, Blob.id), session.get_bind().dialect.name, query.terms, before=before)
    found = found.join(Repo, Repo.id == Path.repo_id).join(Revision, Revision.repo_id == Repo.id)
    found = found.join(File, (File.revision_id == Revision.id) & (File.path == Path.path)).join(Blob, Blob.id == File.blob_id)
    chosen: list[tuple[int, int]] = []
    with session.execute(found.where(*places, *_blob_filters(query))) as rows:
        new = _new(rows, (_KEYS, 0) if start is None else (start, blob_start))
        while batch := list(islice(new, query.limit + 1 - len(chosen))):
            told: set[int | None] = set()
            if start is not None:
                its = (File.blob_id.in_([key for _, key in batch]), Path.id > start)
                told.update(session.scalars(_joined(select(File.blob_id), query).where(*its, *places)))
            chosen += [one for one in batch if one[1] not in told]
    blobs = {blob.id: blob for blob in session.scalars(select(Blob).where(Blob.id.in_([key for _, key in chosen])))}
    return [blobs[key] for _, key in chosen], [at * _KEYS + key for at, key in chosen]


def _new(rows: Iterable[Any], start: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield those of the rows, of a path and a blob each, by which a blob comes for the first time, after `start`."""
    seen: set[int] = set()
    for at, group in groupby(rows, key=itemgetter(0)):
        for key in sorted({row[1] for row in group} - seen, reverse=True):
            seen.add(key)
            if (at, key) < start:
                yield at, key


def _blob_filters(query: TorrentQuery) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if query.etag is not None:
        filters.append(Blob.etag == query.etag.value)
    if query.info_hash is not None:
        filters.append((Blob.info_hash if len(query.info_hash) == 32 else Blob.swarm) == query.info_hash)
    return filters or [holders.is_blob_here()]


def _within(blobs: Sequence[Blob], most_bytes: int | None) -> Sequence[Blob]:
    """Return the first of `blobs` whose metainfo is not more than that in all; one at least."""
    if most_bytes is None:
        return blobs
    total = 0
    for count, blob in enumerate(blobs):
        total += blob.metainfo_bytes
        if count and total > most_bytes:
            return blobs[:count]
    return blobs


def _joined(statement: Select[Any], query: TorrentQuery) -> Select[Any]:
    joined = statement.join(Revision, Revision.id == File.revision_id).join(Repo, Repo.id == Revision.repo_id)
    return joined.join(Path, (Path.repo_id == Repo.id) & (Path.path == File.path)) if query.terms else joined


def _place_filters(query: TorrentQuery) -> list[ColumnElement[bool]]:
    places: list[ColumnElement[bool]] = []
    if query.repo_type is not None:
        places.append(Repo.type == query.repo_type)
    if query.repo_id is not None:
        places.append(Repo.folded == query.repo_id.lower())
    if query.revision is not None:
        by_ref = select(Ref.revision_id).where(Ref.name == query.revision, holders.is_ref_here())
        places.append((Revision.commit == query.revision) | Revision.id.in_(by_ref))
    if query.path is not None:
        places.append(File.path == query.path)
    if query.terms:
        places.append(search.has(query.terms))
    return places


def _appearances(
    session: Session, keys: Sequence[int], query: TorrentQuery, places: Places
) -> defaultdict[int, list[Appearance]]:
    """Return where blobs stand, among the places that were asked for: in one statement, 20 for each."""
    newest = func.row_number().over(partition_by=File.blob_id, order_by=(File.revision_id.desc(), File.path))
    inner = (
        _joined(select(File.blob_id, Repo.type, Repo.name, Revision.commit, File.path, newest.label("nth")), query)
        .where(File.blob_id.in_(keys), *places)
        .subquery()
    )
    found: defaultdict[int, list[Appearance]] = defaultdict(list)
    rows = select(inner).where(inner.c.nth <= APPEARANCES_SHOWN).order_by(inner.c.blob_id, inner.c.nth)
    row: Any
    for row in session.execute(rows):
        blob_id, kind, name, commit, path, _ = row
        found[blob_id].append(Appearance(RepoRef(kind, name), commit, path))
    return found
