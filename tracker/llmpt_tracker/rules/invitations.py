"""Codes that let machines share what they fetch, where LLMPT_SHARING=invited: shown once, kept as a hash, few uses, an end.

A code is 20 letters and digits in groups of five, which people read and type: case and dashes do not count.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import update
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import Invitation

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like another one
LENGTH = 20  # 99 bits


def invite(session: Session, *, uses: int, days: int, now: datetime) -> str:
    """Make a code for `uses` machines that holds for `days`; return it."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    session.add(Invitation(sha256=_digest(code), uses_left=uses, created_at=now, expires_at=now + timedelta(days=days)))
    session.flush()
    return "-".join(code[start : start + 5] for start in range(0, LENGTH, 5))


def use(session: Session, code: str, *, now: datetime) -> bool:
    """Take one use of `code`; False when it is none, is used up, or has expired."""
    valid = (Invitation.sha256 == _digest(code), Invitation.uses_left > 0, Invitation.expires_at > now)
    taken = update(Invitation).where(*valid).values(uses_left=Invitation.uses_left - 1).returning(Invitation.id)
    return session.execute(taken.execution_options(synchronize_session=False)).first() is not None


def _digest(code: str) -> str:
    return sha256("".join(code.lower().split()).replace("-", "").encode("utf-8", "surrogateescape")).hexdigest()
