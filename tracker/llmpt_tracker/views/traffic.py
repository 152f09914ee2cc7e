"""`GET /api/v1/traffic`: rates of the last hour and day, and bytes saved from the Internet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from llmpt_tracker.rules import traffic
from llmpt_tracker.state import state
from llmpt_tracker.views.arguments import arguments
from llmpt_tracker.views.readers import reading

blueprint = Blueprint("traffic", __name__, url_prefix="/api/v1")

REPOS_TOLD = 50
HOUR, DAY = (60, timedelta(minutes=1)), (144, timedelta(minutes=10))


@dataclass(frozen=True, slots=True)
class TrafficTold:
    """What is told of bytes, by the API and the pages alike. `hour`, `day`: rates; `repos`: of this month."""

    hour: list[traffic.RatePoint]
    day: list[traffic.RatePoint]
    today: traffic.ByteCounts
    month: traffic.ByteCounts
    repos: list[traffic.RepoSaving]

    @classmethod
    def ask(cls) -> TrafficTold:
        """Return it as it is now, with those repos that the asker may read."""
        now = state().clock()
        with reading() as session:
            hour, day = (traffic.rates(session, steps=steps, step=step, now=now) for steps, step in (HOUR, DAY))
            today, month = traffic.today(session, now=now), traffic.this_month(session, now=now)
            return cls(hour, day, today, month, traffic.by_repo(session, now=now, limit=REPOS_TOLD))


@blueprint.get("/traffic")
def told() -> ResponseReturnValue:
    """Say how fast bytes go and went, and how many were saved."""
    arguments()
    found = TrafficTold.ask()
    return jsonify(
        {
            "hour": [_point(one) for one in found.hour],
            "day": [_point(one) for one in found.day],
            "today": _counts(found.today),
            "month": _counts(found.month),
            "repos": [
                {
                    "repo_type": one.repo.type,
                    "repo_id": one.repo.id,
                    "received_bytes": one.received_bytes,
                    "saved_bytes": one.saved_bytes,
                }
                for one in found.repos
            ],
        }
    )


def _point(one: traffic.RatePoint) -> dict[str, Any]:
    rates = {"swarm_bytes_s": one.swarm_bytes_s, "http_bytes_s": one.http_bytes_s, "hub_bytes_s": one.hub_bytes_s}
    return {"at": one.at.isoformat(), **rates}


def _counts(one: traffic.ByteCounts) -> dict[str, int]:
    names = ("swarm_bytes", "http_bytes", "hub_bytes", "mirrored_bytes", "received_bytes", "saved_bytes")
    return {name: getattr(one, name) for name in names}
