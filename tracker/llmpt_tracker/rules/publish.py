"""Enter a publication into the catalogue: all of it, or nothing.

A manifest of a commit only ever grows: a commit is immutable on the Hub, and each publisher may know another part of it.
A path that is published again must say the same; a manifest says `complete` once, a file is `here` once, and that stays so.
A path is absent only while no manifest names it. Everything is idempotent: what is known already changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import RepoRef
from llmpt_tracker.errors import Refused
from llmpt_tracker.models import Absent, Blob, File, Path, Ref, Repo, Revision, StoredMetainfo
from llmpt_tracker.rules.publication import Manifest, ManifestFile, Publication, refuse_folders
from llmpt_tracker.rules.search import words

T = TypeVar("T")
BATCH = 500  # names in one IN (…): far below every database's limit of parameters


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did. `swarms`: the truncated info-hashes that the announcer must know before anyone is told."""

    torrents: int
    new_torrents: int
    files: int
    swarms: tuple[bytes, ...]


def publish(session: Session, publication: Publication, *, min_blob_bytes: int, now: datetime) -> Published:
    """Enter `publication`. Raises `Refused` (422) with the reason when it contradicts the catalogue or itself; the caller's
    transaction must then be undone."""
    new = _enter_torrents(session, publication.torrents, now)
    files = publication.manifest.files if publication.manifest else ()
    if publication.manifest is not None:
        _enter_manifest(session, publication.manifest, min_blob_bytes, now)
    swarms = tuple(meta.info_hash.truncated for meta in publication.torrents)
    return Published(len(publication.torrents), new, len(files), swarms)


def _enter_torrents(session: Session, torrents: Sequence[Metainfo], now: datetime) -> int:
    known = _blobs(session, (meta.etag.value for meta in torrents))
    new: list[tuple[Blob, Metainfo]] = []
    for meta in torrents:
        blob = known.get(meta.etag.value)
        if blob is None:
            info_hash = meta.info_hash
            blob = Blob(
                etag=meta.etag.value,
                size=meta.size,
                info_hash=info_hash.digest,
                swarm=info_hash.truncated,
                published_at=now,
            )
            new.append((blob, meta))
        elif blob.info_hash != meta.info_hash.digest:
            raise Refused(
                422,
                "etag_conflict",
                f"another torrent is published for etag {meta.etag} ({blob.size} bytes; this one says {meta.size}): "
                "one of the two does not hold what the etag names",
            )
    session.add_all(blob for blob, _ in new)
    session.flush()
    session.add_all(StoredMetainfo(blob_id=blob.id, data=meta.encode()) for blob, meta in new)
    for blob, _ in new:  # manifests that named the file before it had a swarm, and was here
        same = (File.etag == blob.etag, File.size == blob.size, File.blob_id.is_(None))
        found = update(File).where(*same).values(blob_id=blob.id, here=True)
        session.execute(found.execution_options(synchronize_session=False))
    return len(new)


def _enter_manifest(session: Session, manifest: Manifest, min_blob_bytes: int, now: datetime) -> None:
    blobs = _blobs(session, (file.etag.value for file in manifest.files))
    for file in manifest.files:
        _check_content(file, blobs.get(file.etag.value), min_blob_bytes)
    repo_id = _repo_id(session, manifest.repo)
    revision = _revision(session, repo_id, manifest, now)
    added = _enter_files(session, manifest, revision.id, blobs)
    _enter_paths(session, repo_id, manifest.repo, [file.path for file in added])
    _enter_absent(session, revision.id, manifest.absent, {file.path for file in added})
    if manifest.card is not None:
        revision.card = manifest.card
    for name in manifest.refs:
        session.merge(Ref(repo_id=repo_id, name=name, revision_id=revision.id))
    session.flush()


