"""Routes of what is to be fetched from upstream: `/api/v1/mirrors`. Asking needs a token, the seeder's word its own."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from llmpt.core.errors import InvalidInput
from llmpt.core.repo import RepoRef, check_ref
from llmpt_tracker.database.models import Mirror
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import mirrors, paging, publication, tokens
from llmpt_tracker.state import state
from llmpt_tracker.views.arguments import arguments, body
from llmpt_tracker.views.holders import Pace, holder

blueprint = Blueprint("mirrors", __name__, url_prefix="/api/v1")

MAX_BODY_BYTES = 256 << 10
ASKS = Pace("mirrors", 1, 20)
REPORTS = Pace("reports of mirrors", 20, 100)

Count = Annotated[int, Field(ge=0, le=1 << 53)]  # several are summed up


class AskBody(BaseModel):
    """What is to be fetched: the files of a revision that one of the patterns names; without patterns its listing only."""

    model_config = publication.STRICT

    repo_type: str = "model"
    repo_id: str
    revision: str = "main"
    include: list[str] = Field(default=["*"], max_length=1000)


class ErrorBody(BaseModel):
    """Why it cannot be fetched, in upstream's words; `retry_after_s` when it said when to come again."""

    model_config = publication.STRICT

    status: int | None = Field(default=None, ge=100, le=599)
    code: str | None = Field(default=None, max_length=40)
    message: str = Field(max_length=4000)
    retry_after_s: int | None = Field(default=None, ge=0, le=86400)


class ReportBody(BaseModel):
    """What the seeder says of a row."""

    model_config = publication.STRICT

    state: Literal["queued", "running", "done", "failed"]
    commit: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    files_total: Count = 0
    files_done: Count = 0
    bytes_total: Count = 0
    bytes_done: Count = 0
    error: ErrorBody | None = None


@blueprint.post("/mirrors")
def ask() -> ResponseReturnValue:
    """Have something fetched; answer with its row."""
    holder(ASKS, tokens.PUBLISH, tokens.SHARE)
    asked = publication.parse_json(AskBody, body(MAX_BODY_BYTES))
    if state().upstream is None:
        raise Refused(409, "upstream_off", "this server fetches nothing from a Hub: no seeder of it has LLMPT_UPSTREAM set")
    if any(not 1 <= len(pattern) <= 1000 or not pattern.isprintable() for pattern in asked.include):
        raise Refused(422, "bad_path", "a pattern has 1 to 1000 printable characters")
    try:
        wish = mirrors.Ask(RepoRef(asked.repo_type, asked.repo_id), check_ref(asked.revision), tuple(asked.include))
    except InvalidInput as error:
        raise Refused(422, "bad_name", str(error)) from None
    with state().database.writing() as session:
        answer = _row(mirrors.ask(session, wish, now=state().clock(), insist=True))
    state().blobs.knock()
    return jsonify(answer), 202


@blueprint.get("/mirrors")
def listed() -> ResponseReturnValue:
    """List what is to be fetched, the newest first. With a publisher's token also the bare listings."""
    args = arguments("state", "limit", "cursor")
    states = tuple(filter(None, args.get("state", "").split(","))) or mirrors.STATES
    if not set(states) <= set(mirrors.STATES):
        raise Refused(400, "bad_request", f"state: any of {', '.join(mirrors.STATES)}, separated by commas")
    limit, before = paging.read_limit(args.get("limit")), paging.read_cursor(args.get("cursor"))
    with state().database.reading() as session:
        rows, last = mirrors.page(session, states=states, limit=limit, before=before, listings=_sees_listings(session))
        found = [_row(row) for row in rows]
    return jsonify({"mirrors": found, "next": paging.write_cursor(last) if last is not None else None})


@blueprint.get("/mirrors/<int:mirror_id>")
def one(mirror_id: int) -> ResponseReturnValue:
    """Return one row."""
    arguments()
    with state().database.reading() as session:
        row = mirrors.get(session, mirror_id)
        if row.include == mirrors.LISTING and not _sees_listings(session):
            raise mirrors.unknown(mirror_id)
        return jsonify(_row(row))


@blueprint.put("/mirrors/<int:mirror_id>")
def report(mirror_id: int) -> ResponseReturnValue:
    """Note how far the seeder is with a row."""
    holder(REPORTS, tokens.PUBLISH)
    said = publication.parse_json(ReportBody, body(MAX_BODY_BYTES))
    fields = said.model_dump(exclude={"error"}) | (said.error.model_dump() if said.error else {})
    with state().database.writing() as session:
        return jsonify(_row(mirrors.report(session, mirror_id, mirrors.Report(**fields), now=state().clock())))


def _sees_listings(session: Session) -> bool:
    """Whether the asker is a publisher. A token that is none is refused."""
    header = request.headers.get("Authorization")
    return header is not None and tokens.authenticate(session, header, (tokens.PUBLISH, tokens.SHARE)).scope == tokens.PUBLISH


def _row(row: Mirror) -> dict[str, Any]:
    error = None
    if row.error is not None:
        left_s = None if row.retry_at is None else max(0, round((row.retry_at - state().clock()).total_seconds()))
        error = {"status": row.status, "code": row.code, "message": row.error, "retry_after_s": left_s}
    return {
        "id": row.id,
        "repo_type": row.repo_type,
        "repo_id": row.repo_name,
        "revision": row.revision,
        "include": json.loads(row.include),
        "state": row.state,
        "commit": row.commit,
        "files_total": row.files_total,
        "files_done": row.files_done,
        "bytes_total": row.bytes_total,
        "bytes_done": row.bytes_done,
        "error": error,
        "requested_at": row.requested_at.isoformat(),
        "wanted_at": row.wanted_at.isoformat(),
        "ended_at": _moment(row.ended_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
