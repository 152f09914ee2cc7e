"""The parameters of a query, each known and given once."""

from __future__ import annotations

from flask import request

from llmpt_tracker.errors import Refused


def arguments(*known: str) -> dict[str, str]:
    """Return the query's parameters. Raises `Refused` (400) for one that is not known here, or stands twice."""
    found: dict[str, str] = {}
    for name, values in request.args.lists():
        if name not in known:
            raise Refused(400, "bad_request", f"{name!r:.80}: no parameter of this route ({', '.join(known) or 'it takes none'})")
        if len(values) != 1:
            raise Refused(400, "bad_request", f"{name}: given more than once")
        found[name] = values[0]
    return found
