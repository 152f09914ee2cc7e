"""`/blobs/<etag>`: to a seeder that has the bytes. The web seed of every torrent (BEP 19), and for programs without a hook."""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput
from llmpt_tracker.errors import Refused
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker, host_as_asked
from llmpt_tracker.views.serving import may_serve

blueprint = Blueprint("blobs", __name__)


@blueprint.get("/blobs/<etag>")
def blob(etag: str) -> ResponseReturnValue:
    """Redirect to a seeder that is alive and has the blob; the next request may be sent to another."""
    try:
        Etag(etag)
    except InvalidInput as error:
        raise Refused(404, "not_found", str(error)) from None
    may = may_serve(state().database, etag)
    url = state().blobs.locate(etag, asker=str(asker()), host_as_asked=host_as_asked(request)[0], may_serve=may)
    if url is None:
        raise Refused(404, "not_found", f"no seeder that is alive has a file with the etag {etag}")
    return Response(status=302, headers={"Location": url})
