"""What a Hub says of one file of a commit, made from the commit's manifest."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from llmpt.hook.questions.question import Question
from llmpt.tracker.catalogue import File
from llmpt.tracker.endpoint import EndpointReply

_PART = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def described(commit: str, file: File) -> EndpointReply:
    """Answer a HEAD."""
    return EndpointReply(200, (*_headers(commit, file), ("Content-Length", str(file.size_bytes))))


def given(commit: str, file: File, content: bytes, question: Question) -> EndpointReply:
    """Answer a GET, for the whole or for the one part of it that is asked for."""
    headers, size = _headers(commit, file), len(content)
    part = _PART.fullmatch(question.part.replace(" ", ""))
    if part is None or part[0] == "bytes=-":
        return EndpointReply(200, (*headers, ("Content-Length", str(size))), content)
    first = int(part[1]) if part[1] else max(0, size - int(part[2]))
    stop = min(size, int(part[2]) + 1) if part[1] and part[2] else size
    if first >= size or stop <= first:
        return EndpointReply(416, (*headers, ("Content-Range", f"bytes */{size}"), ("Content-Length", "0")))
    shown = (("Content-Range", f"bytes {first}-{stop - 1}/{size}"), ("Content-Length", str(stop - first)))
    return EndpointReply(206, (*headers, *shown), content[first:stop])


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


def _headers(commit: str, file: File) -> tuple[tuple[str, str], ...]:
    name = file.path.value.rpartition("/")[2]
    plain = name.encode("ascii", "replace").decode().translate({34: "_", 63: "_"})
    linked = (("X-Linked-Etag", f'"{file.etag}"'), ("X-Linked-Size", str(file.size_bytes))) if file.etag.is_sha256 else ()
    return (
        ("X-Repo-Commit", commit),
        ("ETag", f'"{file.etag}"'),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", "application/octet-stream"),
        ("Content-Disposition", f"inline; filename*=UTF-8''{quote(name)}; filename=\"{plain}\";"),
        *linked,
    )
