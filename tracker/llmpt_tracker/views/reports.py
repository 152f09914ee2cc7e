"""`POST /api/v1/reports`: a receiver says that a torrent's content is not what its etag names."""

from __future__ import annotations

import logging

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from llmpt.core.networks import neighbourhood
from llmpt_tracker.rules import audit, publication, reports
from llmpt_tracker.rules.audit import Actor
from llmpt_tracker.rules.rights import PUBLISH, SHARE
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker
from llmpt_tracker.views.arguments import body
from llmpt_tracker.views.holders import Pace, holder, keep_pace

log = logging.getLogger(__name__)
blueprint = Blueprint("reports", __name__, url_prefix="/api/v1")

MAX_BODY_BYTES = 4096
PACE = Pace("reports", 20 / 3600, 20)
PACE_OF_ADDRESS = Pace("reports of an address", 40 / 3600, 40)
PACE_OF_NETWORK = Pace("reports of a network", 200 / 3600, 200)


class ReportBody(BaseModel):
    """Which torrent it was, by etag and info-hash (64 hex digits, or the first 40), and what was wrong."""

    model_config = publication.STRICT

    etag: str = Field(pattern="^([0-9a-f]{64}|[0-9a-f]{40})$")
    info_hash: str = Field(pattern="^([0-9a-f]{64}|[0-9a-f]{40})$")
    reason: str = Field(max_length=500)


@blueprint.post("/reports")
def report() -> ResponseReturnValue:
    """Drop the torrent if a sharer had published it; else note it for the operator."""
    token = holder(PACE, SHARE, PUBLISH)
    if not token.appliance:
        keep_pace(PACE_OF_ADDRESS, str(asker()))
        keep_pace(PACE_OF_NETWORK, neighbourhood(asker()))
    said = publication.parse_json(ReportBody, body(MAX_BODY_BYTES))
    info_hash = bytes.fromhex(said.info_hash)
    with state().database.writing() as session:
        now, by = state().clock(), Actor.of(token, str(asker()))
        outcome = reports.report(session, reports.Finding(said.etag, info_hash, said.reason), by=token, now=now)
        if outcome.known:
            audit.note(session, audit.REPORTED, by, now=now, etag=said.etag, dropped=outcome.dropped is not None)
        if outcome.revoked is not None:
            audit.note(session, audit.TOKEN_REVOKED, by, now=now, name=outcome.revoked, why="reports")
    if outcome.dropped is not None:
        state().announcer.unregister([outcome.dropped])
        log.warning("%r found another content in the torrent of %s: dropped", token.name, said.etag)
    elif outcome.known:
        log.warning("%r says that what we published for %s is another content: %r", token.name, said.etag, said.reason)
    if outcome.revoked is not None:
        log.warning("the token %r was revoked: several of its torrents held another content", outcome.revoked)
    return jsonify({"dropped": outcome.dropped is not None})
