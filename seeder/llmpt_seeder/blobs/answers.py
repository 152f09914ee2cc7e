"""What is answered to a request for a blob: status, headers, and which of its bytes (RFC 9110: ranges and conditions)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import NamedTuple

from llmpt.core import request_id
from llmpt.core.blob import Etag
from llmpt.core.browsers import SAFE_HEADERS
from llmpt.core.http_head import Head, wanted_part
from llmpt.core.hub_headers import disposition, name_in
from llmpt.core.signed_address import etag_of

_SAFE = tuple(f"{name}: {value}" for name, value in SAFE_HEADERS.items())
RETRY_AFTER_S = 5
_EXPOSED = "ETag, Accept-Ranges, Content-Range, Content-Disposition"


class Answer(NamedTuple):
    """The head of an answer, and what follows it: `body`, or the bytes `span` of the blob."""

    status: HTTPStatus
    fields: tuple[str, ...] = ()
    body: bytes = b""
    span: range = range(0)

    def head(self, *, keep_alive: bool) -> bytes:
        """Write everything up to the body."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", *self.fields, *_SAFE]
        lines += (f"{name}: {value}" for name, value in request_id.header().items())
        if self.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            lines.append(f"Content-Length: {len(self.span) or len(self.body)}")
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
        return "\r\n".join((*lines, "", "")).encode("latin-1")


def is_swarms_peer(head: Head) -> bool:
    """Say whether the client is a peer of a swarm that takes the blob from here, too (BEP 19): our agents call themselves so."""
    program = head.field(b"user-agent").lower()
    return program == b"llmpt" or b"torrent" in program


def refusal(status: int, code: str, message: str, *fields: str) -> Answer:
    """Say no, in the shape of all our APIs."""
    body = json.dumps({"error": {"code": code, "message": message}}).encode() + b"\n"
    return Answer(HTTPStatus(status), ("Content-Type: application/json", *fields), body)


def busy(reason: str) -> Answer:
    """Say that a blob may be here, and when to ask again."""
    return refusal(503, "busy", reason, f"Retry-After: {RETRY_AFTER_S}")


def shown(head: Head) -> str:
    """Return what was asked for: of a signed address, the blob alone."""
    path = head.path.decode("latin-1")
    return f"/blobs/{etag_of(path)}" if etag_of(path) else path


def blob_answer(head: Head, etag: Etag, size: int, *, page: str = "") -> Answer:
    """Answer a GET or HEAD for a blob of `size` bytes: 200, 206, 304 or 416. Several ranges at once get the whole.

    `page`: the origin of a page that may read the answer.
    """
    name = f'"{etag}"'
    fields: tuple[str, ...] = (
        "Content-Type: application/octet-stream",
        f"ETag: {name}",
        "Accept-Ranges: bytes",
    )
    filename = name_in(head.query.decode("latin-1"))
    if filename is not None:
        fields += (f"Content-Disposition: {disposition(filename)}",)
    if page:
        fields += (f"Access-Control-Allow-Origin: {page}", f"Access-Control-Expose-Headers: {_EXPOSED}", "Vary: Origin")
    if _matches(head.field(b"if-none-match"), name):
        return Answer(HTTPStatus.NOT_MODIFIED, fields)
    if_range = head.field(b"if-range")
    span = wanted_part(head.field(b"range"), size) if not if_range or if_range == name.encode() else None
    if span is None or not size:
        return Answer(HTTPStatus.OK, fields if span is None else (*fields, "Content-Range: bytes */0"), span=range(size))
    if not span:
        return refusal(416, "range_not_satisfiable", f"the file has {size} bytes", f"Content-Range: bytes */{size}")
    return Answer(HTTPStatus.PARTIAL_CONTENT, (*fields, f"Content-Range: bytes {span.start}-{span.stop - 1}/{size}"), span=span)


def _matches(condition: bytes, name: str) -> bool:
    tags = [tag.strip().removeprefix(b"w/") for tag in condition.split(b",")]
    return b"*" in tags or name.encode() in tags
