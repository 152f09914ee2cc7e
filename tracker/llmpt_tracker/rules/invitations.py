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
from llmpt_tracker.rules.rights import SHARE, Rights

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like another one
LENGTH = 20  # 99 bits
SHARERS = Rights((SHARE,))


def invite(session: Session, rights: Rights = SHARERS, *, uses: int, days: int, now: datetime) -> str:
    """Make a code for `uses` machines that holds for `days`; return it. Their tokens get `rights`."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    row = Invitation(sha256=_digest(code), uses_left=uses, created_at=now, expires_at=now + timedelta(days=days))
    row.scope, row.repos = ",".join(rights.scopes), None if rights.repos is None else str(rights.repos)
    session.add(row)
    session.flush()
    return "-".join(code[start : start + 5] for start in range(0, LENGTH, 5))


def use(session: Session, code: str, *, now: datetime) -> Rights | None:
    """Take one use of `code`; return what its machine gets, None when it is none, is used up, or has expired."""
    valid = (Invitation.sha256 == _digest(code), Invitation.uses_left > 0, Invitation.expires_at > now)
    taken = update(Invitation).where(*valid).values(uses_left=Invitation.uses_left - 1)
    taken = taken.returning(Invitation.scope, Invitation.repos)
    row = session.execute(taken.execution_options(synchronize_session=False)).first()
    return None if row is None else Rights.read(row.scope, row.repos)


def _digest(code: str) -> str:
    return sha256("".join(code.lower().split()).replace("-", "").encode("utf-8", "surrogateescape")).hexdigest()
