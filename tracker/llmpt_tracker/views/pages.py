"""The pages for people: what is published, which machines seed it, and what to paste on a workstation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from llmpt.core.errors import InvalidInput
from llmpt.core.repo import RepoRef
from llmpt.core.words import plain_lines
from llmpt_tracker.control.messages import HeldLease, Swarm
from llmpt_tracker.errors import AnnouncerUnavailable, Refused
from llmpt_tracker.rules import dist, mirrors, paging, reports, tokens
from llmpt_tracker.rules.catalogue import repos, torrents
from llmpt_tracker.state import state
from llmpt_tracker.version import VERSION
from llmpt_tracker.views.access import base_url, host_as_asked
from llmpt_tracker.views.holders import sees_machines
from llmpt_tracker.views.readers import may_read, reading, sees_all

blueprint = Blueprint("pages", __name__)

SEEDER_LIVE_S = 30.0
FILES_SHOWN = 50
FETCHES_SHOWN = 50
MIRRORS_SHOWN = 20
MIRRORS_SINCE = timedelta(days=1)
PROBLEMS_SHOWN = 20
MANIFEST_SHOWN = 1000


@blueprint.get("/")
def overview() -> ResponseReturnValue:
    """Show repos, the newest files, and the seeders."""
    before = paging.read_cursor(request.args.get("cursor"))
    with reading() as session:
        listed, last = repos.list_repos(session, limit=paging.DEFAULT_LIMIT, before=before)
        newest, _ = torrents.find_torrents(session, torrents.TorrentQuery(limit=FILES_SHOWN))
        repo_count, blob_count, blob_bytes = repos.totals(session)
        problems = reports.open_problems(session, limit=PROBLEMS_SHOWN, now=state().clock()) if sees_all() else []
        sharers = tokens.count_sharers(session)
        mirrored = mirrors.progress(session, since=state().clock() - MIRRORS_SINCE, limit=MIRRORS_SHOWN)
        mirrored = [one for one in mirrored if may_read(one.repo)]
    live = _Live.ask([one.swarm for one in newest])
    fetches = _fetches()
    return render_template(
        "overview.html",
        repos=listed,
        next=paging.write_cursor(last) if last is not None else None,
        torrents=newest,
        repo_count=repo_count,
        blob_count=blob_count,
        blob_bytes=blob_bytes,
        live=live,
        live_s=SEEDER_LIVE_S,
        fetches=fetches,
        shows_machines=sees_machines(),
        sharers=sharers,
        sharing=state().settings.sharing,
        problems=problems,
        upstream=state().behind.address,
        mirrors=mirrored,
        url=base_url(request),
        install=dist.lines(state().settings.dist, base_url(request), host_as_asked(request)[0]),
        fingerprint=state().identity.fingerprint,
    )


@blueprint.get("/repos/<repo_type>/<repo_id:repo_id>/revisions/<path:revision>")
def repo(repo_type: str, repo_id: str, revision: str) -> ResponseReturnValue:
    """Show the files of a revision."""
    try:
        ref = RepoRef(repo_type, repo_id)
    except InvalidInput as error:
        raise Refused(404, "not_found", str(error)) from None
    with reading() as session:
        found = repos.find_revision(session, ref, revision)
        shown = repos.manifest(session, found, limit=MANIFEST_SHOWN)
    live = _Live.ask([one.swarm for one in shown if one.swarm])
    return render_template("repo.html", repo=ref, revision=found, lines=shown, hidden=max(0, found.files - len(shown)), live=live)


def _fetches() -> list[tuple[HeldLease, str | None]]:
    """Return what machines fetch from the Hub now, each with a path where the catalogue knows one."""
    try:
        found = state().announcer.fetches(FETCHES_SHOWN)
    except AnnouncerUnavailable:
        return []
    found = [one for one in found if sees_all() or (one.repo is not None and may_read(one.repo))]
    with reading() as session:
        paths = repos.paths_of(session, [one.etag.value for one in found]) if found else {}
    return [(one, paths.get(one.etag.value)) for one in found]


class _Live:
    """What the announcer knows at this moment; a page is shown without it rather than not at all."""

    def __init__(self, swarms: Mapping[str, Swarm], seeders: list[Any], peers: int | None, limits: tuple[str, ...] = ()) -> None:
        self.swarms, self.seeders, self.peers, self.limits = swarms, seeders, peers, limits

    @classmethod
    def ask(cls, swarms: list[str]) -> _Live:
        announcer = state().announcer
        try:
            found = announcer.swarms(swarms, peers=0, asker="127.0.0.1")[0] if swarms else {}
            status = announcer.status()
            seeders = announcer.seeders() if sees_all() else []  # which name what they could not share
            return cls(found, seeders, status.peers, status.limits)
        except AnnouncerUnavailable:
            return cls({}, [], None)

    def swarm(self, name: str | None) -> Swarm | None:
        return self.swarms.get(name, Swarm()) if name and self.peers is not None else None


def shown(value: object) -> object:
    """Return what a page shows of a value: of a text that a stranger chose, such as a file's name, what is printable."""
    return plain_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@blueprint.app_template_filter("bytes")
def human_bytes(size: int) -> str:
    """Write a number of bytes as people read it: 90.9 MB (powers of 1000, as the Hub does)."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 99.95 else f"{value:.1f} {units[0]}"


@blueprint.app_template_filter("files_here")
def files_here(revision: repos.RevisionSummary) -> str:
    """Write how many of a revision's files are here: 7 of 11; one number when all that are known are."""
    return f"{revision.files}" if revision.files_here == revision.files else f"{revision.files_here} of {revision.files}"


@blueprint.app_template_filter("ago")
def human_ago(seconds: float) -> str:
    """Write an age as people say it."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


@blueprint.app_template_filter("when")
def human_when(moment: datetime) -> str:
    """Write how long ago a moment was."""
    return human_ago(max((state().clock() - moment).total_seconds(), 0))


@blueprint.app_context_processor
def _everywhere() -> dict[str, Any]:
    return {"version": VERSION}
