"""What machines that share may put into the catalogue: so many torrents and bytes of metainfo, of a token, of what one machine
may have the addresses of, and in all.

What a manifest names is asked for, and does not count: there is no more of that than there are manifests. The rest is let go
when no machine has seeded it for long, and tokens that are used no longer are forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from llmpt.core.metainfo import Metainfo
from llmpt_tracker.database.models import Blob, File, PublisherToken, Report
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules.rights import SHARE

BATCH = 500


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that there may be: torrents, and bytes of their metainfo."""

    rows: int
    size: int


@dataclass(frozen=True, slots=True)
class Quotas:
    """What machines that share may publish, and for how long it stays.

    metainfo: bytes of one torrent's
    token, address, all: what there may be on the word of one token, of one neighbourhood, and of all
    tokens, tokens_of_network, tokens_of_all: tokens that an address, a /64, and all may hold
    unseeded: a torrent is let go when no machine has seeded it for so long
    never_seeded: the same, when none ever did
    unused: a token is forgotten when it was not used for so long
    never_used: the same, where there is no more room for tokens, when it never was
    """

    metainfo: int = 2 << 20
    token: Quota = Quota(5_000, 64 << 20)
    address: Quota = Quota(20_000, 256 << 20)
    all: Quota = Quota(200_000, 2 << 30)
    tokens: int = 500
    tokens_of_network: int = 5_000
    tokens_of_all: int = 50_000
    unseeded: timedelta = timedelta(days=30)
    never_seeded: timedelta = timedelta(days=2)
    unused: timedelta = timedelta(days=180)
    never_used: timedelta = timedelta(hours=1)


def check(session: Session, torrents: Sequence[Metainfo], by: PublisherToken, quotas: Quotas = Quotas()) -> None:
    """Raise `Refused` (403) when these torrents are more than a machine that shares may still publish."""
    sizes = [len(meta.encode()) for meta in torrents]
    if max(sizes, default=0) > quotas.metainfo:
        raise Refused(403, "quota", f"a token to share publishes torrents of at most {quotas.metainfo} bytes of metainfo")
    named = set(session.scalars(select(File.etag).where(File.etag.in_([meta.etag.value for meta in torrents]))))
    fresh = [size for meta, size in zip(torrents, sizes, strict=True) if meta.etag.value not in named]
    if not fresh:
        return
    of_token = Blob.token_id == by.id
    sharers = select(PublisherToken.id).where(_shares())
    of_address = Blob.token_id.in_(sharers.where(PublisherToken.address == by.address))
    scopes = [("this token", quotas.token, of_token), ("all machines", quotas.all, Blob.token_id.in_(sharers))]
    if by.address is not None:
        scopes.insert(1, ("the tokens of this address", quotas.address, of_address))
    for whose, quota, match in scopes:
        rows, size = _sum(session, match)
        if _is_beyond(quota, rows, size, fresh):
            rows, size = _sum(session, match & ~exists(select(File.etag).where(File.etag == Blob.etag)))
        if _is_beyond(quota, rows, size, fresh):
            raise Refused(
                403,
                "quota",
                f"{whose} may publish {quota.rows} torrents with {quota.size >> 20} MiB of metainfo that no manifest names, "
                "and have done so; what no machine seeds is let go after a while",
            )


def note_seeded(session: Session, keys: Sequence[int], *, now: datetime, every: timedelta = timedelta(hours=12)) -> None:
    """Note that machines seed these blobs now, where that was noted longer ago than `every`."""
    for start in range(0, len(keys), BATCH):
        its = (Blob.id.in_(keys[start : start + BATCH]), or_(Blob.seen_at.is_(None), Blob.seen_at < now - every))
        session.execute(update(Blob).where(*its).values(seen_at=now).execution_options(synchronize_session=False))


def expire(session: Session, *, now: datetime, quotas: Quotas = Quotas(), at_most: int = 1000) -> list[bytes]:
    """Let go of sharers' torrents that no machine has seeded for long; return their swarms."""
    never = Blob.seen_at.is_(None) & (Blob.published_at < now - quotas.never_seeded)
    sharers = select(PublisherToken.id).where(_shares())
    old: Any = select(Blob.id, Blob.swarm).where(Blob.token_id.in_(sharers), never | (Blob.seen_at < now - quotas.unseeded))
    rows: Any = session.execute(old.limit(at_most)).all()
    for start in range(0, len(rows), BATCH):
        keys = [key for key, _ in rows[start : start + BATCH]]
        session.execute(delete(Blob).where(Blob.id.in_(keys)).execution_options(synchronize_session=False))
    return [swarm for _, swarm in rows]


def make_room(session: Session, address: str, *, now: datetime, quotas: Quotas = Quotas()) -> None:
    """See that another token to share may be made for a machine at `address` (a neighbourhood).

    Those that were never used make room. Raises `Refused` (429) when there is none.
    """
    most = quotas.tokens_of_network if "/" in address else quotas.tokens
    for its, limit in (
        ([PublisherToken.address == address], most),
        ([PublisherToken.address.is_not(None)], quotas.tokens_of_all),
    ):
        if _count(session, its) < limit:
            continue
        unused = [*its, PublisherToken.last_used_at.is_(None), PublisherToken.created_at < now - quotas.never_used]
        _forget(session, unused)
        if _count(session, its) >= limit:
            raise Refused(
                429,
                "too_many_tokens",
                f"as many machines of this network have a token to share as may ({limit}): "
                "`llmpt-tracker token list` shows them, `llmpt-tracker token revoke` makes room",
                retry_after_s=3600,
            )


def prune_tokens(session: Session, *, now: datetime, quotas: Quotas = Quotas()) -> int:
    """Forget tokens to share that were not used for long, and on whose word nothing rests; return how many."""
    last_used = func.coalesce(PublisherToken.last_used_at, PublisherToken.created_at)
    return _forget(session, [PublisherToken.address.is_not(None), last_used < now - quotas.unused])


def _forget(session: Session, its: Sequence[ColumnElement[bool]]) -> int:
    unneeded = (
        ~exists(select(Blob.id).where(Blob.token_id == PublisherToken.id)),
        ~exists(select(Report.id).where(or_(Report.token_id == PublisherToken.id, Report.reporter_id == PublisherToken.id))),
    )
    keys = list(session.scalars(select(PublisherToken.id).where(_shares(), *its, *unneeded).limit(BATCH)))
    session.execute(delete(PublisherToken).where(PublisherToken.id.in_(keys)).execution_options(synchronize_session=False))
    return len(keys)


def _count(session: Session, its: Sequence[ColumnElement[bool]]) -> int:
    valid = (_shares(), PublisherToken.revoked_at.is_(None))
    return session.scalar(select(func.count()).select_from(PublisherToken).where(*its, *valid)) or 0


def _shares() -> ColumnElement[bool]:
    """Return the condition that a token is one to share, and no publisher's."""
    return PublisherToken.scope.in_((SHARE, f"{SHARE},read"))


def _sum(session: Session, match: ColumnElement[bool]) -> tuple[int, int]:
    rows, size = session.execute(select(func.count(), func.sum(Blob.metainfo_bytes)).select_from(Blob).where(match)).one()
    return int(rows), int(size or 0)


def _is_beyond(quota: Quota, rows: int, size: int, fresh: Sequence[int]) -> bool:
    return rows + len(fresh) > quota.rows or size + sum(fresh) > quota.size
