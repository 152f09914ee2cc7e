"""Who may publish: holders of a bearer token, of which only the SHA-256 is kept.

A token is `llmpt_pub_` and 32 random bytes, url-safe; secret scanners know such a prefix. It is shown once.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.orm import Session

from llmpt_tracker.errors import Refused
from llmpt_tracker.models import PublisherToken

PREFIX = "llmpt_pub_"
MAX_NAME = 80


def new_secret() -> str:
    """Return a fresh token."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return what is stored of a token: the SHA-256 in hex."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def add(session: Session, secret: str, *, name: str, now: datetime) -> PublisherToken:
    """Let the holder of `secret` publish from now on. Raises `Refused` for a name that cannot be shown in a list."""
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise Refused(422, "bad_name", f"a token's name has 1 to {MAX_NAME} printable characters")
    token = PublisherToken(name=name, sha256=digest(secret), created_at=now)
    session.add(token)
    session.flush()
    return token


def find(session: Session, secret: str) -> PublisherToken | None:
    """Return the row of a token, also of a revoked one; None when there is none."""
    return session.scalars(select(PublisherToken).where(PublisherToken.sha256 == digest(secret))).one_or_none()


def authenticate(session: Session, header: str | None) -> PublisherToken:
    """Return the token that an `Authorization` header carries. Raises `Refused` (401) when it may not publish."""
    scheme, _, secret = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Refused(401, "token_missing", "publishing needs a token: Authorization: Bearer llmpt_pub_…")
    token = find(session, secret.strip())
    if token is None:
        raise Refused(401, "token_unknown", "this tracker does not know that token; `llmpt-tracker token create` makes one")
    if token.revoked_at is not None:
        raise Refused(401, "token_revoked", f"the token {token.name!r} was revoked")
    return token


def listed(session: Session) -> list[PublisherToken]:
    """Return every token, the oldest first."""
    return list(session.scalars(select(PublisherToken).order_by(PublisherToken.id)))


def revoke(session: Session, token_id: int, *, now: datetime) -> PublisherToken:
    """Stop a token from publishing, for good. Raises `Refused` (404) when there is no such token."""
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
