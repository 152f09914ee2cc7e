"""What the Hub's routes have in common: a look at the catalogue, or upstream; flags of the query; JSON as the Hub writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Response, request
from sqlalchemy.orm import Session

from llmpt.core.hub_target import HubTarget
from llmpt.core.repo import RepoRef
from llmpt_tracker.rules.hub import files as hub_files
from llmpt_tracker.rules.hub import revisions as hub
from llmpt_tracker.rules.hub.upstream import AskedUpstream, Client
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker, may_have_effect

T = TypeVar("T")


def look_up(asked: HubTarget, look: Callable[[Session, RepoRef], T], revision_of: Callable[[T], hub.HubRevision | None]) -> T:
    """Return what `look` finds of the asked repo, or learns from upstream; raise `RefusedAsHub` for what is not here."""
    repo = hub.repo_ref(asked.repo_type, asked.repo_id)

    def in_session() -> T:
        with state().database.reading() as session:
            return look(session, repo)

    return state().learning.look_up(upstream(), in_session, repo, asked.revision, revision_of)


def upstream() -> AskedUpstream | None:
    """Return the Hub behind this one, as the current client asks it; None while no seeder fetches from one, and for web pages."""
    behind = state().upstream
    return None if behind is None or not may_have_effect() else AskedUpstream(behind, Client(str(asker())))


def flag(name: str) -> bool:
    """Whether a flag of the query is set."""
    return request.args.get(name, "").lower() in ("true", "1")


def last_commit(revision: hub.HubRevision) -> dict[str, Any]:
    """Tell of a revision as the Hub tells of a commit: without a title, which is not known here."""
    return {"id": revision.commit, "title": "", "date": hub_files.moment(revision.published_at)}


def json_response(value: Any) -> Response:
    """Answer with JSON as the Hub writes it: without blanks."""
    return Response(json.dumps(value, separators=(",", ":")), mimetype="application/json")
