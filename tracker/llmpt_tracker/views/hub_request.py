"""Is this request the Hub's? Read once from its raw target, for the routes and for the shape of errors."""

from __future__ import annotations

from urllib.parse import quote

from flask import g, request

from llmpt_tracker.rules.hub_files import hub_version
from llmpt_tracker.rules.hub_target import Target, parse


def target() -> Target | None:
    """Return what the current request asks of the Hub; None: it is one of our own routes."""
    if "hub_target" not in g:
        g.hub_target = parse(_raw())
    found: Target | None = g.hub_target
    return found


def client_version() -> tuple[int, int] | None:
    """Return the version of huggingface_hub that asks; None: it is another client."""
    return hub_version(request.headers.get("User-Agent", ""))


def _raw() -> str:
    environ = request.environ
    raw: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    return raw or quote(environ.get("PATH_INFO", "").encode("latin-1"))  # a server that keeps only the decoded path
