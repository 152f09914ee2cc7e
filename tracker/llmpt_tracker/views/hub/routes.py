"""The Hub's own API, for clients with `HF_ENDPOINT` set to this tracker: metadata from the catalogue.

These routes are told from ours by the raw target, before Flask's own rules, which see a path whose `%2F` are gone. Never here:
Xet's headers, compressed bodies, an error of the 500s for what is merely not known. Authorization is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlencode

from flask import Response, request
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session
from werkzeug.exceptions import RequestEntityTooLarge

from llmpt.core.errors import InvalidInput
from llmpt.core.repo import RepoRef, check_path
from llmpt_tracker.errors import Refused, RefusedAsHub
from llmpt_tracker.rules import paging
from llmpt_tracker.rules.hub import files as hub_files
from llmpt_tracker.rules.hub import lists as hub_list
from llmpt_tracker.rules.hub import revisions as hub
from llmpt_tracker.rules.hub.cards import info
from llmpt_tracker.rules.hub.errors import entry_not_found, listing_unknown, not_found
from llmpt_tracker.rules.hub.target import Target
from llmpt_tracker.rules.publication import parse_json
from llmpt_tracker.state import state
from llmpt_tracker.views.access import base_url
from llmpt_tracker.views.hub.content import raw, resolve
from llmpt_tracker.views.hub.request import client_version, target

T = TypeVar("T")

MAX_PATHS_BYTES = 1 << 20
MAX_PATHS = 10_000
MAX_LISTED, MAX_LISTED_FULL = 1000, 50
KEEPS_LISTINGS, TELLS_XET = (1, 22), (1, 26)  # versions of huggingface_hub: see rules/hub_files.py


def serve() -> Response | None:
    """Answer the current request if it is the Hub's; None: it is not. Runs before Flask dispatches."""
    asked = target()
    if asked is None:
        return None
    methods = ("POST",) if asked.route == "paths-info" else ("GET", "HEAD")
    route = ROUTES.get(asked.route)
    if route is None:
        raise not_found()
    if request.method not in methods:
        response = _json({"error": "Method Not Allowed"})
        response.status_code = 405
        response.headers["Allow"] = ", ".join(methods)
        return response
    return route(asked)


class Paths(BaseModel):
    """The JSON body of `paths-info`; what else it says is nothing to us."""

    model_config = ConfigDict(strict=True)

    paths: list[str]
    expand: bool = False


def _info(asked: Target) -> Response:
    def look(session: Session, repo: RepoRef) -> tuple[hub.HubRevision, list[hub_files.HubFile]]:
        revision = hub.find_revision(session, repo, asked.revision)
        return revision, hub.files(session, revision)

    revision, files = _look(asked, look, lambda found: found[0])
    return _json(info(revision, files, blobs=_flag("blobs")))


def _tree(asked: Target) -> Response:
    def look(session: Session, repo: RepoRef) -> tuple[hub.HubRevision, list[hub_files.HubFile], bool]:
        revision = hub.find_revision(session, repo, asked.revision)
        files = hub.files(session, revision, below=_path(asked.path) if asked.path else "")
        return revision, files, not files and bool(asked.path)

    revision, files, missing = _look(asked, look, lambda found: found[0])
    if missing:
        raise entry_not_found(asked.path, commit=revision.commit if revision.complete else None)
    recursive, expand = _flag("recursive"), _flag("expand")
    entries = hub_files.tree(files, below=asked.path, recursive=recursive, commit=_last_commit(revision) if expand else None)
    version = client_version()
    kept = recursive and not asked.path and asked.revision == revision.commit  # what snapshot_download asks for
    if kept and not revision.complete and version is not None and version >= KEEPS_LISTINGS:
        if version < TELLS_XET:
            raise listing_unknown(revision.repo, revision.commit)
        hub_files.mark_partial(entries)
    return _json(entries)


def _paths_info(asked: Target) -> Response:
    body = _paths()

    def look(session: Session, repo: RepoRef) -> tuple[hub.HubRevision, list[dict[str, Any]]]:
        revision = hub.find_revision(session, repo, asked.revision)
        last = _last_commit(revision) if body.expand else None
        wanted = list(dict.fromkeys(path.strip("/") for path in body.paths if _is_path(path.strip("/"))))
        files = hub.files_at(session, revision, wanted)
        entries = []
        for path in wanted:
            if path in files:
                entries.append(hub_files.entry(files[path], last))
            elif hub.is_folder(session, revision, path):
                entries.append(hub_files.folder(path, last))
        return revision, entries

    return _json(_look(asked, look, lambda found: found[0])[1])


