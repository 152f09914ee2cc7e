"""Reports of receivers: a content is not what its etag names (`POST /api/v1/reports`), a listing not the Hub's (`doubts`)."""

from __future__ import annotations

import logging

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from llmpt.core.networks import neighbourhood
from llmpt.core.words import plain
from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.rules import audit, publication, reports
from llmpt_tracker.rules.audit import Actor
from llmpt_tracker.rules.catalogue.repos import find_revision
from llmpt_tracker.rules.rights import PUBLISH, SHARE
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker
from llmpt_tracker.views.arguments import body, repo_named
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


class DoubtBody(BaseModel):
    """Of which file of which commit the Hub says something else than the catalogue, and what."""

    model_config = publication.STRICT

    repo_type: str
    repo_id: str
    commit: str = Field(pattern="^[0-9a-f]{40}$")
    path: str = Field(max_length=publication.MAX_PATH_BYTES)
    reason: str = Field(max_length=500)


@blueprint.post("/doubts")
def doubt() -> ResponseReturnValue:
    """Note for the operator that a machine doubts what is published of a commit; nothing else follows from its word."""
    token = holder(PACE, SHARE, PUBLISH)
    _keep_paces(token)
    said = publication.parse_json(DoubtBody, body(MAX_BODY_BYTES))
    repo = repo_named(said.repo_type, said.repo_id)
    where, why = plain(said.path) or "listing", plain(said.reason)
    with state().database.writing() as session:
        find_revision(session, repo, said.commit)
        by = Actor.of(token, str(asker()))
        audit.note(session, audit.DOUBTED, by, now=state().clock(), repo=str(repo), commit=said.commit, path=where, reason=why)
    log.warning("%r says that the Hub has another %s of %s@%s: %s", token.name, where, repo, said.commit, why)
    return jsonify({"noted": True})


def _keep_paces(token: PublisherToken) -> None:
    if not token.appliance:
        keep_pace(PACE_OF_ADDRESS, str(asker()))
        keep_pace(PACE_OF_NETWORK, neighbourhood(asker()))


@blueprint.post("/reports")
def report() -> ResponseReturnValue:
    """Drop the torrent if a sharer had published it; else note it for the operator."""
    token = holder(PACE, SHARE, PUBLISH)
    _keep_paces(token)
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
