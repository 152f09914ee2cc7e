"""`POST /api/v1/leases`: a machine says what it waits for, fetches and has fetched, and learns who fetches what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from llmpt.core.errors import InvalidInput
from llmpt.core.metainfo import MAX_BLOB_BYTES
from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import publication, tokens, torrents
from llmpt_tracker.state import state
from llmpt_tracker.views.arguments import body
from llmpt_tracker.views.holders import Pace, holder, refuse_when_off

blueprint = Blueprint("leases", __name__, url_prefix="/api/v1")

MAX_BODY_BYTES = 1 << 20
MAX_ETAGS = 2000
PACE = Pace("leases", 20, 40)

EtagText = Annotated[str, Field(pattern="^([0-9a-f]{64}|[0-9a-f]{40})$")]
Bytes = Annotated[int, Field(ge=0, le=MAX_BLOB_BYTES)]


class WantBody(BaseModel):
    """A file that the machine waits for."""

    model_config = publication.STRICT

    etag: EtagText
    size: Bytes
    repo_type: str = Field(max_length=20)
    repo_id: str = Field(max_length=200)


class FetchingBody(BaseModel):
    """A file that it fetches from the Hub, and how far it is."""

    model_config = publication.STRICT

    etag: EtagText
    bytes: Bytes
    rate_bytes_s: Bytes


class EndedBody(BaseModel):
    """A file that it fetches no more."""

    model_config = publication.STRICT

    etag: EtagText
    outcome: Literal["published", "failed"]


class PollBody(BaseModel):
    """All that a machine says at once; `machine` names this life of its agent."""

    model_config = publication.STRICT

    machine: str = Field(pattern="^[A-Za-z0-9._-]{1,64}$")
    stall_timeout_s: float = Field(default=5.0, gt=0, le=3600)
    wants: list[WantBody] = Field(default=[], max_length=MAX_ETAGS)
    fetching: list[FetchingBody] = Field(default=[], max_length=MAX_ETAGS)
    ended: list[EndedBody] = Field(default=[], max_length=MAX_ETAGS)
    unlimited: bool = False


@blueprint.post("/leases")
def poll() -> ResponseReturnValue:
    """Answer each want: fetch it, wait for whoever does, or look it up, since it is here."""
    token = holder(PACE, tokens.SHARE, tokens.PUBLISH)
    refuse_when_off()
    said = publication.parse_json(PollBody, body(MAX_BODY_BYTES))
    if said.unlimited and token.scope != tokens.PUBLISH:
        raise Refused(403, "scope", "`unlimited` is a publisher's; a machine that shares has its share")
    asked = _poll(said, token)
    with state().database.reading() as session:
        known = torrents.swarms(session, (want.etag for want in said.wants)) if said.wants else {}
    reply = state().announcer.leases(asked, swarms={etag: swarm.hex() for etag, swarm in known.items()})
    return jsonify({"leases": reply.leases, "poll_s": reply.poll_s, "boot_id": reply.boot_id})


def _poll(said: PollBody, token: PublisherToken) -> dict[str, Any]:
    """Write the poll as the announcer reads it."""
    return {
        "token": token.id,
        "name": token.name,
        "machine": said.machine,
        "stall_timeout_s": said.stall_timeout_s,
        "wants": [{"etag": want.etag, "size": want.size, "repo": _repo(want)} for want in said.wants],
        "fetching": [one.model_dump() for one in said.fetching],
        "published": [one.etag for one in said.ended if one.outcome == "published"],
        "failed": [one.etag for one in said.ended if one.outcome == "failed"],
        "unlimited": said.unlimited,
    }


def _repo(want: WantBody) -> str:
    try:
        repo = RepoRef(want.repo_type, want.repo_id)
    except InvalidInput as error:
        raise Refused(422, "bad_name", str(error)) from None
    return f"{repo.type}/{repo.id}"
