"""Enter a publication into the catalogue: all of it, or nothing.

A manifest of a commit only ever grows: a commit is immutable on the Hub, and each publisher may know another part of it.
A path that is published again must say the same; a manifest says `complete` once, and that stays so. Whether a file is `here`
is each publisher's word for itself (rules/holders.py). A path is absent only while no manifest names it. Everything is
idempotent: what is known already changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, and_, column, delete, insert, select, update, values
from sqlalchemy.orm import Session

from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import MACHINES, UNNAMED, Absent, Blob, File, Path, PublisherToken, Ref, Repo, Revision
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import entries, holders, refs
from llmpt_tracker.rules.hub import cards
from llmpt_tracker.rules.publication import Manifest, ManifestFile, Publication, as_folder, folders_of
from llmpt_tracker.rules.refs import Claims
from llmpt_tracker.rules.rights import rank
from llmpt_tracker.rules.search import words


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did.

    `swarms`: the truncated info-hashes that the announcer must know before the publisher is answered.
    `dropped`: those that it may forget, because a lesser word gave way to a better one.
    `refs`: what became of the refs that it names.
    `new_files`: lines of its manifest that were not known.
    """

    torrents: int
    new_torrents: int
    files: int
    swarms: tuple[bytes, ...]
    dropped: tuple[bytes, ...] = ()
    refs: Claims = Claims()
    new_files: int = 0


@dataclass(frozen=True, slots=True)
class _Word:
    """Whose word it is, and when: the token, the bit of what has the bytes, and the tracker's bound of small files."""

    by: PublisherToken
    bit: int
    min_blob_bytes: int
    now: datetime


def publish(
    session: Session,
    publication: Publication,
    *,
    by: PublisherToken,
    bit: int = UNNAMED,
    min_blob_bytes: int,
    now: datetime,
) -> Published:
    """Enter what `by` publishes; `bit` is that of what has the bytes (rules/holders.py).

    Raises `Refused` (422) with the reason when it contradicts the catalogue or itself; the caller's transaction must then be
    undone.
    """
    entered = entries.enter(session, publication.torrents, by=by, bit=0 if publication.seeder else bit, now=now)
    dropped, claims, new_files = entered.dropped, Claims(), 0
    files = publication.manifest.files if publication.manifest else ()
    if publication.manifest is not None:
        gone, claims, new_files = _enter_manifest(session, publication, publication.manifest, _Word(by, bit, min_blob_bytes, now))
        dropped += gone
    swarms = tuple(meta.info_hash.truncated for meta in publication.torrents)
    return Published(len(publication.torrents), entered.new, len(files), swarms, dropped, claims, new_files)


def _enter_manifest(
    session: Session, publication: Publication, manifest: Manifest, word: _Word
) -> tuple[tuple[bytes, ...], Claims, int]:
    """Enter a manifest; return the swarms that had to go for it, what became of the refs that it names, and how many
    lines are new."""
    by, bit = word.by, word.bit
    blobs = entries.find(session, (file.etag.value for file in manifest.files))
    wrong = {file.etag.value for file in manifest.files if file.etag.value in blobs and blobs[file.etag.value].size != file.size}
    dropped = entries.drop_outranked(session, [blobs[etag] for etag in wrong], by)
    blobs = {etag: blob for etag, blob in blobs.items() if etag not in dropped}
    for file in manifest.files:
        _check_content(file, blobs.get(file.etag.value), word.min_blob_bytes)
    if publication.anew and not manifest.files and not _knows(session, manifest):
        return tuple(dropped.values()), Claims(), 0
    repo_id = _repo_id(session, manifest.repo)
    revision = _revision(session, repo_id, manifest, word)
    if publication.anew:
        holders.forget(session, revision.id, bit)
    added = _enter_files(session, manifest, revision.id, blobs, bit)
    if added and revision.complete:
        _check_may_add(session, revision, manifest, by)
    revision.complete = revision.complete or manifest.complete
    _enter_paths(session, repo_id, manifest.repo, [file.path for file in added])
    _enter_absent(session, revision.id, manifest.absent, {file.path for file in added})
    if manifest.card is not None:
        revision.card = cards.joined(manifest.card, revision.card)
    is_the_hubs = by.appliance and publication.seeder is None  # a seeder that tells what the Hub lists does not sign it
    claims = refs.claim(session, revision, manifest.refs, by=by, bit=bit, confirmed=is_the_hubs)
    session.flush()
    refs.date(session, revision.id, manifest.refs, now=word.now, confirmed=is_the_hubs)
    if publication.seeder is not None and not publication.more:
        refs.release(session, revision.id, by=by)
        holders.forget_loose_refs(session, revision.id)
    return tuple(dropped.values()), claims, len(added)


def _enter_files(
    session: Session, manifest: Manifest, revision_id: int, blobs: Mapping[str, Blob], bit: int
) -> list[ManifestFile]:
    """Enter the lines that are new, and return them; of the others note which files the publisher has by now, and which have
    got a swarm."""
    lines = select(File.path, File.etag, File.size, File.holders, File.blob_id).where(File.revision_id == revision_id)
    paths = [file.path for file in manifest.files]
    parts = (session.execute(lines.where(File.path.in_(batch))) for batch in entries.batches(paths))
    known = {row.path: row for part in parts for row in part}  # not all of the commit's, or each part costs more
    added, arrived = [], []
    swarmed: dict[str, int] = {}
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
        elif file.here and not row.holders & bit:
            arrived.append(file.path)
        if row is not None and (blob := blobs.get(file.etag.value)) is not None and row.blob_id != blob.id:
            swarmed[file.path] = blob.id
    _refuse_folders_of_others(session, revision_id, [file.path for file in added])
    seeded = holders.kept_by_machines(session, [file.etag.value for file in added if file.etag.value in blobs])
    rows = [
        {
            "revision_id": revision_id,
            "path": file.path,
            "size": file.size,
            "etag": file.etag.value,
            "lfs": file.lfs,
            "holders": (bit if file.here else 0) | (MACHINES if file.etag.value in seeded else 0),
            "blob_id": blobs[file.etag.value].id if file.etag.value in blobs else None,
        }
        for file in added
    ]
    for batch in entries.batches(rows):
        session.execute(insert(File), batch)
    for paths in entries.batches(arrived):
        mine = update(File).where(File.revision_id == revision_id, File.path.in_(paths))
        mine = mine.values(holders=File.holders.op("|")(bit))
        session.execute(mine.execution_options(synchronize_session=False))
    for path, blob_id in swarmed.items():
        one = update(File).where(File.revision_id == revision_id, File.path == path).values(blob_id=blob_id)
        session.execute(one.execution_options(synchronize_session=False))
    return added


