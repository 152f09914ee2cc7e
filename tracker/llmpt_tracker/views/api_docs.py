"""`GET /api/docs`: the OpenAPI document as a page, made here: it needs no script, and nothing from elsewhere."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from llmpt_tracker.openapi import reading
from llmpt_tracker.openapi.document import TOKENS, document
from llmpt_tracker.views.access import base_url

blueprint = Blueprint("api_docs", __name__)


@blueprint.get("/api/docs")
def api_docs() -> ResponseReturnValue:
    """Show every route with its parameters, bodies, answers and scopes."""
    found = document()
    shown = {"operations": reading.operations(found), "schemas": reading.schemas(found)}
    return render_template("api_docs.html", url=base_url(request), tokens=TOKENS, error=reading.ERROR, **shown)
