"""Who reads, where that takes a token (LLMPT_REQUIRE_READ_TOKEN): each request is asked for one, but for what is open to all.

Open are the health check, what a machine needs before it can have a token (the wheels, the server's key, a token to share), and
the description of the API. Browsers ask their user for a name and a password: the password is the token, and it counts for
reading alone.

Programs that speak to us as to the Hub may show a token of the Hub instead, where there is one behind us: it is good for the
repos for which the Hub says that it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from flask import g, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import Blob, PublisherToken
from llmpt_tracker.errors import Refused, RefusedAsHub
from llmpt_tracker.read_keys import KeyOwner
from llmpt_tracker.rules import reading as rules
from llmpt_tracker.rules import tokens
from llmpt_tracker.rules.hub.errors import repo_not_found, token_needed
from llmpt_tracker.rules.hub.revisions import repo_ref
from llmpt_tracker.rules.reading import Reader
from llmpt_tracker.rules.rights import READ
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker, authorization
from llmpt_tracker.views.hub.request import target

OPEN = frozenset({"health", "dist", "identity", "openapi", "tokens", "versions"})
OPEN_HUB = frozenset({"whoami", "harnesses", "telemetry", "unknown", "git"})
_OF_THE_HUB = re.compile(r"[Bb]earer +(hf_[!-~]{1,2000})")
REALM = 'Basic realm="llmpt: the password is a token"'


def guard() -> None:
    """Refuse a request without a token that may read: 401 without one that counts, 403 with one that may do other things."""
    if state().read_keys is None:
        return
    asked = target()
    if asked is None and (request.endpoint is None or request.endpoint == "static" or request.blueprint in OPEN):
        return
    if asked is not None and asked.route in OPEN_HUB and (asked.route == "git" or not asked.repo_id):
        return
    if asked is not None and asked.repo_id and (of_the_hub := _token_of_the_hub()) is not None:
        repo, rights = repo_ref(asked.repo_type, asked.repo_id), state().hub_rights
        if state().upstream is not None and rights is not None:
            rights.check(repo, of_the_hub, asker=str(asker()))
            g.reader = Reader.of_repo(repo)
            return
    with state().database.reading() as session:
        try:
            token = _token(session)
        except Refused as no:
            raise (no if asked is None else token_needed(no)) from None
        g.reader = Reader.of(token)
    state().notes.used(token.id)


def check_token() -> None:
    """Raise `RefusedAsHub` (401) unless the request shows a token. Where reading takes one of ours, it must be one that may
    read, or one of the Hub's, which is looked at when a repo is asked for."""
    if "Authorization" not in request.headers:
        raise RefusedAsHub(401, "", "Invalid username or password.")
    if state().read_keys is not None and _token_of_the_hub() is None:
        with state().database.reading() as session:
            try:
                _token(session)
            except Refused as no:
                raise RefusedAsHub(401, "", str(no)) from None


def reader() -> Reader | None:
    """Return who asks; None where reading takes no token."""
    found: Reader | None = g.get("reader")
    return found


@contextmanager
def reading() -> Iterator[Session]:
    """Yield a session that sees what the asker may read."""
    with state().database.reading() as session:
        rules.limit(session, reader(), state().granted)
        yield session


def may_read(repo: RepoRef) -> bool:
    """Say whether the asker may read a repo."""
    who = reader()
    return who is None or who.may_read(repo)


def sees_all() -> bool:
    """Say whether the asker may read all there is."""
    who = reader()
    return who is None or who.repos is None


def check_hub_repo(repo: RepoRef) -> None:
    """Raise `RefusedAsHub`, as if there were no such repo, unless the asker may read it."""
    if not may_read(repo):
        raise repo_not_found(repo)


def announce_key(swarm: bytes) -> str:
    """Return the key with which the asker announces a torrent; empty where that takes none."""
    who, keys = reader(), state().read_keys
    return "" if who is None or keys is None else keys.announce_key(who.owner, swarm)


def asks_browsers() -> bool:
    """Say whether a browser is to ask its user for a token."""
    if request.blueprint == "admin":
        return True
    return state().read_keys is not None and target() is None and request.blueprint in ("pages", "blobs", "torrents")


def _token(session: Session) -> PublisherToken:
    """Return the token that came with the request, or whose holder got the address that is asked. Raises `Refused`."""
    args, keys, now = request.view_args or {}, state().read_keys, state().clock()
    if request.endpoint != "blobs.blob" or "key" not in args or keys is None:
        return tokens.authenticate(session, _authorization(), (READ,), now=now)
    swarm = session.scalar(select(Blob.swarm).where(Blob.etag == args["etag"]))
    owner = None if swarm is None else keys.owner(args["key"], swarm)
    token = None if owner is None else session.get(PublisherToken, owner.number)
    if token is None or KeyOwner.of(token.id, token.created_at) != owner or tokens.is_over(token, now):
        raise Refused(401, "token_unknown", "this address of a file is none that holds: ask for its .torrent again")
    return token


def _token_of_the_hub() -> str | None:
    """Return the asker's own token of the Hub, which counts for what the Hub says; a token of ours is never sent there."""
    match = _OF_THE_HUB.fullmatch(request.headers.get("Authorization", ""))
    return match[1] if match else None


def _authorization() -> str | None:
    """Return the header with the token; that of a browser, which has it as a password, counts for GET and the forms of /admin."""
    counts = request.method in ("GET", "HEAD") or request.blueprint == "admin"
    return authorization() if counts else request.headers.get("Authorization")
