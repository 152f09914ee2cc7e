"""Which repos, refs and commits there are, in the Hub's words: the lists, `refs`, `commits`, `auth-check`."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from flask import Response, request

from llmpt.core.hub_target import HubTarget
from llmpt.core.repo import REPO_TYPES
from llmpt_tracker.rules import paging
from llmpt_tracker.rules.hub import lists as hub_list
from llmpt_tracker.rules.hub import revisions as hub
from llmpt_tracker.rules.hub.cards import info
from llmpt_tracker.rules.hub.errors import owner_not_found
from llmpt_tracker.views.access import base_url
from llmpt_tracker.views.hub.answers import flag, json_response, last_commit, look_up
from llmpt_tracker.views.readers import reading

_VERSION = re.compile(r"v?\d+(?:\.\d+)+(?:[.+-]?[A-Za-z0-9]+)*")  # v1.0, 2.3.1-rc1
MAX_LISTED, MAX_LISTED_FULL = 1000, 50


def list_repos(asked: HubTarget) -> Response:
    """`GET /api/models`: a page of repos; `Link` leads to the next."""
    args = request.args
    full = flag("full") or "siblings" in args.getlist("expand")
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
    with reading() as session:
        page, last = hub_list.list_repos(session, query)
        files = hub.files_of(session, page) if full else {}
        shown = [info(one, files.get(one.key)) for one in page]
    response = json_response(shown)
    if last is not None:
        again = [(name, text) for name, text in args.items(multi=True) if name != "cursor"]
        url = f"{base_url(request)}/api/{asked.repo_type}s?{urlencode([*again, ('cursor', paging.write_cursor(last))])}"
        response.headers["Link"] = f'<{url}>; rel="next"'
    return response


def refs(asked: HubTarget) -> Response:
    """`GET …/refs`: branches, converts, tags and, if asked for, pull requests.

    What a cache calls a ref may be a branch or a tag, and it does not say which: one that reads as a version is told as a tag.
    """
    found = look_up(asked, hub.refs, lambda _: None)
    shown: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": []}
    if flag("include_prs"):
        shown["pullRequests"] = []
    for name, commit in found:
        kind, ref, short = _kind(name)
        if kind in shown:
            shown[kind].append({"name": short, "ref": ref, "targetCommit": commit})
    return json_response(shown)


def _kind(name: str) -> tuple[str, str, str]:
    """Return in which list a ref stands, what git calls it, and its short name there."""
    if name.startswith("refs/pr/"):
        return "pullRequests", name, name
    if name.startswith("refs/convert/"):
        return "converts", name, name.removeprefix("refs/convert/")
    if _VERSION.fullmatch(name):
        return "tags", f"refs/tags/{name}", name
    return "branches", name if name.startswith("refs/") else f"refs/heads/{name}", name


def commits(asked: HubTarget) -> Response:
    """`GET …/commits/<rev>`: the one commit that is known."""
    revision = look_up(asked, lambda session, repo: hub.find_revision(session, repo, asked.revision), lambda found: found)
    response = json_response([last_commit(revision) | {"message": "", "authors": []}])
    response.headers["X-Total-Count"] = "1"
    return response


def owner(asked: HubTarget) -> Response:
    """`GET /api/organizations/<name>/overview`: an owner, as far as its repos tell of it."""
    name = "".join(char for char in asked.path[:100] if char.isprintable())
    with reading() as session:
        counts = hub_list.count_repos(session, name)
    if not counts:
        raise owner_not_found(name)
    shown = {f"num{kind.capitalize()}s": counts.get(kind, 0) for kind in REPO_TYPES}
    return json_response({"name": name, "fullname": name, "avatarUrl": "", "type": "org", "isFollowing": False, **shown})


def auth_check(asked: HubTarget) -> Response:
    """`GET …/auth-check`: what is published here may be read."""
    look_up(asked, hub.check_repo, lambda _: None)
    return json_response({})


def _name_part(argument: str) -> str:
    """What of an argument can be a part of a repo's name: the rest would find nothing, or trouble a database."""
    return "".join(char for char in request.args.get(argument, "")[:200] if char.isprintable())
