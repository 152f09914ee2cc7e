"""Is this request the Hub's? Read once from its raw target, for the routes and for the shape of errors."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from flask import request

from llmpt.core.errors import InvalidName
from llmpt.core.hub_target import HubTarget, parse
from llmpt.core.repo import RepoRef
from llmpt_tracker.rules.hub.files import hub_version
from llmpt_tracker.state import state

_KEY = "llmpt.hub_target"


def target() -> HubTarget | None:
    """Return what the current request asks of the Hub; None: it is one of our own routes."""
    environ = request.environ
    if _KEY not in environ:
        environ[_KEY] = parse(_raw())
    found: HubTarget | None = environ[_KEY]
    return found


def spell_as_here() -> None:
    """Let the current request ask for its repo under the name that it has here, before anything is decided by that name."""
    asked = target()
    if asked is None or not asked.repo_id:
        return
    try:
        repo = RepoRef(asked.repo_type, asked.repo_id)
    except InvalidName:
        return
    request.environ[_KEY] = replace(asked, repo_id=as_here(repo).id)


def as_here(repo: RepoRef) -> RepoRef:
    """Return a repo under its name in the catalogue: on the Hub, names in lower and upper case are the same."""
    spelling = state().spelling
    if spelling.is_exact(repo):
        return repo
    with state().database.reading() as session:
        return spelling.as_here(session, repo)


def client_version() -> tuple[int, int] | None:
    """Return the version of huggingface_hub that asks; None: it is another client."""
    return hub_version(request.headers.get("User-Agent", ""))


def _raw() -> str:
    environ = request.environ
    raw: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    return raw or quote(environ.get("PATH_INFO", "").encode("latin-1"))  # a server that keeps only the decoded path
