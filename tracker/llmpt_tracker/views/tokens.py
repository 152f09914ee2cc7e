"""`POST /api/v1/tokens`: a machine of the LAN gets a token of its own, to share what it fetches."""

from __future__ import annotations

import logging

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from llmpt.core.networks import neighbourhood
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import invitations, publication, tokens
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker
from llmpt_tracker.views.arguments import body
from llmpt_tracker.views.holders import Pace, keep_pace, refuse_when_off

log = logging.getLogger(__name__)
blueprint = Blueprint("tokens", __name__, url_prefix="/api/v1")

MAX_BODY_BYTES = 4096
PACE = Pace("tokens", 20 / 3600, 20)


class TokenBody(BaseModel):
    """A machine that asks for a token.

    `name`: the machine, as people know it.
    `code`: the code of an invitation, if it has one.
    """

    model_config = publication.STRICT

    name: str = Field(min_length=1, max_length=tokens.MAX_NAME)
    code: str | None = Field(default=None, max_length=100)


@blueprint.post("/tokens")
def make() -> ResponseReturnValue:
    """Make a token of scope `share`, and tell it this once."""
    refuse_when_off()
    asked = publication.parse_json(TokenBody, body(MAX_BODY_BYTES))
    invited = state().settings.sharing == "invited"
    if invited and not asked.code:
        raise Refused(403, "code_needed", "this tracker lets a machine share by invitation: llmpt join URL --code CODE")
    address = asker()
    if not address.is_loopback:  # a program on the server itself has other ways to be a nuisance
        keep_pace(PACE, neighbourhood(address))
    secret = tokens.new_secret(tokens.SHARE)
    with state().database.writing() as session:
        if invited and not invitations.use(session, asked.code or "", now=state().clock()):
            raise Refused(403, "code_wrong", "that code is none, has been used, or has expired; `llmpt-tracker invite` makes one")
        tokens.add(session, secret, name=asked.name, now=state().clock(), scope=tokens.SHARE)
    log.info("%r at %s got a token to share", asked.name, address)
    return jsonify({"token": secret, "scope": tokens.SHARE}), 201
