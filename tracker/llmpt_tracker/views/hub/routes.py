"""The Hub's own API, for clients with `HF_ENDPOINT` set to this tracker: metadata from the catalogue.

These routes are told from ours by the raw target, before Flask's own rules, which see a path whose `%2F` are gone. Never here:
Xet's headers, compressed bodies, an error of the 500s for what is merely not known. Authorization counts where reading takes
a token.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from llmpt.core.hub_headers import ASKED_HUB, OTHER_HUB
from llmpt.core.hub_target import GIT, HubTarget, hub_name
from llmpt.core.repo import RepoRef
from llmpt_tracker.errors import RefusedAsHub
from llmpt_tracker.rules import visibility
from llmpt_tracker.rules.hub.errors import no_git, no_uploads, not_found
from llmpt_tracker.rules.hub.revisions import check_repo, repo_ref
from llmpt_tracker.state import state
from llmpt_tracker.views.hub import listings, repos
from llmpt_tracker.views.hub.answers import json_response, upstream
from llmpt_tracker.views.hub.content import raw, resolve
from llmpt_tracker.views.hub.request import target
from llmpt_tracker.views.readers import check_hub_repo, check_token


def serve() -> Response | None:
    """Answer the current request if it is the Hub's; None: it is not. Runs before Flask dispatches."""
    asked = target()
    if asked is None:
        return None
    methods = ("POST",) if asked.route == "paths-info" else ("GET", "HEAD")
    if asked.route == GIT:
        return _git(asked)
    route = ROUTES.get(asked.route)
    if route is None:
        raise _unknown(asked)
    if request.method not in methods:
        response = json_response({"error": "Method Not Allowed"})
        response.status_code = 405
        response.headers["Allow"] = ", ".join(methods)
        return response
    repo = repo_ref(asked.repo_type, asked.repo_id) if asked.repo_id else None
    if repo is not None:
        check_hub_repo(repo)
    if hub := request.headers.get(ASKED_HUB):
        _check_hub(hub, repo)
    return route(asked)


def _check_hub(hub: str, repo: RepoRef | None) -> None:
    """Refuse a question to another Hub than what is known here is of."""
    with state().database.reading() as session:
        meant = visibility.hubs(session, repo, now=state().clock())
    if not meant and (behind := state().upstream) is not None:
        meant = {hub_name(behind.address or "")}
    if meant and meant != {hub_name(hub)}:
        raise RefusedAsHub(OTHER_HUB, "", f"what is known here is of {', '.join(sorted(meant)) or 'no Hub'}, not of {hub}")


def _unknown(asked: HubTarget) -> RefusedAsHub:
    """Say that there is no such route; of a repo that is not here, that."""
    if request.method not in ("GET", "HEAD"):
        return no_uploads()
    if asked.repo_id and upstream() is None:
        repo = repo_ref(asked.repo_type, asked.repo_id)
        check_hub_repo(repo)
        with state().database.reading() as session:
            check_repo(session, repo)
    return not_found()


def _git(asked: HubTarget) -> Response:
    """Say in the words of git, or of git-lfs, that neither is spoken here: git shows plain text alone to its user."""
    no = no_git(repo_ref(asked.repo_type, asked.repo_id))
    if "/lfs/" in asked.path:
        response = json_response({"message": str(no), "error": str(no)})
        response.mimetype = "application/vnd.git-lfs+json"
    else:
        response = Response(f"{no}\n", mimetype="text/plain")
    response.status_code = no.status
    return response


def _whoami(_: HubTarget) -> Response:
    """Tell what shows a token that it counts: there are no users here, and programs end where their token is none."""
    check_token()
    token = {"displayName": "llmpt", "role": "read"}
    shown = {"type": "user", "id": "", "name": "anonymous", "fullname": "a machine of this LAN (llmpt knows no users)"}
    return json_response(shown | {"isPro": False, "orgs": [], "auth": {"type": "access_token", "accessToken": token}})


def _harnesses(_: HubTarget) -> Response:
    return json_response({"standardEnvVars": [], "harnesses": {}})


def _nothing(_: HubTarget) -> Response:
    return Response(status=200, mimetype="text/plain")


ROUTES: dict[str, Callable[[HubTarget], Response]] = {
    "resolve": resolve,
    "raw": raw,
    "info": listings.repo_info,
    "tree": listings.tree,
    "paths-info": listings.paths_info,
    "refs": repos.refs,
    "commits": repos.commits,
    "auth-check": repos.auth_check,
    "owner": repos.owner,
    "manifest": listings.gguf_manifest,
    "list": repos.list_repos,
    "whoami": _whoami,
    "harnesses": _harnesses,
    "telemetry": _nothing,
}
