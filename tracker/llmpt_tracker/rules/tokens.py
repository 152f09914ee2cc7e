"""The right to write: holders of a bearer token have it, of which only the SHA-256 is kept.

A token is a prefix, which says its scope and which secret scanners know, and 32 random bytes, url-safe. It is shown once.
`llmpt_pub_…` may publish everything; `llmpt_share_…`, which every machine of the LAN gets for itself, single blobs, and take
part in fetching each file once.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime
from hashlib import sha256

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.errors import Refused

PUBLISH = "publish"
SHARE = "share"
PREFIX = "llmpt_pub_"
SHARE_PREFIX = "llmpt_share_"
MAX_NAME = 80
APPLIANCE = "seeder of this server"  # how the token of the first start is listed


def new_secret(scope: str = PUBLISH) -> str:
    """Return a fresh token."""
    return (SHARE_PREFIX if scope == SHARE else PREFIX) + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return what is stored of a token: the SHA-256 in hex."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def add(
    session: Session, secret: str, *, name: str, now: datetime, scope: str = PUBLISH, appliance: bool = False
) -> PublisherToken:
    """Let the holder of `secret` write from now on; `appliance`: it is the seeder beside this tracker.

    Raises `Refused` for a name that cannot be shown in a list.
    """
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise Refused(422, "bad_name", f"a token's name has 1 to {MAX_NAME} printable characters")
    token = PublisherToken(name=name, sha256=digest(secret), scope=scope, appliance=appliance, created_at=now)
    session.add(token)
    session.flush()
    return token


def find(session: Session, secret: str) -> PublisherToken | None:
    """Return the row of a token, also of a revoked one; None when there is none."""
    return session.scalars(select(PublisherToken).where(PublisherToken.sha256 == digest(secret))).one_or_none()


def authenticate(session: Session, header: str | None, scopes: Collection[str] = (PUBLISH,)) -> PublisherToken:
    """Return the token that an `Authorization` header carries. Raises `Refused`: 401 when it is none that is valid, 403 when its
    scope is not one of `scopes`."""
    kind, _, secret = (header or "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        prefix = SHARE_PREFIX if SHARE in scopes else PREFIX
        raise Refused(401, "token_missing", f"this needs a token: Authorization: Bearer {prefix}…")
    token = find(session, secret.strip())
    if token is None:
        raise Refused(401, "token_unknown", "this tracker does not know that token; `llmpt-tracker token create` makes one")
    if token.revoked_at is not None:
        raise Refused(401, "token_revoked", f"the token {token.name!r} was revoked")
    if token.scope not in scopes:
        raise Refused(
            403, "scope", f"a token of scope {token.scope!r} may not do this; it takes one of scope {' or '.join(scopes)}"
        )
    return token


def listed(session: Session) -> list[PublisherToken]:
    """Return every token, the oldest first."""
    return list(session.scalars(select(PublisherToken).order_by(PublisherToken.id)))


def count(session: Session, scope: str) -> int:
    """Return how many tokens of a scope are valid."""
    valid = (PublisherToken.scope == scope, PublisherToken.revoked_at.is_(None))
    return session.scalar(select(func.count()).select_from(PublisherToken).where(*valid)) or 0


def revoke(session: Session, token_id: int, *, now: datetime) -> PublisherToken:
    """Stop a token from writing, for good. Raises `Refused` (404) when there is no such token."""
    token = session.get(PublisherToken, token_id)
    if token is None:
        raise Refused(404, "not_found", f"there is no token {token_id}; `llmpt-tracker token list` shows them")
    token.revoked_at = token.revoked_at or now
    return token


def announce_key(token: PublisherToken, seeder_id: str) -> str:
    """Return the key behind which this publisher's seeder announces: `/announce/<key>`.

    It follows from token and id alone, so nothing needs to be stored, and tells nothing about the token.
    """
    return sha256(f"{token.sha256}:{seeder_id}".encode()).hexdigest()[:32]