def _enter_files(session: Session, manifest: Manifest, revision_id: int, blobs: Mapping[str, Blob]) -> list[ManifestFile]:
    """Enter the lines that are new, and return them; of the others note which files are here by now."""
    lines = select(File.path, File.etag, File.size, File.here).where(File.revision_id == revision_id)
    known = {row.path: row for row in session.execute(lines)}
    added, arrived = [], []
    for file in manifest.files:
        row = known.get(file.path)
        if row is None:
            added.append(file)
        elif (row.etag, row.size) != (file.etag.value, file.size):
            raise Refused(
                422,
                "manifest_conflict",
                f"{manifest.repo}@{manifest.commit} is published with {file.path!r} as etag {row.etag}, {row.size} bytes; "
                f"this manifest says {file.etag}, {file.size} bytes, and a commit never changes",
            )
        elif file.here and not row.here:
            arrived.append(file.path)
    if added and known:
        refuse_folders([*known, *(file.path for file in added)])
    rows = [
        {
            "revision_id": revision_id,
            "path": file.path,
            "size": file.size,
            "etag": file.etag.value,
            "lfs": file.lfs,
            "here": file.here or file.etag.value in blobs,
            "blob_id": blobs[file.etag.value].id if file.etag.value in blobs else None,
        }
        for file in added
    ]
    for batch in _batches(rows):
        session.execute(insert(File), batch)
    for paths in _batches(arrived):
        mine = update(File).where(File.revision_id == revision_id, File.path.in_(paths)).values(here=True)
        session.execute(mine.execution_options(synchronize_session=False))
    return added


def _enter_absent(session: Session, revision_id: int, absent: Iterable[str], added: Collection[str]) -> None:
    """Note what the Hub does not have, as far as no manifest names it; what one names now is absent no longer."""
    for paths in _batches(added):
        gone = delete(Absent).where(Absent.revision_id == revision_id, Absent.path.in_(paths))
        session.execute(gone.execution_options(synchronize_session=False))
    for paths in _batches(absent):
        known = {
            *session.scalars(select(File.path).where(File.revision_id == revision_id, File.path.in_(paths))),
            *session.scalars(select(Absent.path).where(Absent.revision_id == revision_id, Absent.path.in_(paths))),
        }
        session.add_all(Absent(revision_id=revision_id, path=path) for path in paths if path not in known)


def _enter_paths(session: Session, repo_id: int, repo: RepoRef, paths: Iterable[str]) -> None:
    """Let `paths` of a repo be found by their words."""
    for batch in _batches(paths):
        known = set(session.scalars(select(Path.path).where(Path.repo_id == repo_id, Path.path.in_(batch))))
        session.add_all(Path(repo_id=repo_id, path=path, words=words(repo.id, path)) for path in batch if path not in known)


def _check_content(file: ManifestFile, blob: Blob | None, min_blob_bytes: int) -> None:
    if blob is None:
        if file.here and file.size >= min_blob_bytes:
            raise Refused(422, "unknown_etag", f"{file.path!r}: no torrent is published for etag {file.etag} ({file.size} bytes)")
    elif blob.size != file.size:
        raise Refused(
            422, "size_conflict", f"{file.path!r}: {file.size} bytes, but the torrent of etag {file.etag} has {blob.size}"
        )


def _repo_id(session: Session, ref: RepoRef) -> int:
    repo = session.scalars(select(Repo).where(Repo.type == ref.type, Repo.name == ref.id)).one_or_none()
    if repo is None:
        repo = Repo(type=ref.type, name=ref.id)
        session.add(repo)
        session.flush()
    return repo.id


def _revision(session: Session, repo_id: int, manifest: Manifest, now: datetime) -> Revision:
    same = (Revision.repo_id == repo_id, Revision.commit == manifest.commit)
    revision = session.scalars(select(Revision).where(*same)).one_or_none()
    if revision is None:
        revision = Revision(repo_id=repo_id, commit=manifest.commit, complete=False, published_at=now)
        session.add(revision)
    revision.complete = revision.complete or manifest.complete
    session.flush()
    return revision


def _blobs(session: Session, etags: Iterable[str]) -> dict[str, Blob]:
    found: dict[str, Blob] = {}
    for batch in _batches(dict.fromkeys(etags)):
        found.update((blob.etag, blob) for blob in session.scalars(select(Blob).where(Blob.etag.in_(batch))))
    return found


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch
