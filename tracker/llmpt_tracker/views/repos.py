"""Routes to repos: which there are, and what a revision of one holds. No token."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session
from werkzeug.routing import BaseConverter

from llmpt.core.repo import RepoRef
from llmpt_tracker.rules import paging, refs, visibility
from llmpt_tracker.rules.catalogue import repos
from llmpt_tracker.state import state
from llmpt_tracker.views.arguments import arguments, repo_named, terms
from llmpt_tracker.views.hub.answers import upstream
from llmpt_tracker.views.hub.request import as_here
from llmpt_tracker.views.readers import reading

blueprint = Blueprint("repos", __name__, url_prefix="/api/v1")


FILES_OF_PAGE = 5000


class RepoIdConverter(BaseConverter):
    """`name` or `owner/name` in a route."""

    regex = r"[^/]+(?:/[^/]+)?"
    part_isolating = False


@blueprint.get("/repos")
def list_repos() -> ResponseReturnValue:
    """List the repos, the newest first, each with its newest revisions."""
    args = arguments("q", "limit", "cursor")
    limit, before = paging.read_limit(args.get("limit")), paging.read_cursor(args.get("cursor"))
    with reading() as session:
        page, last = repos.list_repos(session, limit=limit, before=before, terms=terms(args))
    listed = [
        {"repo_type": one.repo.type, "repo_id": one.repo.id, "revisions": [_revision(rev) for rev in one.revisions]}
        for one in page
    ]
    return jsonify({"repos": listed, "next": paging.write_cursor(last) if last is not None else None})


@blueprint.get("/repos/<repo_type>/<repo_id:repo_id>/revisions/<path:revision>")
def manifest(repo_type: str, repo_id: str, revision: str) -> ResponseReturnValue:
    """Return the manifest of a revision (a commit or the name of a ref): a page of the files that are known of it, by path. The
    first page may be signed: the signature is that of the whole. Where a ref points may be asked of upstream first."""
    args = arguments("signed", "refresh", "limit", "cursor")
    repo = as_here(repo_named(repo_type, repo_id))
    limit = paging.read_limit(args.get("limit"), default=FILES_OF_PAGE, most=FILES_OF_PAGE)
    after = paging.read_path_cursor(args.get("cursor"))
    if args.get("refresh") == "1":
        _refresh(repo, revision)
    with reading() as session:
        found = repos.find_revision(session, repo, revision)
        lines = repos.manifest(session, found, limit=limit + 1, after=after)
        signature = None
        if args.get("signed") == "1" and after is None:
            signature = state().identity.sign(repo, found, repos.whole_manifest(session, found), now=state().clock())
        hub = visibility.opened_for(session, repo, now=state().clock()) if found.complete else None
        news = None if found.commit == revision else _news(session, repo, revision)
    page = lines[:limit]
    document: dict[str, Any] = {
        "repo_type": repo.type,
        "repo_id": repo.id,
        "commit": found.commit,
        "refs": list(found.refs),
        "complete": found.complete,
        "open": hub is not None,
        "hub": hub,
        "files": [{"path": one.path, "size": one.size, "etag": one.etag, "lfs": one.lfs, "here": one.here} for one in page],
        "next": paging.write_path_cursor(page[-1].path) if len(lines) > limit else None,
    }
    if news is not None:
        document |= {"fresh": news.fresh, "ref_age_s": news.age_s}
    if signature is not None:
        document["signature"] = signature
    return jsonify(document)


def _refresh(repo: RepoRef, revision: str) -> None:
    """Have upstream asked where a ref points, if that is known here and was not asked a moment ago; wait for it a little."""
    behind = upstream()
    if behind is None:
        return
    with reading() as session:
        found = repos.find_revision(session, repo, revision)
        is_due = found.commit != revision and not _news(session, repo, revision).fresh
    if is_due:
        behind.confirm(repo, revision)


def _news(session: Session, repo: RepoRef, name: str) -> refs.RefNews:
    return refs.news(session, repo, name, now=state().clock(), ttl_s=state().settings.ref_ttl_s)


def _revision(one: repos.RevisionSummary) -> dict[str, Any]:
    return {
        "commit": one.commit,
        "refs": list(one.refs),
        "complete": one.complete,
        "files": one.files,
        "size": one.size,
        "files_here": one.files_here,
        "size_here": one.size_here,
        "published_at": one.published_at.isoformat(),
    }
