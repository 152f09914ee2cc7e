"""What a request brings: the parameters of its query, each known and given once, and its body, as it is and not too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from llmpt.core.documents import read_json
from llmpt.core.errors import InvalidInput
from llmpt.core.repo import RepoRef
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import search
from llmpt_tracker.views.access import may_have_effect


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


def terms(args: Mapping[str, str]) -> tuple[str, ...]:
    """Return the words to look for, of `q`; none where it is not given."""
    return search.terms(args["q"]) if "q" in args else ()


def repo_named(repo_type: str, repo_id: str) -> RepoRef:
    """Return the repo of that name; raise `Refused` (400) when there can be none."""
    try:
        return RepoRef(repo_type, repo_id)
    except InvalidInput as error:
        raise Refused(400, "bad_request", str(error)) from None


def body(max_bytes: int, *, is_question: bool = False) -> bytes:
    """Return the body of the current request; raise 413 when it is longer than `max_bytes`, 415 when it is packed.

    Where it is no mere question, it has to be called JSON (415), or to come with a token, or without any name from a program: no
    page of another site can do that.
    """
    has_token = "Authorization" in request.headers  # which a browser asks us about first, and we say nothing
    if not (is_question or has_token or request.is_json) and (request.content_type or not may_have_effect()):
        raise Refused(415, "unsupported_media_type", "send JSON, with Content-Type: application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(415, "unsupported_media_type", "send the body as it is, without Content-Encoding")
    request.max_content_length = max_bytes
    data = request.get_data(cache=False)
    if request.content_length is None and len(data) >= max_bytes:
        raise RequestEntityTooLarge  # sent in chunks, and cut off at the limit
    return data


def document(max_bytes: int) -> Any:
    """Return the JSON of the body; raise as `body` does, and `Refused` (400) for what is no JSON."""
    try:
        return read_json(body(max_bytes), most_bytes=max_bytes)
    except InvalidInput as error:
        raise Refused(400, "bad_request", str(error)) from None
