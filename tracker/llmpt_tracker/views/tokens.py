"""`POST /api/v1/tokens`: a machine of the LAN gets a token of its own, to share what it fetches."""

from __future__ import annotations

import logging

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from llmpt.core.networks import neighbourhood
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import audit, invitations, publication, quotas, tokens
from llmpt_tracker.rules.audit import Actor
from llmpt_tracker.rules.rights import SHARE
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker
from llmpt_tracker.views.arguments import body
from llmpt_tracker.views.holders import Pace, keep_pace, refuse_when_off

log = logging.getLogger(__name__)
blueprint = Blueprint("tokens", __name__, url_prefix="/api/v1")

MAX_BODY_BYTES = 4096
PACE = Pace("tokens", 20 / 3600, 20)  # of an address
PACE_OF_MANY = Pace("tokens of a network", 200 / 3600, 200)  # of a /64, which one machine may have, or the LAN
PACE_OF_ALL = Pace("tokens of all", 2000 / 3600, 2000)


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
    keep_pace(PACE, str(address))
    keep_pace(PACE_OF_MANY, neighbourhood(address))
    keep_pace(PACE_OF_ALL, "")
    now = state().clock()
    with state().database.writing() as session:
        quotas.make_room(session, neighbourhood(address), now=now)
        rights = invitations.use(session, asked.code, now=now) if asked.code else None
        if rights is None and invited:
            raise Refused(403, "code_wrong", "that code is none, has been used, or has expired; `llmpt-tracker invite` makes one")
        rights = rights or invitations.SHARERS
        secret = tokens.new_secret(*rights.scopes)
        token = tokens.grant(session, secret, rights, name=asked.name, now=now)
        token.address = neighbourhood(address)
        audit.note(session, audit.TOKEN_MADE, Actor.of(token, str(address)), now=now, scope=token.scope)
    log.info("%r at %s got a token to share", asked.name, address)
    return jsonify({"token": secret, "scope": SHARE}), 201
