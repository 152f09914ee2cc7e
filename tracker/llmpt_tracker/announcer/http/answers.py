"""The answers of a tracker: short, and written in one go (RFC 9112)."""

from __future__ import annotations

_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    431: b"Request Too Large",
    500: b"Internal Server Error",
}


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
