"""`POST /api/v1/reports`: a receiver says that a torrent's content is not what its etag names."""

from __future__ import annotations

import logging

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from llmpt_tracker.rules import publication, reports
from llmpt_tracker.rules.rights import PUBLISH, SHARE
from llmpt_tracker.state import state
from llmpt_tracker.views.arguments import body
from llmpt_tracker.views.holders import Pace, holder

log = logging.getLogger(__name__)
blueprint = Blueprint("reports", __name__, url_prefix="/api/v1")

MAX_BODY_BYTES = 4096
PACE = Pace("reports", 20 / 3600, 20)


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
    said = publication.parse_json(ReportBody, body(MAX_BODY_BYTES))
    info_hash = bytes.fromhex(said.info_hash)
    with state().database.writing() as session:
        outcome = reports.report(session, etag=said.etag, info_hash=info_hash, reason=said.reason, by=token, now=state().clock())
    if outcome.dropped is not None:
        state().announcer.unregister([outcome.dropped])
        log.warning("%r found another content in the torrent of %s: dropped", token.name, said.etag)
    elif outcome.known:
        log.warning("%r says that what we published for %s is another content: %r", token.name, said.etag, said.reason)
    if outcome.revoked is not None:
        log.warning("the token %r was revoked: several of its torrents held another content", outcome.revoked)
    return jsonify({"dropped": outcome.dropped is not None})
