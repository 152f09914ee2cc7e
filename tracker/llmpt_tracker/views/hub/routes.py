"""The Hub's own API, for clients with `HF_ENDPOINT` set to this tracker: metadata from the catalogue.

These routes are told from ours by the raw target, before Flask's own rules, which see a path whose `%2F` are gone. Never here:
Xet's headers, compressed bodies, an error of the 500s for what is merely not known. Authorization counts where reading takes
a token.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from llmpt.core.hub_target import HubTarget
from llmpt_tracker.errors import RefusedAsHub
from llmpt_tracker.rules.hub.errors import not_found
from llmpt_tracker.rules.hub.revisions import repo_ref
from llmpt_tracker.views.hub import listings, repos
from llmpt_tracker.views.hub.answers import json_response
from llmpt_tracker.views.hub.content import raw, resolve
from llmpt_tracker.views.hub.request import target
from llmpt_tracker.views.readers import check_hub_repo


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
        response = json_response({"error": "Method Not Allowed"})
        response.status_code = 405
        response.headers["Allow"] = ", ".join(methods)
        return response
    if asked.repo_id:
        check_hub_repo(repo_ref(asked.repo_type, asked.repo_id))
    return route(asked)


def _whoami(_: HubTarget) -> Response:
    raise RefusedAsHub(401, "", "Invalid username or password.")


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
    "list": repos.list_repos,
    "whoami": _whoami,
    "harnesses": _harnesses,
    "telemetry": _nothing,
}
