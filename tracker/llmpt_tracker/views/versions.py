"""Old clients and new servers, and the reverse: every answer says which version it comes from, and a client that
would misunderstand it is told to update."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from llmpt_tracker.errors import Refused
from llmpt_tracker.state import state
from llmpt_tracker.version import OLDEST_CLIENT, PROTOCOL, VERSION, outdated_client
from llmpt_tracker.views.access import asker, base_url, guard_effect
from llmpt_tracker.views.arguments import arguments

API = "/api/v1/"

blueprint = Blueprint("versions", __name__, url_prefix="/api/v1")


def guard() -> None:
    """Refuse a client of the API that is too old (426), saying where the new one is."""
    if not request.path.startswith(API):
        return
    outdated = outdated_client(request.headers.get("User-Agent", ""))
    if outdated is not None:
        where = f"{base_url(request)}/dist/" if state().settings.dist else "the place where it came from"
        raise Refused(
            426,
            "client_too_old",
            f"this is llmpt {outdated}, and the tracker works with {OLDEST_CLIENT} and newer: update llmpt on this machine, "
            f"from {where}",
        )


def label(response: Response) -> Response:
    """Write our version on every answer: also where we answer as the Hub would: a reader must see that it was not the Hub."""
    response.headers["X-Llmpt-Version"] = VERSION
    return response


@blueprint.get("/whoami")
def whoami() -> ResponseReturnValue:
    """Tell a client how it is seen: its address, and whether others can connect to its `port` (null: that is not known)."""
    args = arguments("port")
    address = str(asker())
    if "port" in args:
        guard_effect()
    reachable = state().announcer.reach(address, _port(args["port"])) if "port" in args else None
    return jsonify(
        {
            "address": address,
            "reachable": reachable,
            "version": VERSION,
            "protocol": PROTOCOL,
            "oldest_client": OLDEST_CLIENT,
        }
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:6]) < 65536:
        raise Refused(400, "bad_request", "port: a number from 1 to 65535")
    return int(text)
