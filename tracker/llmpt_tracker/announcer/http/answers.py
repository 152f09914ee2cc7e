"""The answers of a tracker: short, and written in one go (RFC 9112)."""

from __future__ import annotations

from llmpt.core.browsers import SAFE_HEADERS

_SAFE = b"".join(f"{name}: {text}\r\n".encode() for name, text in SAFE_HEADERS.items())
_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    421: b"Misdirected Request",
    431: b"Request Too Large",
    500: b"Internal Server Error",
}


def respond(status: int, body: bytes, *, keep_alive: bool) -> bytes:
    """Write a whole answer. To browsers all of ours are refusals: those have every header that a browser heeds."""
    if status == 200 and keep_alive:
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Content-Type-Options: nosniff\r\n"
            b"Connection: keep-alive\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
    return b"HTTP/1.1 %d %b\r\nContent-Type: text/plain\r\n%bConnection: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        _REASONS[status],
        b"X-Content-Type-Options: nosniff\r\n" if status == 200 else _SAFE,
        b"keep-alive" if keep_alive else b"close",
        len(body),
        body,
    )
