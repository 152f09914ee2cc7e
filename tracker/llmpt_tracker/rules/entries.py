"""Which torrent is an etag's: on whose word, and when it has to go.

An entry is attributed to the token that published it. What a machine of the LAN published with its token to share is believed
until a publisher says otherwise, or a receiver finds another content in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from llmpt.core.metainfo import Metainfo
from llmpt_tracker.database.models import MACHINES, Blob, File, PublisherToken, Report, StoredMetainfo, Voucher
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import holders, quotas
from llmpt_tracker.rules.rights import is_publisher, rank

T = TypeVar("T")
BATCH = 500  # names in one IN (…): far below every database's limit of parameters
BANNED = timedelta(days=1)  # what was dropped is not taken again for so long from the machine that had published it
MAX_VOUCHERS = 8


@dataclass(frozen=True, slots=True)
class Entered:
    """How many torrents are new, and the swarms (20 bytes each) of those that had to go for them."""

    new: int
    dropped: tuple[bytes, ...]


def enter(session: Session, torrents: Sequence[Metainfo], *, by: PublisherToken, bit: int = 0, now: datetime) -> Entered:
    """Enter what `by` publishes; of one etag the torrent of a better word replaces a lesser one's. Files that manifests
    name are here on the word of `bit`, or of the LAN's machines.

    Raises `Refused` (422) for an etag that has another torrent by then, and when it was dropped a short while ago.
    """
    known = find(session, (meta.etag.value for meta in torrents))
    lesser = _outranked(session, known.values(), rank(by))
    if not is_publisher(by):
        _refuse_banned(session, torrents, by, now)
        quotas.check(session, [meta for meta in torrents if meta.etag.value not in known], by)
    dropped: list[bytes] = []
    new: list[tuple[Blob, Metainfo]] = []
    there: dict[int, Metainfo] = {}
    for meta in torrents:
        blob = known.get(meta.etag.value)
        if blob is not None and blob.info_hash != meta.info_hash.digest:
            if blob.id not in lesser:
                raise Refused(
                    422,
                    "etag_conflict",
                    f"another torrent is published for etag {meta.etag} ({blob.size} bytes; this one says {meta.size}): "
                    "one of the two does not hold what the etag names",
                )
            dropped.append(drop(session, blob))
            blob = None
        if blob is None:
            new.append((_blob(meta, by, now), meta))
            continue
        there[blob.id] = meta
        if not is_publisher(by) and blob.token_id != by.id:
            _vouch(session, blob, by, now)
        if blob.id in lesser:
            blob.token_id = by.id
    session.add_all(blob for blob, _ in new)
    session.flush()
    for batch in batches(blob.id for blob, _ in new):
        forget_rests(session, StoredMetainfo.blob_id.in_(batch))
    session.add_all(StoredMetainfo(blob_id=blob.id, data=meta.encode()) for blob, meta in new)
    _restore(session, there)
    for blob, _ in new:
        _enter_in_manifests(session, blob)
    if bits := bit if is_publisher(by) else MACHINES:
        holders.add(session, [*there, *(blob.id for blob, _ in new)], bits)
    return Entered(len(new), tuple(dropped))


def forget_rests(session: Session, *rests: ColumnElement[bool]) -> None:
    """Delete what a row left that was lost by itself: its number may be that of a new one."""
    for match in rests:
        column: Any = match.left
        session.execute(delete(column.table).where(match).execution_options(synchronize_session=False))


def _enter_in_manifests(session: Session, blob: Blob) -> None:
    """Lead to a new torrent from the manifests that named its file before, and from no other: a number may be used again."""
    same = (File.etag == blob.etag) & (File.size == blob.size)
    for match, key in ((same, blob.id), ((File.blob_id == blob.id) & (File.etag != blob.etag), None)):
        lines = update(File).where(match).values(blob_id=key)
        session.execute(lines.execution_options(synchronize_session=False))


def _restore(session: Session, known: Mapping[int, Metainfo]) -> None:
    """Store the metainfo of torrents anew where the database has lost it."""
    for batch in batches(known):
        there = set(session.scalars(select(StoredMetainfo.blob_id).where(StoredMetainfo.blob_id.in_(batch))))
        session.add_all(StoredMetainfo(blob_id=key, data=known[key].encode()) for key in batch if key not in there)


def drop(session: Session, blob: Blob) -> bytes:
    """Take a torrent out of the catalogue, and out of the manifests' lines; return its swarm."""
    swarm = blob.swarm
    session.execute(delete(Blob).where(Blob.id == blob.id).execution_options(synchronize_session=False))
    session.expunge(blob)
    return swarm


