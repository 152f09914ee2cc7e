"""`/dist/`: the client and what it needs, so that a workstation can install it from this server, also without any Internet.

The page is what `pip --find-links` reads: one link for each wheel, with its SHA-256. Files come with ETag and Range.
"""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template, send_file
from flask.typing import ResponseReturnValue

from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import dist
from llmpt_tracker.state import state

blueprint = Blueprint("dist", __name__)


@blueprint.get("/dist")
def without_slash() -> ResponseReturnValue:
    """Lead to the page: its links are relative."""
    return redirect("/dist/", 308)


@blueprint.get("/dist/")
def index() -> ResponseReturnValue:
    """List the wheels."""
    return render_template("dist.html", wheels=dist.wheels(state().settings.dist))


@blueprint.get(f"/dist/{dist.REQUIREMENTS}")
def requirements() -> ResponseReturnValue:
    """Return the list of what the client needs, by hashes."""
    text = dist.requirements(state().settings.dist)
    if text is None:
        raise Refused(404, "not_found", "this server has no list of what it hands out: /dist/ lists the wheels")
    return Response(text, mimetype="text/plain", headers={"Cache-Control": "no-cache"})


@blueprint.get("/dist/<name>")
def file(name: str) -> ResponseReturnValue:
    """Return one wheel."""
    wheel = dist.wheel(state().settings.dist, name)
    if wheel is None:
        raise Refused(404, "not_found", f"{name!r:.100} is not handed out here: /dist/ lists what is")
    etag = f"sha256-{wheel.sha256}"
    response: Response = send_file(wheel.path, mimetype="application/octet-stream", conditional=True, etag=etag)
    response.headers["Cache-Control"] = "no-cache"  # kept, and asked about each time
    return response
