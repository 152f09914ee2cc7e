"""`GET /api/v1/openapi.json`: the API's description of itself."""

from __future__ import annotations

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from llmpt_tracker.openapi.document import document
from llmpt_tracker.views.access import base_url

blueprint = Blueprint("openapi", __name__, url_prefix="/api/v1")


@blueprint.get("/openapi.json")
def openapi() -> ResponseReturnValue:
    """Return this description."""
    return jsonify({**document(), "servers": [{"url": base_url(request)}]})