def _refs(asked: Target) -> Response:
    found = _look(asked, hub.refs, lambda _: None)
    shown: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": []}
    if _flag("include_prs"):
        shown["pullRequests"] = []
    for name, commit in found:
        kind = "pullRequests" if name.startswith("refs/pr/") else "converts" if name.startswith("refs/convert/") else "branches"
        if kind in shown:
            ref = name if name.startswith("refs/") else f"refs/heads/{name}"
            short = name.removeprefix("refs/convert/") if kind == "converts" else name
            shown[kind].append({"name": short, "ref": ref, "targetCommit": commit})
    return _json(shown)


def _commits(asked: Target) -> Response:
    revision = _look(asked, lambda session, repo: hub.find_revision(session, repo, asked.revision), lambda found: found)
    return _json([_last_commit(revision) | {"message": "", "authors": []}])


def _auth_check(asked: Target) -> Response:
    _look(asked, hub.check_repo, lambda _: None)
    return _json({})


def _list(asked: Target) -> Response:
    args = request.args
    full = _flag("full") or "siblings" in args.getlist("expand")
    most = MAX_LISTED_FULL if full else MAX_LISTED
    limit = args.get("limit", "")
    wanted = [*args.getlist("filter"), *args.getlist("pipeline_tag")]
    query = hub_list.ListQuery(
        asked.repo_type,
        search=_name_part("search"),
        author=_name_part("author"),
        tags=frozenset(tag for text in wanted for tag in text.split(",") if tag),
        limit=min(int(limit[:9]), most) if limit[:9].isascii() and limit[:9].isdigit() and int(limit[:9]) else most,
        before=paging.read_cursor(args.get("cursor")),
    )
    with state().database.reading() as session:
        page, last = hub_list.list_repos(session, query)
        shown = [info(one, hub.files(session, one) if full else None) for one in page]
    response = _json(shown)
    if last is not None:
        again = [(name, text) for name, text in args.items(multi=True) if name != "cursor"]
        url = f"{base_url(request)}/api/{asked.repo_type}s?{urlencode([*again, ('cursor', paging.write_cursor(last))])}"
        response.headers["Link"] = f'<{url}>; rel="next"'
    return response


def _whoami(_: Target) -> Response:
    raise RefusedAsHub(401, "", "Invalid username or password.")


def _harnesses(_: Target) -> Response:
    return _json({"standardEnvVars": [], "harnesses": {}})


def _nothing(_: Target) -> Response:
    return Response(status=200, mimetype="text/plain")


ROUTES: dict[str, Callable[[Target], Response]] = {
    "resolve": resolve,
    "raw": raw,
    "info": _info,
    "tree": _tree,
    "paths-info": _paths_info,
    "refs": _refs,
    "commits": _commits,
    "auth-check": _auth_check,
    "list": _list,
    "whoami": _whoami,
    "harnesses": _harnesses,
    "telemetry": _nothing,
}


def _look(asked: Target, look: Callable[[Session, RepoRef], T], revision_of: Callable[[T], hub.HubRevision | None]) -> T:
    repo = hub.repo_ref(asked.repo_type, asked.repo_id)

    def in_session() -> T:
        with state().database.reading() as session:
            return look(session, repo)

    return state().learning.look_up(state().upstream, in_session, repo, asked.revision, revision_of)


def _paths() -> Paths:
    """Read the body of `paths-info`: a form, or JSON."""
    request.max_content_length = MAX_PATHS_BYTES
    data = request.get_data(cache=False)
    if len(data) > MAX_PATHS_BYTES or (request.content_length is None and len(data) >= MAX_PATHS_BYTES):
        raise RequestEntityTooLarge
    if request.mimetype == "application/json":
        body = parse_json(Paths, data)
    else:
        try:
            form = parse_qs(data.decode("utf-8", "replace"), max_num_fields=MAX_PATHS + 10)
        except ValueError:
            raise Refused(400, "bad_request", f"at most {MAX_PATHS} paths at once") from None
        body = Paths(paths=form.get("paths", []), expand=form.get("expand", [""])[-1].lower() in ("true", "1"))
    if len(body.paths) > MAX_PATHS:
        raise Refused(400, "bad_request", f"at most {MAX_PATHS} paths at once")
    return body


def _path(text: str) -> str:
    if not _is_path(text):
        raise entry_not_found(text, commit=None)
    return text


def _is_path(text: str) -> bool:
    try:
        check_path(text)
    except InvalidInput:
        return False
    return True


def _name_part(argument: str) -> str:
    """What of an argument can be a part of a repo's name: the rest would find nothing, or trouble a database."""
    return "".join(char for char in request.args.get(argument, "")[:200] if char.isprintable())


def _flag(name: str) -> bool:
    return request.args.get(name, "").lower() in ("true", "1")


def _last_commit(revision: hub.HubRevision) -> dict[str, Any]:
    return {"id": revision.commit, "title": "", "date": hub_files.moment(revision.published_at)}


def _json(value: Any) -> Response:
    return Response(json.dumps(value, separators=(",", ":")), mimetype="application/json")
