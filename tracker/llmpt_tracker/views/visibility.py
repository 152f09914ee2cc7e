"""The route by which a seeder says who may read the repos that it publishes: public, named by its operator, or restricted."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from llmpt.core.hub_target import hub_name
from llmpt.core.repo import Shown
from llmpt_tracker.rules import publication, visibility
from llmpt_tracker.rules.rights import PUBLISH
from llmpt_tracker.state import state
from llmpt_tracker.views.arguments import arguments, body, repo_named
from llmpt_tracker.views.holders import Pace, holder
from llmpt_tracker.views.publishing import ALIVE_S, check_id

blueprint = Blueprint("visibility", __name__, url_prefix="/api/v1")

MAX_BODY_BYTES = 8 << 20
MAX_REPOS = 20_000
PACE = Pace("visibility", 0.2, 20)


class RepoBody(BaseModel):
    """Who may read a repo.

    `age_s`: seconds since that was known.
    """

    model_config = publication.STRICT

    repo_type: str
    repo_id: str
    shown: Shown
    age_s: int = Field(ge=0, le=10 * 365 * 86_400)


class ReposBody(BaseModel):
    """All that a seeder says of repos; what it said before and does not say now is void.

    `hub`: the Hub that they are on; empty: the seeder does not say.
    """

    model_config = publication.STRICT

    hub: str = Field(default="", max_length=255, pattern=r"^((?i:https?)://[!-~]+)?$")
    repos: list[RepoBody] = Field(max_length=MAX_REPOS)


@blueprint.put("/seeders/<seeder_id>/repos")
def say(seeder_id: str) -> ResponseReturnValue:
    """Note who may read which repos on the word of a seeder."""
    token = holder(PACE, PUBLISH)
    check_id(seeder_id)
    arguments()
    said, now = publication.parse_json(ReposBody, body(MAX_BODY_BYTES)), state().clock()
    words = [
        visibility.Word(repo_named(one.repo_type, one.repo_id), one.shown, now - timedelta(seconds=one.age_s))
        for one in said.repos
    ]
    alive = {one.id for one in state().announcer.seeders() if one.age_s < ALIVE_S}
    with state().database.writing() as session:
        visibility.say(session, visibility.Speaker(token, seeder_id, hub_name(said.hub)), words, alive=alive)
    return jsonify({"repos": len(words)})
