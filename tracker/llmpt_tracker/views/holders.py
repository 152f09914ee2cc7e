"""The token of the current request: its holder, and the holder's pace."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flask import g, request

from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import tokens
from llmpt_tracker.rules.audit import Actor
from llmpt_tracker.rules.rights import ADMIN, PUBLISH, SHARE, may
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker, authorization


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a holder may do something: `per_s` times a second in the long run, `burst` times at once."""

    name: str
    per_s: float
    burst: int


def holder(pace: Pace, *scopes: str) -> PublisherToken:
    """Return the token that came with the request. Raises `Refused`: 401 or 403 when it may not do this, 429 when too often.

    The seeder beside this tracker has no pace.
    """
    with state().database.reading() as session:
        token = tokens.authenticate(session, request.headers.get("Authorization"), scopes, now=state().clock())
    g.holder = Actor.of(token, str(asker()))
    state().notes.used(token.id)
    if may(token, SHARE) and not may(token, PUBLISH):
        refuse_when_off()
    if not token.appliance:
        keep_pace(pace, str(token.id))
    return token


def sees_machines() -> bool:
    """Say whether the asker is told which machine fetches what: with LLMPT_SHOW_MACHINES all are, else admins and the seeder
    beside this tracker. A browser has the token as a password."""
    if state().settings.show_machines:
        return True
    header = authorization()
    if header is None:
        return False
    with state().database.reading() as session:
        try:
            token = tokens.authenticate(session, header, (ADMIN, PUBLISH), now=state().clock())
        except Refused:
            return False
        return token.appliance or may(token, ADMIN)


def refuse_when_off() -> None:
    """Raise `Refused` (403) when machines of this LAN are not to share what they fetch."""
    if state().settings.sharing == "off":
        raise Refused(403, "sharing_off", "this tracker lets no machine share what was fetched from the Hub (LLMPT_SHARING=off)")


def keep_pace(pace: Pace, who: str) -> None:
    """Count one deed of `who`; raise `Refused` (429) when it comes too early."""
    wait_s = state().announcer.take(f"{pace.name} {who}".rstrip(), per_s=pace.per_s, burst=pace.burst)
    if wait_s > 0:
        seconds = math.ceil(wait_s)
        raise Refused(429, "too_often", f"too many requests ({pace.name}): try again in {seconds} s", retry_after_s=seconds)
