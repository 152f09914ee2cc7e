"""Routes of the queue of mirrors: `/api/v1/mirrors`. Asking needs a token, a report the seeder's own, what an operator
says of it (`/api/v1/pins`, too) one of scope `admin`."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from llmpt.core.errors import InvalidInput, InvalidName
from llmpt.core.mirrors import MirrorAsk, MirrorReport, MirrorState, asker_name, state_named
from llmpt.core.networks import neighbourhood
from llmpt.core.repo import RepoRef
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import mirrors, orders, paging, refs, servers, tokens
from llmpt_tracker.rules.audit import Actor
from llmpt_tracker.rules.catalogue import repos
from llmpt_tracker.rules.rights import ADMIN, MIRROR, PUBLISH, READ, SHARE, check_names, grants, is_publisher
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker
from llmpt_tracker.views.arguments import arguments, document
from llmpt_tracker.views.holders import Pace, holder, keep_pace
from llmpt_tracker.views.hub.request import as_here
from llmpt_tracker.views.readers import may_read

blueprint = Blueprint("mirrors", __name__, url_prefix="/api/v1")

MAX_BODY_BYTES = 256 << 10
NEXT = "next"
ANY = (PUBLISH, SHARE, MIRROR, READ)
ASKS = Pace("mirrors", 1, 20)
ASKS_OF_ONE = Pace("mirrors of one machine", 1, 40)  # whatever number of tokens it has got itself
REPORTS = Pace("reports of mirrors", 20, 100)
ORDERS = Pace("an operator's orders", 20, 100)


@blueprint.post("/mirrors")
def ask() -> ResponseReturnValue:
    """Have files of a revision fetched; answer with the mirror."""
    token = holder(ASKS, MIRROR, SHARE)
    if token.scope == SHARE:
        keep_pace(ASKS_OF_ONE, neighbourhood(asker()))
    wanted = _wanted(document(MAX_BODY_BYTES))
    wanted = replace(wanted, repo=as_here(wanted.repo))
    check_names(token, wanted.repo)
    if state().upstream is None:
        raise Refused(409, "upstream_off", "this server fetches nothing from a Hub: no seeder of it has LLMPT_UPSTREAM set")
    with state().database.writing() as session:
        who = asker_name(repos.instance_id(session), asker())
        mirror = mirrors.ask(session, wanted, now=state().clock(), insist=True, asker=who)
    state().blobs.knock()
    return jsonify(mirror.as_json()), 202


@blueprint.get("/mirrors")
def listed() -> ResponseReturnValue:
    """List the mirrors, the newest first, or as they are to be taken (`order=next`). With a publisher's token also the bare
    listings."""
    args = arguments("state", "order", "limit", "cursor")
    try:
        states = [state_named(name) for name in args.get("state", "").split(",") if name] or list(MirrorState)
    except InvalidInput as error:
        raise Refused(400, "bad_request", f"{error}, separated by commas") from None
    if args.get("order", NEXT) != NEXT:
        raise Refused(400, "bad_request", f"order: {NEXT}, or nothing for the newest first")
    limit, at = paging.read_limit(args.get("limit")), paging.read_cursor(args.get("cursor"))
    with state().database.reading() as session:
        sees, now = _sees_listings(session), state().clock()
        if "order" in args:
            found, last = mirrors.next_page(session, states=states, limit=limit, after=at, listings=sees, now=now)
        else:
            found, last = mirrors.page(session, states=states, limit=limit, before=at, listings=sees, now=now)
    return jsonify(
        {
            "mirrors": [one.as_json(askers=sees) for one in found if may_read(one.ask.repo)],
            "next": paging.write_cursor(last) if last is not None else None,
        }
    )


@blueprint.get("/mirrors/<int:mirror_id>")
def one(mirror_id: int) -> ResponseReturnValue:
    """Return one mirror."""
    arguments()
    with state().database.reading() as session:
        mirror = mirrors.get(session, mirror_id, now=state().clock())
        if not may_read(mirror.ask.repo) or (mirror.ask.is_listing and not _sees_listings(session)):
            raise mirrors.unknown(mirror_id)
        return jsonify(mirror.as_json())


@blueprint.get("/mirrors/orders")
def told() -> ResponseReturnValue:
    """Tell a seeder what an operator has said of the queue."""
    arguments()
    holder(REPORTS, PUBLISH)
    with state().database.reading() as session:
        return jsonify(orders.orders(session, now=state().clock()).as_json())


@blueprint.delete("/mirrors/<int:mirror_id>")
def cancel(mirror_id: int) -> ResponseReturnValue:
    """Cancel a mirror; answer with it."""
    arguments()
    token = holder(ORDERS, ADMIN)
    with state().database.writing() as session:
        now = state().clock()
        check_names(token, mirrors.get(session, mirror_id, now=now).ask.repo)
        mirror = orders.cancel_one(session, mirror_id, Actor.of(token, str(asker())), now=now)
    state().blobs.knock()
    return jsonify(mirror.as_json())


@blueprint.put("/pins/<repo_type>/<repo_id:repo_id>", endpoint="pin")
@blueprint.delete("/pins/<repo_type>/<repo_id:repo_id>", endpoint="unpin")
def pinning(repo_type: str, repo_id: str) -> ResponseReturnValue:
    """Pin a repo (PUT), or let it go as others do (DELETE)."""
    arguments()
    token = holder(ORDERS, ADMIN)
    try:
        repo = as_here(RepoRef(repo_type, repo_id))
    except InvalidName as error:
        raise Refused(422, "bad_name", str(error)) from None
    check_names(token, repo)
    is_pinned = request.method == "PUT"
    with state().database.writing() as session:
        say = orders.pin if is_pinned else orders.unpin
        say(session, repo, Actor.of(token, str(asker())), now=state().clock())
    state().blobs.knock()
    return jsonify({"repo_type": repo.type, "repo_id": repo.id, "pinned": is_pinned})


@blueprint.put("/mirrors/<int:mirror_id>")
def report(mirror_id: int) -> ResponseReturnValue:
    """Note how far the seeder is with a mirror. A listing that is done says where its ref points, by upstream's word of now."""
    token = holder(REPORTS, PUBLISH)
    try:
        said = MirrorReport.parse(document(MAX_BODY_BYTES), strict=True)
    except InvalidInput as error:
        raise Refused(400, "bad_request", str(error)) from None
    with state().database.writing() as session:
        now = state().clock()
        mirror = mirrors.report(session, mirror_id, said, now=now)
        ask, commit = mirror.ask, mirror.report.commit
        is_told = mirror.report.state is MirrorState.DONE and ask.is_listing and commit is not None
        if is_told and commit is not None and servers.serves_for_all(token) and grants(token).allows(ask.repo):
            refs.date_commit(session, ask.repo, ask.revision, commit, now=now)
        return jsonify(mirror.as_json())


def _wanted(said: object) -> MirrorAsk:
    try:
        wanted = MirrorAsk.parse(said, include=("*",), strict=True)
    except InvalidName as error:
        raise Refused(422, "bad_name", str(error)) from None
    except InvalidInput as error:
        raise Refused(400, "bad_request", str(error)) from None
    try:
        wanted.check_patterns()
    except InvalidName as error:
        raise Refused(422, "bad_path", str(error)) from None
    return wanted


def _sees_listings(session: Session) -> bool:
    """Whether the asker is a publisher. A token that is none is refused."""
    header = request.headers.get("Authorization")
    return header is not None and is_publisher(tokens.authenticate(session, header, ANY, now=state().clock()))
