"""What a Hub says of one file of a commit, made from the commit's manifest."""

from __future__ import annotations

import json

from llmpt.core.http_head import wanted_part
from llmpt.core.hub_headers import file_headers
from llmpt.hook.questions.question import Question
from llmpt.tracker.blob_streams import Stretch
from llmpt.tracker.catalogue import File
from llmpt.tracker.endpoint import EndpointReply


def described(commit: str, file: File) -> EndpointReply:
    """Answer a HEAD."""
    return EndpointReply(200, (*_headers(commit, file), ("Content-Length", str(file.size_bytes))))


def given(commit: str, file: File, content: bytes, question: Question) -> EndpointReply:
    """Answer a GET, for the whole or for the one part of it that is asked for."""
    span = wanted(file, question)
    return refused(commit, file) if span is None else headed(commit, file, question, span, content[span.start : span.stop])


def wanted(file: File, question: Question) -> range | None:
    """Return the bytes that a GET asks for; None: there are none of them."""
    part = _part(file, question)
    return range(file.size_bytes) if part is None else part or None


def headed(
    commit: str, file: File, question: Question, span: range, body: bytes = b"", rest: Stretch | None = None
) -> EndpointReply:
    """Answer with the bytes `span` of the file, which are `wanted`: `body`, or `rest`."""
    headers = (*_headers(commit, file), ("Content-Length", str(len(span))))
    if _part(file, question) is None:
        return EndpointReply(200, headers, body, rest)
    shown = ("Content-Range", f"bytes {span.start}-{span.stop - 1}/{file.size_bytes}")
    return EndpointReply(206, (*headers, shown), body, rest)


def refused(commit: str, file: File) -> EndpointReply:
    """Answer that the file has none of the bytes that are asked for."""
    shown = (("Content-Range", f"bytes */{file.size_bytes}"), ("Content-Length", "0"))
    return EndpointReply(416, (*_headers(commit, file), *shown))


def absent(commit: str, question: Question) -> EndpointReply:
    """Answer that a commit does not hold the file: with the commit, so that the library may remember it."""
    body = json.dumps({"error": "Entry not found"}).encode()
    headers = (
        ("X-Repo-Commit", commit),
        ("X-Error-Code", "EntryNotFound"),
        ("X-Error-Message", "Entry not found"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", str(len(body))),
    )
    return EndpointReply(404, headers, b"" if question.method == "HEAD" else body)


def _part(file: File, question: Question) -> range | None:
    return wanted_part(question.part.encode(), file.size_bytes)


def _headers(commit: str, file: File) -> tuple[tuple[str, str], ...]:
    headers = file_headers(commit, file.path.value, file.size_bytes, file.etag.value, outside_git=file.etag.is_sha256)
    return tuple(headers.items())
