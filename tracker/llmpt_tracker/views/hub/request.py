"""Is this request the Hub's? Read once from its raw target, for the routes and for the shape of errors."""

from __future__ import annotations

from urllib.parse import quote

from flask import request

from llmpt.core.hub_target import HubTarget, parse
from llmpt_tracker.rules.hub.files import hub_version

_KEY = "llmpt.hub_target"


def target() -> HubTarget | None:
    """Return what the current request asks of the Hub; None: it is one of our own routes."""
    environ = request.environ
    if _KEY not in environ:
        environ[_KEY] = parse(_raw())
    found: HubTarget | None = environ[_KEY]
    return found


def client_version() -> tuple[int, int] | None:
    """Return the version of huggingface_hub that asks; None: it is another client."""
    return hub_version(request.headers.get("User-Agent", ""))


def _raw() -> str:
    environ = request.environ
    raw: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    return raw or quote(environ.get("PATH_INFO", "").encode("latin-1"))  # a server that keeps only the decoded path
