"""The operator's page: tokens, the queue of what is fetched and the audit log, after a login with a token of scope `admin` for
all repos.

A browser asks its user for a name and a password: the password is the token, which counts from the first request to the last, and
no longer than it is valid. A form is taken from our own page alone: what a page of another site sends is refused by its origin
(`access.guard_pages`, `guard_effect`), and each form carries a value that follows from the token, which no other page knows.
"""

from __future__ import annotations

import hmac
from datetime import timedelta
from hashlib import sha256
from urllib.parse import parse_qs

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from llmpt.core.errors import InvalidName
from llmpt.core.networks import neighbourhood
from llmpt.core.repo import REPO_TYPES, RepoRef
from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import audit, mirrors, orders, paging, tokens
from llmpt_tracker.rules.audit import Actor
from llmpt_tracker.rules.rights import ADMIN, PREFIXES, SHARE, Rights
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker, authorization, guard_effect
from llmpt_tracker.views.arguments import body
from llmpt_tracker.views.holders import Pace, keep_pace
from llmpt_tracker.views.hub.request import as_here
from llmpt_tracker.views.pages.routes import allow_own_forms

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
blueprint.after_request(allow_own_forms)

MAX_FORM_BYTES = 8192
MAX_DAYS = 3650
AUDIT_SHOWN = 50
MACHINES_SHOWN = 50
QUEUE_SHOWN = 50
ORDERS = {"cancel": orders.cancel_repo, "pin": orders.pin, "unpin": orders.unpin}
WRONG = Pace("logins that failed", 0.2, 10)  # of a machine


@blueprint.get("")
def overview() -> ResponseReturnValue:
    """Show the tokens and what was done."""
    with state().database.reading() as session:
        return _shown(session, _admin(session))


@blueprint.post("/tokens")
def make_token() -> ResponseReturnValue:
    """Make a token, and show it this once."""
    said = _form("name", "scope", "repos", "days")
    days = said["days"].strip()
    if days and not (days.isascii() and days.isdigit() and 1 <= int(days[:6]) <= MAX_DAYS):
        raise Refused(400, "bad_request", f"days: a number from 1 to {MAX_DAYS}, or nothing for ever")
    now = state().clock()
    expires_at = now + timedelta(days=int(days)) if days else None
    rights = Rights.read(said["scope"], said["repos"].strip() or None, expires_at=expires_at)
    secret = tokens.new_secret(*rights.scopes)
    with state().database.writing() as session:
        admin = _admin(session, said)
        made = tokens.grant(session, secret, rights, name=said["name"].strip(), now=now)
        audit.note(session, audit.TOKEN_MADE, _actor(admin), now=now, **tokens.described(made))
        return _shown(session, admin, made=made, secret=secret)


@blueprint.post("/tokens/<int:number>/revoke")
def revoke_token(number: int) -> ResponseReturnValue:
    """Stop a token from doing anything, for good."""
    said, now = _form(), state().clock()
    with state().database.writing() as session:
        admin = _admin(session, said)
        if number == admin.id:
            raise Refused(
                409, "token_own", "this page is open by that token: revoke it by another one, or by `llmpt-tracker token revoke`"
            )
        gone = tokens.revoke(session, number, now=now)
        audit.note(session, audit.TOKEN_REVOKED, _actor(admin), now=now, **tokens.described(gone))
    return redirect(url_for("admin.overview"), 303)


@blueprint.post("/queue")
def order() -> ResponseReturnValue:
    """Cancel what is to be fetched of a repo, pin it, or let it go as others do."""
    said, now = _form("repo_type", "repo_id", "order"), state().clock()
    say = ORDERS.get(said["order"])
    if say is None:
        raise Refused(400, "bad_request", f"order: one of {', '.join(ORDERS)}")
    try:
        repo = as_here(RepoRef(said["repo_type"], said["repo_id"].strip()))
    except InvalidName as error:
        raise Refused(422, "bad_name", str(error)) from None
    with state().database.writing() as session:
        say(session, repo, _actor(_admin(session, said)), now=now)
    state().blobs.knock()
    return redirect(url_for("admin.overview"), 303)


def _shown(session: Session, admin: PublisherToken, **more: object) -> ResponseReturnValue:
    listed = tokens.listed(session)
    machines = [one for one in listed if one.scope == SHARE][::-1]
    entries, older = audit.page(session, limit=AUDIT_SHOWN, before=paging.read_cursor(request.args.get("cursor")))
    return render_template(
        "admin.html",
        admin=admin,
        form=_form_key(admin),
        tokens=[one for one in listed if one.scope != SHARE],
        machines=machines[:MACHINES_SHOWN],
        more_machines=max(0, len(machines) - MACHINES_SHOWN),
        scopes=list(PREFIXES),
        repo_types=REPO_TYPES,
        pinned=orders.pinned(session),
        queue=mirrors.progress(session, since=None, limit=QUEUE_SHOWN),
        upstream=state().behind.address,
        entries=entries,
        next=None if older is None else paging.write_cursor(older),
        now=state().clock(),
        is_plain=request.scheme != "https" and not asker().is_loopback,
        **more,
    )


def _admin(session: Session, form: dict[str, str] | None = None) -> PublisherToken:
    """Return the token that is shown, which may do all; with a form also its key must be that token's. Raises `Refused`."""
    try:
        token = tokens.authenticate(session, authorization(), (ADMIN,), now=state().clock())
    except Refused:
        if request.authorization is not None:
            keep_pace(WRONG, neighbourhood(asker()))
        raise
    if token.repos is not None:
        raise Refused(
            403, "scope", f"the token {token.name!r} is for the repos {token.repos}; this takes an admin's for all repos"
        )
    if form is not None and not hmac.compare_digest(form["form"].encode(), _form_key(token).encode()):
        raise Refused(
            403, "page_refused", "this form is of another page, or of another token: open /admin and send it from there"
        )
    state().notes.used(token.id)
    return token


def _form(*names: str) -> dict[str, str]:
    """Return the fields of a form; one that is missing is empty. Raises `Refused`: 400 for what is none, 403 when it is not shown
    that our own page sends it."""
    guard_effect()
    try:
        said = parse_qs(body(MAX_FORM_BYTES).decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError:
        raise Refused(400, "bad_request", "no form: it is sent by the page /admin") from None
    return {name: said.get(name, [""])[0] for name in ("form", *names)}


def _form_key(token: PublisherToken) -> str:
    return hmac.new(token.sha256.encode(), b"forms of /admin", sha256).hexdigest()


def _actor(admin: PublisherToken) -> Actor:
    return Actor.of(admin, str(asker()))
