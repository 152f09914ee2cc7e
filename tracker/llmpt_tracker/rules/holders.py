"""Who has what now: each publisher has a bit, and what it said to have bears it, until it says otherwise.

    claim     a seeder says that it has files of a commit, and refs that point there
    forget    it says anew what it has of a commit; what it had, and does not name again, is gone
    told      all that is here on its word, so that it finds out what the catalogue has lost
    keep      what the LAN's machines seed has a bit as well: theirs

What no publisher has stays known, as what a commit holds does; it is listed no longer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, case, delete, exists, func, select, update
from sqlalchemy.orm import Session, aliased
from sqlalchemy.orm.attributes import InstrumentedAttribute

from llmpt.core.holdings import HeldCommit, HeldRef, Holdings
from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import (
    BEFORE,
    MACHINES,
    UNNAMED,
    Blob,
    File,
    Holder,
    Ref,
    Repo,
    Revision,
    StoredMetainfo,
)
from llmpt_tracker.errors import Refused

_FIRST, _BITS = 2, 62
BATCH = 500
_FILE, _REVISION = aliased(File), aliased(Revision)  # inside a condition on another one


def bit_of(session: Session, token_id: int, name: str | None, *, alive: Collection[str] = ()) -> int:
    """Return the bit of the publisher that calls itself `name` (None: it does not say).

    One that is new takes the place of those of its token that are not `alive`: a seeder whose memory was made anew has another
    name. Raises `Refused` (429) when there are too many.
    """
    if name is None:
        return UNNAMED
    holders = session.scalars(select(Holder)).all()
    mine = next((one for one in holders if (one.token_id, one.name) == (token_id, name)), None)
    if mine is None:
        for old in [one for one in holders if one.token_id == token_id and one.name not in alive]:
            drop(session, old)
        taken = set(session.scalars(select(Holder.bit)))
        free = next((bit for bit in range(_FIRST, _BITS) if bit not in taken), None)
        if free is None:
            raise Refused(429, "too_many_publishers", f"{_BITS - _FIRST} seeders publish here already")
        mine = Holder(bit=free, token_id=token_id, name=name)
        session.add(mine)
        session.flush()
        _clear(session, File.holders, BEFORE)
        _clear_refs(session, BEFORE)
    return 1 << mine.bit


def find(session: Session, token_id: int, name: str) -> int:
    """Return the bit of a publisher that has published; 0 for any other."""
    bit = session.scalar(select(Holder.bit).where(Holder.token_id == token_id, Holder.name == name))
    return 0 if bit is None else 1 << bit


def drop_silent(session: Session, names: Collection[str]) -> list[str]:
    """Forget the publishers that are none of `names`, with what they had; return their names."""
    gone = silent(session, names)
    for one in gone:
        drop(session, one)
    return [one.name for one in gone]


def silent(session: Session, names: Collection[str]) -> list[Holder]:
    """Return the publishers that are none of `names`."""
    return [one for one in session.scalars(select(Holder)) if one.name not in names]


def drop(session: Session, holder: Holder) -> None:
    """Forget a publisher, and what it had."""
    _clear(session, File.holders, 1 << holder.bit)
    _clear_refs(session, 1 << holder.bit)
    session.delete(holder)
    session.flush()


def forget(session: Session, revision_id: int, bit: int) -> None:
    """Let a publisher have nothing of a revision, nor a ref that points there, before it says anew what it has."""
    _clear(session, File.holders, bit, File.revision_id == revision_id)
    _clear_refs(session, bit, Ref.revision_id == revision_id)


def forget_loose_refs(session: Session, revision_id: int) -> None:
    """Forget the refs to a revision that no publisher has, while a publisher has files of it: they were taken away by themselves.

    Else they stay, as the last that is known of a repo.
    """
    held = exists(select(File.path).where(File.revision_id == revision_id, File.holders.op("&")(~MACHINES) != 0))
    loose = delete(Ref).where(Ref.revision_id == revision_id, Ref.holders == 0, held)
    session.execute(loose.execution_options(synchronize_session=False))


def is_here() -> ColumnElement[bool]:
    """Return the condition that a file's bytes are here now."""
    return File.holders != 0


