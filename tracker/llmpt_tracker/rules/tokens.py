"""Who may do what: holders of a bearer token, of which only the SHA-256 is kept.

A token is a prefix, which says its scope and which secret scanners know, and 32 random bytes, url-safe. It is shown once. Its
rights (rules/rights.py) say what it may do, for which repos and until when. `rotate` gives it another secret; the one before
stays valid for a while, so that nothing stops working meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from llmpt_tracker.clock import utc_now
from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import rights as names
from llmpt_tracker.rules.rights import PREFIXES, Rights, may

PUBLISH, SHARE = names.PUBLISH, names.SHARE
PREFIX = PREFIXES[PUBLISH]
SHARE_PREFIX = PREFIXES[SHARE]
MAX_NAME = 80
APPLIANCE = "seeder of this server"  # how the token of the first start is listed
OVERLAP = timedelta(days=1)  # for so long the secret before a rotation stays valid


def new_secret(*scopes: str) -> str:
    """Return a fresh token, of scope `publish` unless told otherwise."""
    prefix = next((prefix for name, prefix in PREFIXES.items() if name in scopes), PREFIX)
    return prefix + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return what is stored of a token: the SHA-256 in hex."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def add(
    session: Session, secret: str, *, name: str, now: datetime, scope: str = PUBLISH, appliance: bool = False
) -> PublisherToken:
    """Let the holder of `secret` write from now on, for all repos; `appliance`: it is the seeder beside this tracker.

    Raises `Refused` for a name that cannot be shown in a list.
    """
    return grant(session, secret, Rights.read(scope), name=name, now=now, appliance=appliance)


def grant(session: Session, secret: str, rights: Rights, *, name: str, now: datetime, appliance: bool = False) -> PublisherToken:
    """Give the holder of `secret` these rights. Raises `Refused` for a name that cannot be shown in a list."""
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise Refused(422, "bad_name", f"a token's name has 1 to {MAX_NAME} printable characters")
    token = PublisherToken(name=name, sha256=digest(secret), scope=",".join(rights.scopes), appliance=appliance, created_at=now)
    token.repos = None if rights.repos is None else str(rights.repos)
    token.expires_at = rights.expires_at
    session.add(token)
    session.flush()
    return token


def find(session: Session, secret: str) -> PublisherToken | None:
    """Return the row of a token, also of one that is valid no longer; None when there is none."""
    its = digest(secret)
    match = or_(PublisherToken.sha256 == its, PublisherToken.previous_sha256 == its)
    return session.scalars(select(PublisherToken).where(match)).first()


def authenticate(
    session: Session, header: str | None, scopes: Collection[str] = (PUBLISH,), *, now: datetime | None = None
) -> PublisherToken:
    """Return the token that an `Authorization` header carries; `now` is the system's time unless it is given. Raises `Refused`:
    401 when it is none that is valid, 403 when it may do nothing of `scopes`."""
    kind, _, secret = (header or "").partition(" ")
    secret = secret.strip()
    if kind.lower() != "bearer" or not secret:
        prefix = SHARE_PREFIX if SHARE in scopes else PREFIXES[next(iter(scopes))]
        raise Refused(401, "token_missing", f"this needs a token: Authorization: Bearer {prefix}…")
    token = find(session, secret)
    if token is None:
        raise Refused(401, "token_unknown", "this tracker does not know that token; `llmpt-tracker token create` makes one")
    _check_valid(token, secret, utc_now() if now is None else now)
    if not may(token, *scopes):
        raise Refused(
            403, "scope", f"a token of scope {token.scope!r} may not do this; it takes one of scope {' or '.join(scopes)}"
        )
    return token


def _check_valid(token: PublisherToken, secret: str, now: datetime) -> None:
    if token.revoked_at is not None:
        raise Refused(401, "token_revoked", f"the token {token.name!r} was revoked")
    if is_over(token, now):
        raise Refused(401, "token_expired", f"the token {token.name!r} was valid until {token.expires_at:%Y-%m-%d %H:%M} UTC")
    if digest(secret) != token.sha256 and (token.previous_until is None or token.previous_until <= now):
        raise Refused(401, "token_rotated", f"the token {token.name!r} has had another secret for a while: use the new one")


def is_over(token: PublisherToken, now: datetime) -> bool:
    """Say whether a token was revoked, or has come to its end."""
    return token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now)


def rotate(session: Session, token_id: int, *, now: datetime, overlap: timedelta = OVERLAP) -> tuple[PublisherToken, str]:
    """Give a token another secret, which is valid at once; return both. The secret that it had is valid for `overlap` more.

    Raises `Refused`: 404 when there is no such token, 409 when it is valid no longer.
    """
    token = get(session, token_id)
    if is_over(token, now):
        raise Refused(409, "token_over", f"the token {token.name!r} is over; `llmpt-tracker token create` makes another one")
    secret = new_secret(*token.scope.split(","))
    token.previous_sha256, token.previous_until = token.sha256, now + overlap
    token.sha256 = digest(secret)
    session.flush()
    return token, secret


def used(session: Session, token_ids: Collection[int], *, now: datetime) -> None:
    """Note that tokens were used."""
    mine = update(PublisherToken).where(PublisherToken.id.in_(list(token_ids))).values(last_used_at=now)
    session.execute(mine.execution_options(synchronize_session=False))


def listed(session: Session) -> list[PublisherToken]:
    """Return every token, the oldest first."""
    return list(session.scalars(select(PublisherToken).order_by(PublisherToken.id)))


def count_sharers(session: Session) -> int:
    """Return how many machines have a token to share that is not revoked."""
    valid = (PublisherToken.scope.like(f"%{SHARE}%"), PublisherToken.revoked_at.is_(None))
    return session.scalar(select(func.count()).select_from(PublisherToken).where(*valid)) or 0


def get(session: Session, token_id: int) -> PublisherToken:
    """Return a token by its number. Raises `Refused` (404) when there is no such token."""
    token = session.get(PublisherToken, token_id)
    if token is None:
        raise Refused(404, "not_found", f"there is no token {token_id}; `llmpt-tracker token list` shows them")
    return token


def revoke(session: Session, token_id: int, *, now: datetime) -> PublisherToken:
    """Stop a token from doing anything, for good. Raises `Refused` (404) when there is no such token."""
    token = get(session, token_id)
    token.revoked_at = token.revoked_at or now
    return token


def described(token: PublisherToken) -> dict[str, Any]:
    """Return what the audit log says of a token that an operator made or changed."""
    expires = token.expires_at.isoformat() if token.expires_at else None
    return {"id": token.id, "name": token.name, "scope": token.scope, "repos": token.repos, "expires_at": expires}


def announce_key(token: PublisherToken, seeder_id: str) -> str:
    """Return the key behind which this publisher's seeder announces: `/announce/<key>`.

    It follows from token and id alone, so nothing needs to be stored, and tells nothing about the token. A token that was rotated
    has another one from its next heartbeat on.
    """
    return sha256(f"{token.sha256}:{seeder_id}".encode()).hexdigest()[:32]
