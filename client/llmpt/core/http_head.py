"""The head of an HTTP request, for servers that read no bodies (RFC 9112): the announcer and the seeder's blob server.

A request that announces a body is refused, so that nothing can hide behind a request line.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

from llmpt.core.errors import InvalidInput
from llmpt.core.networks import Address, parse_address

MAX_HEAD_BYTES = 16 << 10  # a scrape of 74 hashes, each fully escaped, has 5.3 kB
GET_ONLY = (b"GET",)
_FIELDS = re.compile(rb"(?:\r\n[!#$%&'*+.^_`|~0-9a-z-]+:[^\r\n\0]*)*")  # another reader could see other ones
_ONCE = (b"\r\nhost:", b"\r\ncontent-length:")
_MAX_LITERAL = 80  # an IPv6 address in brackets with its zone, and a port
_RANGE = re.compile(rb"bytes[ \t]*=[ \t]*([0-9]{0,19})[ \t]*-[ \t]*([0-9]{0,19})", re.IGNORECASE)


class BadRequest(InvalidInput):
    """What arrived is not a request that we answer; the connection ends after `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Head(NamedTuple):
    """The head of one request. `fields` are the header lines in lower case, each behind its CRLF."""

    method: bytes
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


def parse_head(data: bytes, methods: Collection[bytes] = GET_ONLY) -> Head:
    """Read a request's head (without the empty line that ends it). Raises `BadRequest`, also for a method not of `methods`."""
    end = data.find(b"\r\n")
    line, fields = (data, b"") if end < 0 else (data[:end], data[end:].lower())
    try:
        method, target, version = line.split(b" ")
    except ValueError:
        raise BadRequest(400, "not a request line") from None
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadRequest(400, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if method not in methods:
        raise BadRequest(405, f"only {b', '.join(methods).decode()} is answered here")
    if not _FIELDS.fullmatch(fields) or any(fields.count(name) > 1 for name in _ONCE):
        raise BadRequest(400, "not the lines of a head")
    path, _, query = target.partition(b"?")
    head = Head(method, path, query, version, fields)
    if b"\r\ntransfer-encoding:" in fields or head.field(b"content-length") not in (b"", b"0"):
        raise BadRequest(400, "a request here has no body")
    return head


def literal_host(host: bytes) -> Address | None:
    """Read a Host header (`10.0.0.5:6969`, `[fd00::5]:6969`); None when it holds a name."""
    return _literal_host(host) if len(host) <= _MAX_LITERAL else None  # what is longer is not remembered either


@lru_cache(maxsize=1024)
def _literal_host(host: bytes) -> Address | None:
    text = host.decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return parse_address(text)
    except ValueError:
        return None


def wanted_part(asked: bytes, size: int) -> range | None:
    """Return which of `size` bytes a Range header asks for, empty when there are none of them (RFC 9110, 14.1).

    None: the whole is to be given, for nothing is asked for, several ranges at once, or what makes no sense.
    """
    part = _RANGE.fullmatch(asked)
    if part is None:
        return None
    first, last = part[1], part[2]
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1) if last else size)