def has_files(revision_id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """Return the condition that some file of a revision is here now."""
    return exists(select(_FILE.path).where(_FILE.revision_id == revision_id, _FILE.holders != 0))


def is_repo_here(repo_id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """Return the condition that some file of a repo is here now."""
    return exists(select(_REVISION.id).where(_REVISION.repo_id == repo_id, has_files(_REVISION.id)))


def is_ref_here() -> ColumnElement[bool]:
    """Return the condition that a publisher has a ref, or that files of where it pointed last are here."""
    return (Ref.holders != 0) | has_files(Ref.revision_id)


def is_blob_here() -> ColumnElement[bool]:
    """Return the condition that a blob is here now; one that no manifest names counts as here."""
    named = select(_FILE.path).where(_FILE.blob_id == Blob.id)
    return exists(named.where(_FILE.holders != 0)) | ~exists(named)


def is_blob_away() -> ColumnElement[bool]:
    """Return the condition that a blob is not here now: files are it, and no machine has one of them."""
    away = select(_FILE.blob_id).where(_FILE.holders == 0, _FILE.blob_id.is_not(None))
    return Blob.id.in_(away) & ~exists(select(_FILE.path).where(_FILE.blob_id == Blob.id, _FILE.holders != 0))


def told(session: Session, bit: int) -> Holdings:
    """Return all that is here on a publisher's word. It is counted, line by line: what was lost is not in it."""
    mine = File.holders.op("&")(bit) != 0
    has_torrent = Blob.id.is_not(None) & StoredMetainfo.blob_id.is_not(None)
    of_revision = (
        select(
            File.revision_id,
            func.count().label("files"),
            func.sum(case((mine, 1), else_=0)).label("here"),
            func.sum(case((mine & has_torrent, 1), else_=0)).label("torrents"),
        )
        .outerjoin(Blob, Blob.id == File.blob_id)
        .outerjoin(StoredMetainfo, StoredMetainfo.blob_id == Blob.id)
        .group_by(File.revision_id)
        .subquery()
    )
    figures = (of_revision.c.files, of_revision.c.here, of_revision.c.torrents)
    commits: Any = session.execute(
        select(Repo.type, Repo.name, Revision.commit, Revision.complete, *figures)
        .join(Revision, Revision.id == of_revision.c.revision_id)
        .join(Repo, Repo.id == Revision.repo_id)
        .where(of_revision.c.here > 0)
        .order_by(Repo.type, Repo.name, Revision.commit)
    )
    refs: Any = session.execute(
        select(Repo.type, Repo.name, Ref.name, Revision.commit, Ref.setter)
        .join(Revision, Revision.id == Ref.revision_id)
        .join(Repo, Repo.id == Ref.repo_id)
        .where(Ref.holders.op("&")(bit) != 0)
        .order_by(Repo.type, Repo.name, Ref.name)
    )
    return Holdings(
        tuple(HeldCommit(RepoRef(kind, repo), *row) for kind, repo, *row in commits),
        tuple(HeldRef(RepoRef(kind, repo), name, at if setter in (0, bit) else None) for kind, repo, name, at, setter in refs),
    )


def add(session: Session, blobs: Sequence[int], bit: int) -> None:
    """Note that the files of these blobs are here on the word of `bit`."""
    _set(session, blobs, File.holders.op("|")(bit))


def keep(session: Session, seeded: Sequence[int], not_seeded: Sequence[int]) -> None:
    """Note which blobs machines of the LAN seed now, and which they do not."""
    _set(session, seeded, File.holders.op("|")(MACHINES))
    _set(session, not_seeded, File.holders.op("&")(~MACHINES))


def kept_by_machines(session: Session, etags: Collection[str]) -> frozenset[str]:
    """Return those of `etags` that machines of the LAN seed, as far as is known."""
    found: set[str] = set()
    wanted = list(etags)
    for start in range(0, len(wanted), BATCH):
        its = (File.etag.in_(wanted[start : start + BATCH]), File.holders.op("&")(MACHINES) != 0)
        found.update(session.scalars(select(File.etag).where(*its)))
    return frozenset(found)


def named_blobs(session: Session, *, after: int, limit: int) -> list[tuple[int, bytes, bool]]:
    """Return the next blobs that manifests name: key, swarm, and whether machines of the LAN have it as far as is known."""
    its = File.holders.op("&")(MACHINES) != 0
    kept = select(func.max(case((its, 1), else_=0))).where(File.blob_id == Blob.id).scalar_subquery()
    rows: Any = session.execute(select(Blob.id, Blob.swarm, kept).where(Blob.id > after).order_by(Blob.id).limit(limit))
    return [(key, swarm, bool(kept)) for key, swarm, kept in rows]


def _set(session: Session, blobs: Sequence[int], bits: ColumnElement[Any]) -> None:
    for start in range(0, len(blobs), BATCH):
        lines = update(File).where(File.blob_id.in_(blobs[start : start + BATCH])).values(holders=bits)
        session.execute(lines.execution_options(synchronize_session=False))


def _clear(session: Session, column: InstrumentedAttribute[int], bit: int, *match: ColumnElement[bool]) -> None:
    its = column.op("&")(bit) != 0
    cleared = update(column.class_).where(its, *match).values(holders=column.op("&")(~bit))
    session.execute(cleared.execution_options(synchronize_session=False))


def _clear_refs(session: Session, bit: int, *match: ColumnElement[bool]) -> None:
    """Take refs from a publisher; where they point is open to the next one."""
    _clear(session, Ref.holders, bit, *match)
    freed = update(Ref).where(Ref.setter == bit, *match).values(setter=0)
    session.execute(freed.execution_options(synchronize_session=False))
