"""The pages: what is published, which machines seed it, what moves, and what to paste on a workstation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from llmpt.core.browsers import SAFE_HEADERS
from llmpt.core.errors import InvalidInput
from llmpt.core.metainfo import magnet_link
from llmpt.core.repo import RepoRef
from llmpt_tracker.errors import AnnouncerUnavailable, Refused
from llmpt_tracker.rules import dist, mirrors, paging, reports, search, tokens
from llmpt_tracker.rules.catalogue import browsing, repos, torrents
from llmpt_tracker.rules.catalogue.browsing import Order, RepoQuery
from llmpt_tracker.rules.catalogue.repos import ManifestLine
from llmpt_tracker.state import state
from llmpt_tracker.version import VERSION
from llmpt_tracker.views.access import base_url, host_as_asked
from llmpt_tracker.views.holders import sees_machines
from llmpt_tracker.views.hub.request import as_here
from llmpt_tracker.views.pages import words
from llmpt_tracker.views.pages.live import Live, fetches
from llmpt_tracker.views.pages.remedies import remedy
from llmpt_tracker.views.readers import announce_key, may_read, reader, reading, sees_all
from llmpt_tracker.views.torrents import announce_url
from llmpt_tracker.views.traffic import TrafficTold

blueprint = Blueprint("pages", __name__)
words.install(blueprint)

NEWEST_SHOWN = 10
FILES_SHOWN = 50
MIRRORS_SHOWN = 20
MIRRORS_SINCE = timedelta(days=1)
PROBLEMS_SHOWN = 20
REPOS_OF_PAGE = 50
FILES_OF_PAGE = 100
REVISIONS_OF_PAGE = 20


@blueprint.get("/")
def overview() -> ResponseReturnValue:
    """Show how things stand: how much is here, what is wrong, what came last."""
    with reading() as session:
        listed, _ = browsing.browse(session, RepoQuery(limit=NEWEST_SHOWN))
        counts = _totals(session)
        problems = _problems(session)
    live = Live.ask(with_seeders=True)
    return render_template(
        "overview.html",
        repos=listed,
        counts=counts,
        live=live,
        traffic=TrafficTold.ask(),
        problems=problems,
        remedy=remedy,
        fetches=fetches(),
        **_install(listed),
    )


@blueprint.get("/repos")
def repo_list() -> ResponseReturnValue:
    """Show the repos: by words, in the order that is asked for, a page at a time."""
    question, order = request.args.get("q", "").strip(), request.args.get("sort", Order.NEWEST.value)
    if order not in {one.value for one in Order}:
        raise Refused(400, "bad_request", f"sort: one of {', '.join(one.value for one in Order)}")
    wanted = search.terms(question) if question else ()
    query = RepoQuery(wanted, Order(order), REPOS_OF_PAGE, request.args.get("cursor"))
    with reading() as session:
        by_size = state().figures.get(_seen("sizes"), lambda: browsing.sizes(session)) if query.order is Order.SIZE else ()
        listed, after = browsing.browse(session, query, by_size=by_size)
        counts = _totals(session)
    return render_template(
        "repos.html", repos=listed, next=after, q=question, order=order, orders=list(Order), counts=counts, live=Live.ask()
    )


@blueprint.get("/repos/<repo_type>/<repo_id:repo_id>")
def newest(repo_type: str, repo_id: str) -> ResponseReturnValue:
    """Show the newest revision of a repo."""
    return _repo(_named(repo_type, repo_id), None)


@blueprint.get("/repos/<repo_type>/<repo_id:repo_id>/revisions/<path:revision>")
def repo(repo_type: str, repo_id: str, revision: str) -> ResponseReturnValue:
    """Show a revision of a repo."""
    return _repo(_named(repo_type, repo_id), revision)


@blueprint.get("/activity")
def activity() -> ResponseReturnValue:
    """Show what moves: what is fetched from the Hub, by machines and by this server, and the newest files."""
    with reading() as session:
        found, _ = torrents.find_torrents(session, torrents.TorrentQuery(limit=FILES_SHOWN))
        sharers = tokens.count_sharers(session)
        mirrored = mirrors.progress(session, since=state().clock() - MIRRORS_SINCE, limit=MIRRORS_SHOWN)
    return render_template(
        "activity.html",
        torrents=found,
        live=Live.ask([one.swarm for one in found]),
        fetches=fetches(),
        shows_machines=sees_machines(),
        sharers=sharers,
        sharing=state().settings.sharing,
        upstream=state().behind.address,
        mirrors=[one for one in mirrored if may_read(one.repo)],
    )


@blueprint.get("/servers")
def servers() -> ResponseReturnValue:
    """Show the seeders: whether they live, what they read, and what they could not share."""
    with reading() as session:
        problems = _problems(session)
    return render_template("servers.html", live=Live.ask(with_seeders=True), problems=problems, remedy=remedy)


@blueprint.get("/install")
def install() -> ResponseReturnValue:
    """Show what to paste on a workstation."""
    with reading() as session:
        listed, _ = browsing.browse(session, RepoQuery(limit=1))
    return render_template("install.html", live=Live.ask(), fingerprint=state().identity.fingerprint, **_install(listed))


def _repo(ref: RepoRef, revision: str | None) -> ResponseReturnValue:
    after, before = paging.read_path_cursor(request.args.get("cursor")), paging.read_cursor(request.args.get("revisions"))
    with reading() as session:
        revisions, older = repos.revision_lines(session, ref, limit=REVISIONS_OF_PAGE, before=before)
        if revision is None:
            revision = repos.default_revision(session, ref)
        found = repos.find_revision(session, ref, revision)
        lines = repos.manifest(session, found, limit=FILES_OF_PAGE + 1, after=after)
    page = lines[:FILES_OF_PAGE]
    name = revision if revision != found.commit else next(iter(found.refs), found.commit)
    return render_template(
        "repo.html",
        repo=ref,
        revision=found,
        name=name,
        revisions=revisions,
        older=paging.write_cursor(older) if older is not None else None,
        lines=page,
        magnets=_magnets(page),
        next=paging.write_path_cursor(page[-1].path) if len(lines) > len(page) else None,
        is_first=after is None,
        url=base_url(request),
        live=Live.ask([one.swarm for one in page if one.swarm]),
    )


def _named(repo_type: str, repo_id: str) -> RepoRef:
    try:
        return as_here(RepoRef(repo_type, repo_id))
    except InvalidInput as error:
        raise Refused(404, "not_found", str(error)) from None


def _magnets(lines: list[ManifestLine]) -> dict[str, str]:
    """Return the magnet links of files, by path; none while the announcer's port is not known."""
    try:
        port = state().announcer.status().announce_port
    except AnnouncerUnavailable:
        return {}
    found = {}
    for one in lines:
        if one.info_hash is not None:
            announce = announce_url(port, announce_key(one.info_hash.truncated))
            found[one.path] = magnet_link(one.info_hash, one.etag, one.size, announce=announce)
    return found


def _totals(session: Session) -> tuple[int, int, int]:
    return state().figures.get(_seen("totals"), lambda: repos.totals(session))


def _seen(what: str) -> tuple[object, ...]:
    """Return what a figure is of: readers see different repos."""
    who = reader()
    return what, None if who is None else who.repos


def _problems(session: Session) -> list[tuple[str, str]]:
    return reports.open_problems(session, limit=PROBLEMS_SHOWN, now=state().clock()) if sees_all() else []


def _install(listed: list[repos.RepoSummary]) -> dict[str, Any]:
    """Return what the lines for a workstation are made of: `example` is a repo that is here."""
    lines = dist.lines(state().settings.dist, base_url(request), host_as_asked(request)[0])
    return {"install": lines, "url": base_url(request), "example": listed[0].repo if listed else None}


@blueprint.after_request
def allow_own_forms(response: Response) -> Response:
    """Let a page send its forms to this server, which its other answers need not."""
    policy = SAFE_HEADERS["Content-Security-Policy"].replace("form-action 'none'", "form-action 'self'")
    response.headers["Content-Security-Policy"] = policy
    return response


@blueprint.app_context_processor
def _everywhere() -> dict[str, Any]:
    return {"version": VERSION}
