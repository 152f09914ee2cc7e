"""`/blobs/<etag>`: to a seeder that has the bytes. The web seed of every torrent (BEP 19), and for programs without a hook.

Where reading takes a token, a web seed's address has the key with which its torrent is announced in front of the etag: programs
that know nothing of tokens follow it.
"""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput
from llmpt.core.hub_headers import name_in, named
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules.reading import may_read_blob
from llmpt_tracker.state import state
from llmpt_tracker.views.access import asker, host_as_asked
from llmpt_tracker.views.readers import reading
from llmpt_tracker.views.serving import may_serve

blueprint = Blueprint("blobs", __name__)


@blueprint.get("/blobs/<etag>")
@blueprint.get("/blobs/<key>/<etag>")
def blob(etag: str, key: str = "") -> ResponseReturnValue:
    """Redirect to a seeder that is alive and has the blob, and pass on `?name=`; the next request may be sent to another."""
    try:
        Etag(etag)
    except InvalidInput as error:
        raise Refused(404, "not_found", str(error)) from None
    with reading() as session:
        may_read = may_read_blob(session, etag)
    may = may_serve(state().database, etag)
    host = host_as_asked(request)[0]
    url = state().blobs.locate(etag, asker=str(asker()), host_as_asked=host, may_serve=may) if may_read else None
    state().metrics.looked_up(found=int(url is not None), missing=int(url is None))
    if url is None:
        raise Refused(404, "not_found", f"no seeder that is alive has a file with the etag {etag}")
    name = name_in(request.query_string.decode("latin-1"))
    return Response(status=302, headers={"Location": named(url, name) if name else url})
