"""The catalogue as the Hub's API sees it: one file, one revision, its listing, its refs.

A file is looked up by the primary key, in one statement with its repo and revision: clients ask for each of thousands by
itself. A revision is a commit, the name of a ref, or the beginning of a commit (7 digits or more).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from llmpt.core.errors import InvalidInput
from llmpt.core.repo import RepoRef, check_path, check_ref
from llmpt_tracker.database.models import Absent, Blob, File, Ref, Repo, Revision
from llmpt_tracker.rules import holders
from llmpt_tracker.rules.hub.errors import entry_not_found, repo_not_found, revision_not_found
from llmpt_tracker.rules.hub.files import HubFile

DEFAULT_REVISION = "main"
HEAD = "HEAD"  # the default one, as git has it; the client for JavaScript asks so
BATCH = 500  # names in one IN (…)
FEW_FOLDERS = 20  # are looked for one by one
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT = re.compile(r"[0-9a-f]{7,39}")
_LINE = (File.path, File.size, File.etag, File.lfs, Blob.swarm)


@dataclass(frozen=True, slots=True)
class HubRevision:
    """A commit.

    `complete`: the listing is the Hub's own, whole.
    `card`: the README's front matter as JSON, or None.
    """

    key: int
    repo: RepoRef
    commit: str
    complete: bool
    card: str | None
    published_at: datetime


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A path that was looked up.

    `file`: None when the revision is not known to hold it.
    `absent`: the revision is known not to hold it.
    """

    revision: HubRevision
    file: HubFile | None
    absent: bool


def repo_ref(repo_type: str, repo_id: str) -> RepoRef:
    """Return the repo of that name. Raises `RefusedAsHub` (RepoNotFound) when nothing can have it."""
    try:
        return RepoRef(repo_type, repo_id)
    except InvalidInput:
        raise repo_not_found(f"{repo_id:.120}") from None


def find_file(session: Session, repo: RepoRef, revision: str, path: str) -> FoundFile:
    """Look up a file of a revision. Raises `RefusedAsHub`: RepoNotFound, RevisionNotFound, EntryNotFound for what is no path."""
    try:
        check_path(path)
    except InvalidInput:
        raise entry_not_found(path, commit=None) from None
    found, line = _revision(session, repo, revision, path=path)
    if line[0] is not None:
        return FoundFile(found, _file(*line), absent=False)
    gone = session.get(Absent, (found.key, path)) is not None
    return FoundFile(found, None, absent=found.complete or gone)


def find_revision(session: Session, repo: RepoRef, revision: str | None) -> HubRevision:
    """Look up a revision; None is `main`, or the newest commit where there is no `main`. Raises `RefusedAsHub`."""
    return _revision(session, repo, revision or HEAD)[0]


def files(session: Session, revision: HubRevision, *, below: str = "") -> list[HubFile]:
    """Return the files of a revision, those in the folder `below` only if one is named; by path."""
    statement = _lines().where(File.revision_id == revision.key)
    if below:
        statement = statement.where(_inside(session, below))
    rows: Any = session.execute(statement)
    found = [_file(*row) for row in rows]
    return sorted(found, key=lambda file: file.path)


def files_of(session: Session, revisions: Collection[HubRevision]) -> dict[int, list[HubFile]]:
    """Return the files of several revisions, by the revision's key and by path: in one statement for 500 of them."""
    found: dict[int, list[HubFile]] = {one.key: [] for one in revisions}
    keys = list(found)
    for start in range(0, len(keys), BATCH):
        rows: Any = session.execute(
            _lines().add_columns(File.revision_id).where(File.revision_id.in_(keys[start : start + BATCH]))
        )
        for *line, key in rows:
            found[key].append(_file(*line))
    for files in found.values():
        files.sort(key=lambda file: file.path)
    return found


def files_at(session: Session, revision: HubRevision, paths: Iterable[str]) -> dict[str, HubFile]:
    """Return those files of a revision whose path is one of `paths`."""
    wanted = list(dict.fromkeys(paths))
    found: dict[str, HubFile] = {}
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        rows: Any = session.execute(_lines().where(File.revision_id == revision.key, File.path.in_(batch)))
        found.update((row[0], _file(*row)) for row in rows)
    return found


def is_published_as_here(session: Session, etag: str) -> bool:
    """Say whether a publisher said, in any manifest, that it has the bytes of a blob."""
    return session.scalar(select(File.etag).where(File.etag == etag, holders.is_here()).limit(1)) is not None


def folders_among(session: Session, revision: HubRevision, paths: Collection[str]) -> frozenset[str]:
    """Return those of `paths` that are folders: a file of the revision lies in them. Many are looked for in one look at all."""
    if len(paths) <= FEW_FOLDERS:
        return frozenset(path for path in paths if _is_folder(session, revision, path))
    found: set[str] = set()
    for path in session.scalars(select(File.path).where(File.revision_id == revision.key).execution_options(yield_per=1000)):
        end = path.rfind("/")
        while end > 0 and path[:end] not in found:
            if path[:end] in paths:
                found.add(path[:end])
            end = path.rfind("/", 0, end)
    return frozenset(found)


