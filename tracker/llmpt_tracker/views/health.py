"""`GET /healthz`: 200 only when the database and the announcer answer."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from llmpt_tracker.errors import AnnouncerUnavailable, DatabaseUnavailable
from llmpt_tracker.state import state
from llmpt_tracker.version import VERSION

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Say whether this tracker can do its work, and if not, which part of it cannot."""
    failing = []
    boot_id = ""
    try:
        state().database.ping()
    except DatabaseUnavailable as error:
        failing.append(str(error))
    try:
        status = state().announcer.status()
        boot_id = status.boot_id
        if not status.open:
            failing.append("the announcer is not open yet")
        failing += [f"the announcer cannot do its work: {trouble}" for trouble in status.troubles]
    except AnnouncerUnavailable as error:
        failing.append(str(error))
    if failing:
        return jsonify({"error": {"code": "unhealthy", "message": "; ".join(failing)}}), 503
    return jsonify({"status": "ok", "boot_id": boot_id, "version": VERSION})