def drop_outranked(session: Session, blobs: Collection[Blob], by: PublisherToken) -> dict[str, bytes]:
    """Drop those of `blobs` that are there on a lesser word than that of `by`; return their swarms by etag."""
    lesser = _outranked(session, blobs, rank(by))
    return {blob.etag: drop(session, blob) for blob in blobs if blob.id in lesser}


def is_shared(session: Session, blob: Blob) -> bool:
    """Say whether a torrent is in the catalogue on a sharer's word."""
    return blob.id in _outranked(session, [blob], 1)


def find(session: Session, etags: Iterable[str]) -> dict[str, Blob]:
    """Return those of `etags` that have a torrent."""
    found: dict[str, Blob] = {}
    for batch in batches(dict.fromkeys(etags)):
        found.update((blob.etag, blob) for blob in session.scalars(select(Blob).where(Blob.etag.in_(batch))))
    return found


def swarms(session: Session, etags: Iterable[str]) -> dict[str, bytes]:
    """Return the swarms of those of `etags` that have a torrent."""
    found: dict[str, bytes] = {}
    for batch in batches(dict.fromkeys(etags)):
        rows = session.execute(select(Blob.etag, Blob.swarm).where(Blob.etag.in_(batch)))
        found.update((row.etag, row.swarm) for row in rows)
    return found


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Cut `items` into lists that a statement can name."""
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _blob(meta: Metainfo, by: PublisherToken, now: datetime) -> Blob:
    info_hash = meta.info_hash
    return Blob(
        etag=meta.etag.value,
        size=meta.size,
        info_hash=info_hash.digest,
        swarm=info_hash.truncated,
        published_at=now,
        token_id=by.id,
        metainfo_bytes=len(meta.encode()),
    )


def _outranked(session: Session, blobs: Iterable[Blob], than: int) -> frozenset[int]:
    """Return the ids of those blobs that are there on the word of a token of a lower rank."""
    by_token = [(blob.token_id, blob.id) for blob in blobs if blob.token_id is not None] if than else []
    lesser: set[int] = set()
    for batch in batches({token for token, _ in by_token}):
        its = select(PublisherToken).where(PublisherToken.id.in_(batch))
        lesser.update(one.id for one in session.scalars(its) if rank(one) < than)
    return frozenset(blob for token, blob in by_token if token in lesser)


def _vouch(session: Session, blob: Blob, by: PublisherToken, now: datetime) -> None:
    """Note that another machine has read the very content of a blob."""
    known = session.scalars(select(Voucher.token_id).where(Voucher.blob_id == blob.id)).all()
    if by.id not in known and len(known) < MAX_VOUCHERS:
        session.add(Voucher(blob_id=blob.id, token_id=by.id, address=whereabouts(by), at=now))


def vouchers(session: Session, blob: Blob) -> frozenset[str]:
    """Return from where other machines have published the very torrent that a blob has, beside the one on whose word it is."""
    first = None if blob.token_id is None else session.get(PublisherToken, blob.token_id)
    found = set(session.scalars(select(Voucher.address).where(Voucher.blob_id == blob.id)))
    return frozenset(found - {whereabouts(first)} if first is not None else found)


def whereabouts(token: PublisherToken) -> str:
    """Return what tells the machine of a token from others: from where it got it. A token is free, an address is less so."""
    return token.address or f"token {token.id}"


def _refuse_banned(session: Session, torrents: Sequence[Metainfo], by: PublisherToken, now: datetime) -> None:
    """Refuse what was dropped a short while ago on the word of this very token: another machine's may be right."""
    for batch in batches(meta.etag.value for meta in torrents):
        recent = (Report.etag.in_(batch), Report.token_id == by.id, Report.dropped, Report.reported_at.between(now - BANNED, now))
        if (etag := session.scalars(select(Report.etag).where(*recent)).first()) is not None:
            raise Refused(422, "dropped", f"the torrent of etag {etag} was dropped: a receiver found another content in yours")
