"""The little of HTTP that a tracker speaks: heads of GET requests in, short answers out (RFC 9112).

Bodies are not read: a request that announces one is refused, so that nothing can hide behind a request line.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from llmpt.core.networks import Address, parse_address

MAX_HEAD_BYTES = 16 << 10  # a scrape of 74 hashes, each fully escaped, has 5.3 kB

_REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 405: b"Method Not Allowed", 431: b"Request Too Large"}


class BadRequest(Exception):
    """What arrived is not a request that we answer; the connection ends after `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Head(NamedTuple):
    """The head of one request. `fields` are the header lines in lower case, each behind its CRLF."""

    path: bytes
    query: bytes
    version: bytes
    fields: bytes

    def field(self, name: bytes) -> bytes:
        """Return the value of the first header `name` (lower case), in lower case; empty when there is none."""
        start = self.fields.find(b"\r\n" + name + b":")
        if start < 0:
            return b""
        start += len(name) + 3
        end = self.fields.find(b"\r\n", start)
        return self.fields[start : end if end >= 0 else None].strip()

    def all_fields(self, name: bytes) -> list[bytes]:
        """Return the values of every header `name`, in the order in which they stand."""
        prefix = name + b":"
        return [line[len(prefix) :].strip() for line in self.fields.split(b"\r\n") if line.startswith(prefix)]

    @property
    def keep_alive(self) -> bool:
        """Say whether the client wants the connection kept: the default of HTTP/1.1 and not that of HTTP/1.0."""
        connection = self.field(b"connection")
        return b"keep-alive" in connection if self.version == b"HTTP/1.0" else b"close" not in connection

    @property
    def reached_at(self) -> Address | None:
        """The address in the Host header, when it is a literal one: where this client reaches us."""
        return literal_host(self.field(b"host"))


def parse_head(data: bytes) -> Head:
    """Read a request's head (without the empty line that ends it). Raises `BadRequest`."""
    end = data.find(b"\r\n")
    line, fields = (data, b"") if end < 0 else (data[:end], data[end:].lower())
    try:
        method, target, version = line.split(b" ")
    except ValueError:
        raise BadRequest(400, "not a request line") from None
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadRequest(400, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if method != b"GET":
        raise BadRequest(405, "only GET is answered here")
    path, _, query = target.partition(b"?")
    head = Head(path, query, version, fields)
    if b"\r\ntransfer-encoding:" in fields or head.field(b"content-length") not in (b"", b"0"):
        raise BadRequest(400, "a GET has no body")
    return head


def respond(status: int, body: bytes, *, keep_alive: bool) -> bytes:
    """Write a whole answer."""
    if status == 200 and keep_alive:
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )
    return b"HTTP/1.1 %d %b\r\nContent-Type: text/plain\r\nConnection: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        _REASONS[status],
        b"keep-alive" if keep_alive else b"close",
        len(body),
        body,
    )


@lru_cache(maxsize=1024)
def literal_host(host: bytes) -> Address | None:
    """Read a Host header (`10.0.0.5:6969`, `[fd00::5]:6969`); None when it holds a name."""
    text = host.decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return parse_address(text)
    except ValueError:
        return None
