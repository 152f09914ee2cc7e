"""Where a request begins and ends (RFC 9112), as far as the event loop has to know: gunicorn's parser reads the rest.

What the two could read differently is refused here, so that no client hides a request in the body of another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmpt.core.http_head import BadRequest

MAX_HEAD_BYTES = 32 << 10
MAX_CHUNKS = 16_384  # of one body: each takes its time, however small it is
_MAX_LINE = 256  # of a chunk's head, or a trailer
_MAX_TRAILERS = 16
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r]*?)[ \t]*(?=\r\n|$)")
_CODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r]*?)[ \t]*(?=\r\n|$)")
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n|$)")
_CHUNK = re.compile(rb"([0-9a-f]{1,8})[ \t]*(;.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Frame:
    """What the head of a request says of its body.

    size: of the body in bytes; None when it comes in chunks
    expects: whether the client waits to be told to go on before it sends the body
    """

    size: int | None
    expects: bool


def head_end(data: bytes | bytearray) -> int:
    """Return where the head ends, behind its empty line; -1 while it does not. Raises `BadRequest` (431)."""
    end = data.find(b"\r\n\r\n")
    if (len(data) if end < 0 else end) > MAX_HEAD_BYTES:
        raise BadRequest(431, "the head of the request is too long")
    return end + 4 if end >= 0 else -1


def frame_of(head: bytes, max_body_bytes: int) -> Frame:
    """Read a head (with its empty line). Raises `BadRequest`, with 413 for a body that is longer than any may be."""
    fields = head[:-4].lower()
    if _BARE.search(fields):
        raise BadRequest(400, "the lines of a request's head end with CR LF")
    lengths, codings = _LENGTH.findall(fields), _CODING.findall(fields)
    expects = bool(_EXPECTS.search(fields))
    if codings:
        if lengths or len(codings) > 1:
            raise BadRequest(400, "a body has one length")
        if codings[0] != b"chunked":
            raise BadRequest(501, "of transfer codings only chunked is read here")
        return Frame(None, expects)
    if not lengths:
        return Frame(0, expects=False)
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise BadRequest(400, "Content-Length: one number of bytes")
    size = int(lengths[0])
    if size > max_body_bytes:
        raise BadRequest(413, f"a body here has {max_body_bytes} bytes at most")
    return Frame(size, expects and size > 0)


class Chunks:
    """Finds the end of a body in chunks. Its bytes are passed on as they come: the parser takes them out of their chunks."""

    def __init__(self, max_body_bytes: int) -> None:
        self._left, self._chunks_left = max_body_bytes, MAX_CHUNKS
        self._skip = 0  # bytes of the chunk, and of its CR LF, that are still to come
        self._line = b""
        self._trailers: int | None = None

    def feed(self, data: bytes) -> int:
        """Take what has come; return how much of it is the body's when its end is there, else -1. Raises `BadRequest`."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            end = data.find(b"\n", at)
            stop = len(data) if end < 0 else end + 1
            self._line += data[at:stop]
            at = stop
            if len(self._line) > _MAX_LINE:
                raise BadRequest(400, "not the chunks of a body")
            if end >= 0 and self._ends(self._take_line()):
                return at
        return -1

    def _take_line(self) -> bytes:
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise BadRequest(400, "not the chunks of a body")
        return line[:-2]

    def _ends(self, line: bytes) -> bool:
        if self._trailers is not None:
            self._trailers += 1
            if line and self._trailers > _MAX_TRAILERS:
                raise BadRequest(400, "too much behind the body")
            return not line
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise BadRequest(400, "not the chunks of a body")
        size = int(match[1], 16)
        self._left -= size
        self._chunks_left -= 1
        if self._chunks_left < 0:
            raise BadRequest(413, "a body here has fewer and larger chunks")
        if self._left < 0:
            raise BadRequest(413, "the body is too long")
        if size:
            self._skip = size + 2
        else:
            self._trailers = 0
        return False
