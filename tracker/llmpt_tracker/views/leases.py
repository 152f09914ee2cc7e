"""`POST /api/v1/leases`: a machine says what it waits for, fetches and has fetched, and learns which machine fetches what."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from llmpt.core.documents import read_json
from llmpt.core.errors import InvalidInput, InvalidName
from llmpt.core.leases import Grant, LeaseRole, Poll
from llmpt_tracker.control.messages import Owner
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import entries
from llmpt_tracker.rules.rights import PUBLISH, SHARE, is_publisher
from llmpt_tracker.state import state
from llmpt_tracker.views.arguments import body
from llmpt_tracker.views.holders import Pace, holder, refuse_when_off, sees_machines
from llmpt_tracker.views.readers import reading

blueprint = Blueprint("leases", __name__, url_prefix="/api/v1")

MAX_BODY_BYTES = 1 << 20
UNNAMED = "another machine"
PACE = Pace("leases", 20, 40)


@blueprint.post("/leases")
def poll() -> ResponseReturnValue:
    """Answer each want: fetch it, wait for its fetcher, or look it up, since it is here."""
    token = holder(PACE, SHARE, PUBLISH)
    refuse_when_off()
    said = _read(body(MAX_BODY_BYTES))
    if said.unlimited and not is_publisher(token):
        raise Refused(403, "scope", "`unlimited` is a publisher's; a machine that shares has its share")
    known: dict[str, bytes] = {}
    if said.wants:
        with reading() as session:
            known = entries.swarms(session, (want.etag.value for want in said.wants))
    answer = state().announcer.leases(said, owner=Owner(token.id, token.name), swarms=known)
    if not sees_machines():
        answer = replace(answer, grants=tuple(map(_without_name, answer.grants)))
    return jsonify(answer.as_json())


def _without_name(grant: Grant) -> Grant:
    """Leave out which machine fetches it, unless that is the asker."""
    is_anothers = grant.fetcher is not None and grant.role is not LeaseRole.FETCH
    return replace(grant, fetcher=UNNAMED) if is_anothers else grant


def _read(data: bytes) -> Poll:
    """Read a poll. Raises `Refused`: 400 naming the field that is wrong, 422 for a repo that cannot be one."""
    try:
        return Poll.parse(read_json(data, most_bytes=MAX_BODY_BYTES))
    except InvalidName as error:
        raise Refused(422, "bad_name", str(error)) from None
    except InvalidInput as error:
        raise Refused(400, "bad_request", str(error)) from None
