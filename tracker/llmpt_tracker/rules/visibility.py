"""May the LAN answer questions about a repo without the Hub? On the word of publishers that may speak of it.

    public       the Hub showed it to an anonymous caller: that counts for a day
    named        the operator of a seeder named it in LLMPT_REPOS, and the Hub is not known to keep it from anyone
    restricted   the Hub keeps it from an anonymous caller: it counts until a word as good says, later, that it is public

A machine that shares has no word here, nor has a publisher on a repo that its token does not name. What no publisher speaks of
is not open: of that the Hub is asked. A name is another repo on another Hub: a repo is open to questions for the one Hub that all
publishers mean, and closed where they mean two, since what they published of it is not told apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.orm import Session

from llmpt.core.repo import RepoRef, Shown
from llmpt_tracker.database.models import PublisherToken, VisibilityRow
from llmpt_tracker.rules.rights import grants, is_publisher, rank

PUBLIC_STANDS = timedelta(hours=25)  # seeders ask the Hub once a day, and look once in a while whether it is time to
SAME = timedelta(minutes=1)  # two moments that are one: they are told as seconds from now


@dataclass(frozen=True, slots=True)
class Word:
    """What a publisher says of a repo: public, named or restricted, and since when that is known."""

    repo: RepoRef
    shown: Shown
    at: datetime


@dataclass(frozen=True, slots=True)
class Speaker:
    """Which seeder speaks: the name that it gives itself, its token, and of which Hub it speaks; empty: it does not say."""

    token: PublisherToken
    seeder: str
    hub: str = ""


def say(session: Session, speaker: Speaker, words: Iterable[Word], *, alive: Collection[str] = ()) -> int:
    """Note all that a seeder has to say of repos, in place of what it said before; return how much of it counts: what its token
    does not name does not. What others with its token said is forgotten unless they are `alive`."""
    token, names = speaker.token, {*alive, speaker.seeder}
    others = delete(VisibilityRow).where(VisibilityRow.token_id == token.id, VisibilityRow.seeder.not_in(names))
    session.execute(others.execution_options(synchronize_session=False))
    named = grants(token)
    said = {word.repo: word for word in words if named.allows(word.repo)}
    mine = select(VisibilityRow).where(VisibilityRow.token_id == token.id, VisibilityRow.seeder == speaker.seeder)
    for row in session.scalars(mine):
        word = said.pop(RepoRef(row.repo_type, row.repo_name), None)
        if word is None:
            session.delete(row)
        elif (row.shown, row.hub) != (word.shown.value, speaker.hub) or abs(row.at - word.at) > SAME:
            row.shown, row.at, row.hub = word.shown.value, word.at, speaker.hub
    place = {"token_id": token.id, "seeder": speaker.seeder, "hub": speaker.hub}
    new = [{"repo_type": w.repo.type, "repo_name": w.repo.id, "shown": w.shown.value, "at": w.at, **place} for w in said.values()]
    if new:
        session.execute(insert(VisibilityRow), new)
    session.flush()
    return len(new)


def opened_for(session: Session, repo: RepoRef, *, now: datetime) -> str | None:
    """Return the Hub for which the LAN may answer about a repo: a publisher says that it is public or named there, and none, with
    as good a word, that it is restricted. None: for no Hub."""
    counted = _said_of(session, repo, now=now)
    hubs, words = {row.hub for row in counted}, [(row.shown, row.at, rank(row.PublisherToken)) for row in counted]
    if len(hubs) != 1 or "" in hubs:
        return None
    public = [(at, weight) for shown, at, weight in words if shown == Shown.PUBLIC and -SAME <= now - at <= PUBLIC_STANDS]
    for shown, at, weight in words:
        if shown == Shown.RESTRICTED and not any(later > at and better >= weight for later, better in public):
            return None
    return hubs.pop() if public or any(shown == Shown.NAMED for shown, _, _ in words) else None


def hubs(session: Session, repo: RepoRef | None, *, now: datetime) -> set[str]:
    """Return the Hubs that publishers mean by a repo of this name; without one, or where none speaks of it, those of all."""
    if repo is not None and (meant := {row.hub for row in _said_of(session, repo, now=now)}):
        return meant
    return set(session.scalars(select(VisibilityRow.hub).distinct()))


def _said_of(session: Session, repo: RepoRef, *, now: datetime) -> list[Any]:
    valid = (PublisherToken.revoked_at.is_(None), or_(PublisherToken.expires_at.is_(None), PublisherToken.expires_at > now))
    rows: Any = session.execute(
        select(VisibilityRow.shown, VisibilityRow.at, VisibilityRow.hub, PublisherToken)
        .join(PublisherToken, PublisherToken.id == VisibilityRow.token_id)
        .where(VisibilityRow.repo_type == repo.type, VisibilityRow.repo_name == repo.id, *valid)
    )
    return [row for row in rows if is_publisher(row.PublisherToken) and grants(row.PublisherToken).allows(repo)]
