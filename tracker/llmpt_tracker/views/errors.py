"""From errors to answers: `{"error": {"code", "message"}}` for programs, plain text for a browser, `{"error": message}` with
the Hub's headers for its clients, and safe headers on all.

A `Refused` is told as it is. That the announcer or the database is away, or a seeder busy, is 503: try again. Anything else is
our bug: it is logged with its traceback, and the client learns nothing of it.
"""

from __future__ import annotations

import logging
from functools import partial

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from llmpt.core import request_id
from llmpt.core.browsers import SAFE_HEADERS
from llmpt.host.pacing import Paced
from llmpt_tracker.errors import AnnouncerUnavailable, DatabaseUnavailable, Refused, RefusedAsHub, SeedersBusy
from llmpt_tracker.rules import audit
from llmpt_tracker.rules.audit import Actor
from llmpt_tracker.state import state
from llmpt_tracker.views.hub.request import target
from llmpt_tracker.views.readers import REALM, asks_browsers

log = logging.getLogger(__name__)

CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}


def register(app: Flask) -> None:
    """Install the handlers and the headers."""
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(AnnouncerUnavailable, partial(_announcer, Paced(log.warning)))
    app.register_error_handler(DatabaseUnavailable, partial(_database, Paced(log.error)))
    app.register_error_handler(SeedersBusy, _busy)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)
    app.after_request(_safe)


def answer(status: int, code: str, message: str) -> Response:
    """Return an error in the shape that the asked route speaks."""
    if target() is not None:
        response = jsonify({"error": message})
        response.headers["X-Error-Message"] = "".join(char if " " <= char <= "~" else "?" for char in message)
        if code:
            response.headers["X-Error-Code"] = code
    elif request.path.startswith(("/api/", "/blobs/", "/healthz")):
        response = jsonify({"error": {"code": code, "message": message}})
    else:
        response = Response(f"{message}\n", mimetype="text/plain")
    response.status_code = status
    return response


def _refused(error: Refused) -> Response:
    if error.status in (401, 403) and (g.get("holder") or "Authorization" in request.headers):
        _note(error)
    response = answer(error.status, error.code, str(error))
    if error.status == 401:
        response.headers["WWW-Authenticate"] = REALM if asks_browsers() else 'Bearer realm="llmpt"'
    if isinstance(error, RefusedAsHub) and error.commit is not None:
        response.headers["X-Repo-Commit"] = error.commit
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _note(error: Refused) -> None:
    """Count a refusal by token for the audit log."""
    by = g.get("holder") or Actor(address=request.remote_addr)
    state().notes.often(audit.REFUSED, by, f"{request.method} {request.endpoint}: {error.code}")


def _announcer(say: Paced, error: AnnouncerUnavailable) -> Response:
    say("%s", error)
    return _later("announcer_unavailable", "the announcer does not answer; try again in a moment")


def _database(say: Paced, error: DatabaseUnavailable) -> Response:
    say("%s %s: %s", request.method, request.path, error, exc_info=error.__cause__)
    return _later(error.code, str(error))


def _busy(error: SeedersBusy) -> Response:
    state().limits.reached(f"{error} (told to clients as 503)")
    return _later("busy", str(error))


def _later(code: str, message: str) -> Response:
    response = answer(503, code, message)
    response.headers["Retry-After"] = "5"
    return response


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if isinstance(error, RequestEntityTooLarge):
        return answer(413, "too_large", "the body is larger than this route takes: publish in smaller batches")
    response = answer(status, CODES.get(status, "bad_request" if status < 500 else "internal"), error.description or error.name)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "location"):
            response.headers[name] = value
    return response


def _bug(error: Exception) -> Response:
    log.exception("%s %r failed", request.method, request.full_path, exc_info=error)
    return answer(500, "internal", f"something went wrong here; the tracker's log says what ({request_id.current()})")


def _safe(response: Response) -> Response:
    for name, value in SAFE_HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response