def _refuse_folders_of_others(session: Session, revision_id: int, added: Collection[str]) -> None:
    """Raise `Refused` when one of these paths is a folder of one that is entered, or the other way round."""
    folders = dict.fromkeys(folder for path in added for folder in folders_of(path))
    for batch in entries.batches(folders):
        for path in session.scalars(select(File.path).where(File.revision_id == revision_id, File.path.in_(batch)).limit(1)):
            raise as_folder(path, next(one for one in added if one.startswith(f"{path}/")))
    for batch in entries.batches(added):
        one = values(column("path", String())).data([(path,) for path in batch]).cte("added")
        below = and_(File.path > one.c.path.concat("/"), File.path < one.c.path.concat("0"))  # the character after the slash
        for row in session.execute(select(one.c.path, File.path).where(File.revision_id == revision_id, below).limit(1)):
            raise as_folder(str(row[0]), str(row[1]))


def _enter_absent(session: Session, revision_id: int, absent: Iterable[str], added: Collection[str]) -> None:
    """Note what the Hub does not have, as far as no manifest names it; what one names now is absent no longer."""
    for paths in entries.batches(added):
        gone = delete(Absent).where(Absent.revision_id == revision_id, Absent.path.in_(paths))
        session.execute(gone.execution_options(synchronize_session=False))
    for paths in entries.batches(absent):
        known = {
            *session.scalars(select(File.path).where(File.revision_id == revision_id, File.path.in_(paths))),
            *session.scalars(select(Absent.path).where(Absent.revision_id == revision_id, Absent.path.in_(paths))),
        }
        session.add_all(Absent(revision_id=revision_id, path=path) for path in paths if path not in known)


def _enter_paths(session: Session, repo_id: int, repo: RepoRef, paths: Iterable[str]) -> None:
    """Let `paths` of a repo be found by their words."""
    for batch in entries.batches(paths):
        known = set(session.scalars(select(Path.path).where(Path.repo_id == repo_id, Path.path.in_(batch))))
        new = [{"repo_id": repo_id, "path": path, "words": words(repo.id, path)} for path in batch if path not in known]
        if new:  # rows and no objects: of a data set with 100,000 files these cost most
            session.execute(insert(Path), new)


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
        entries.forget_rests(session, Revision.repo_id == repo.id, Path.repo_id == repo.id, Ref.repo_id == repo.id)
    return repo.id


def _knows(session: Session, manifest: Manifest) -> bool:
    """Whether something of the commit is in the catalogue."""
    found = select(Revision.id).join(Repo, Repo.id == Revision.repo_id)
    its = (Repo.type == manifest.repo.type, Repo.name == manifest.repo.id, Revision.commit == manifest.commit)
    return session.scalar(found.where(*its)) is not None


def _check_may_add(session: Session, revision: Revision, manifest: Manifest, by: PublisherToken) -> None:
    """Refuse a word that adds files to a commit that is known as a whole, unless it is better than the one that this rests on."""
    first = None if revision.token_id is None else session.get(PublisherToken, revision.token_id)
    if first is not None and first.id != by.id and rank(by) <= rank(first):
        raise Refused(
            422,
            "manifest_conflict",
            f"{manifest.repo}@{manifest.commit} is published as a whole, and this manifest names files that it does not hold",
        )


def _begin_anew(session: Session, revision: Revision, manifest: Manifest, by: PublisherToken) -> None:
    """Forget the lines of a commit that a lesser word has published where they contradict this one."""
    first = None if revision.token_id is None else session.get(PublisherToken, revision.token_id)
    if first is None or rank(by) <= rank(first):
        return
    lines = select(File.path, File.etag, File.size).where(File.revision_id == revision.id)
    known = {row.path: (row.etag, row.size) for row in session.execute(lines)}
    if all(known.get(file.path, (file.etag.value, file.size)) == (file.etag.value, file.size) for file in manifest.files):
        return
    entries.forget_rests(session, File.revision_id == revision.id, Absent.revision_id == revision.id)
    revision.complete, revision.card, revision.token_id = False, None, by.id


def _revision(session: Session, repo_id: int, manifest: Manifest, word: _Word) -> Revision:
    same = (Revision.repo_id == repo_id, Revision.commit == manifest.commit)
    revision = session.scalars(select(Revision).where(*same)).one_or_none()
    if revision is None:
        revision = Revision(repo_id=repo_id, commit=manifest.commit, complete=False, published_at=word.now, token_id=word.by.id)
        session.add(revision)
        session.flush()
        its = (File.revision_id == revision.id, Absent.revision_id == revision.id, Ref.revision_id == revision.id)
        entries.forget_rests(session, *its)
    else:
        _begin_anew(session, revision, manifest, word.by)
    session.flush()
    return revision
