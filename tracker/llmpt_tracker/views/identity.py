"""`GET /api/v1/hello`: this server shows that it holds its key, by signing a number that the asker made up. No token."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from llmpt_tracker.errors import Refused
from llmpt_tracker.state import state
from llmpt_tracker.views.arguments import arguments

blueprint = Blueprint("identity", __name__, url_prefix="/api/v1")


@blueprint.get("/hello")
def hello() -> ResponseReturnValue:
    """Sign the nonce."""
    args = arguments("nonce")
    if "nonce" not in args:
        raise Refused(400, "bad_request", "nonce: 32 to 128 lower-case hex digits, made up for this question")
    return jsonify(state().identity.answer(args["nonce"]))