def refs(session: Session, repo: RepoRef) -> list[tuple[str, str]]:
    """Return (name, commit) of the repo's refs, by name. Raises `RefusedAsHub`."""
    key = _repo_key(session, repo)
    statement = select(Ref.name, Revision.commit).join(Revision, Revision.id == Ref.revision_id)
    here = statement.where(Ref.repo_id == key, holders.is_ref_here())
    return [(name, commit) for name, commit in session.execute(here.order_by(Ref.name))]


def check_repo(session: Session, repo: RepoRef) -> None:
    """Raise `RefusedAsHub` unless something of the repo is here, or a publisher names a ref of it."""
    _repo_key(session, repo)


def is_known() -> ColumnElement[bool]:
    """The condition that something of a repo is here, or that a publisher names a ref of it."""
    return exists(select(Ref.name).where(Ref.repo_id == Repo.id, Ref.holders != 0)) | holders.is_repo_here(Repo.id)


def _is_folder(session: Session, revision: HubRevision, path: str) -> bool:
    statement = select(File.path).where(File.revision_id == revision.key, _inside(session, path)).limit(1)
    return session.scalar(statement) is not None


def _revision(session: Session, repo: RepoRef, revision: str, *, path: str | None = None) -> tuple[HubRevision, tuple[Any, ...]]:
    """Return a revision of a repo and, in the same statement, the line of its manifest for `path` (Nones: it has none)."""
    row = None
    if revision == HEAD:
        revision = _default(session, repo)
    if _COMMIT.fullmatch(revision):
        row = _first(session, repo, path, Revision.commit == revision)
    if row is None and _is_ref(revision):
        row = _first(session, repo, path, (Ref.name == revision) & holders.is_ref_here(), by_ref=True)
    if row is None and _SHORT.fullmatch(revision):
        row = _first(session, repo, path, (Revision.commit >= revision) & (Revision.commit < revision + "g"))
    if row is None:
        _repo_key(session, repo)
        raise revision_not_found(repo, revision)
    one: Revision = row[0]
    return HubRevision(one.id, repo, one.commit, one.complete, one.card, one.published_at), tuple(row[1:])


def _first(session: Session, repo: RepoRef, path: str | None, match: ColumnElement[bool], *, by_ref: bool = False) -> Any:
    statement: Any = select(Revision, *(_LINE if path is not None else ())).select_from(Repo)
    statement = statement.join(Revision, Revision.repo_id == Repo.id)
    if by_ref:
        statement = statement.join(Ref, (Ref.revision_id == Revision.id) & (Ref.repo_id == Repo.id))
    if path is not None:
        statement = statement.outerjoin(File, (File.revision_id == Revision.id) & (File.path == path))
        statement = statement.outerjoin(Blob, Blob.id == File.blob_id)
    return session.execute(statement.where(Repo.type == repo.type, Repo.name == repo.id, match).limit(1)).first()


def _is_ref(revision: str) -> bool:
    try:
        check_ref(revision)
    except InvalidInput:
        return False
    return True


def _default(session: Session, repo: RepoRef) -> str:
    key = _repo_key(session, repo)
    main = select(Ref.name).where(Ref.repo_id == key, Ref.name == DEFAULT_REVISION, holders.is_ref_here())
    if session.scalar(main) is not None:
        return DEFAULT_REVISION
    newest = select(Revision.commit).where(Revision.repo_id == key, holders.has_files(Revision.id))
    newest = newest.order_by(Revision.id.desc()).limit(1)
    return session.scalar(newest) or DEFAULT_REVISION


def _repo_key(session: Session, repo: RepoRef) -> int:
    key = session.scalar(select(Repo.id).where(Repo.type == repo.type, Repo.name == repo.id, is_known()))
    if key is None:
        raise repo_not_found(repo)
    return key


def _lines() -> Any:
    return select(*_LINE).outerjoin(Blob, Blob.id == File.blob_id)


def _inside(session: Session, folder: str) -> ColumnElement[bool]:
    """The condition that a file lies in a folder; by the primary key where text is ordered by its bytes."""
    if session.get_bind().dialect.name == "sqlite":
        return (File.path > f"{folder}/") & (File.path < f"{folder}0")  # 0 is what comes after the slash
    return File.path.startswith(f"{folder}/", autoescape=True)


def _file(path: str, size: int, etag: str, lfs: bool, swarm: bytes | None) -> HubFile:
    return HubFile(path, size, etag, lfs or len(etag) == 64, swarm.hex() if swarm else None)
