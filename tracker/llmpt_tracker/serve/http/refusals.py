"""Answers of the event loop itself, to clients that no thread hears of."""

from __future__ import annotations

import json
from http import HTTPStatus

from llmpt.core.browsers import SAFE_HEADERS

RETRY_AFTER_S = 2
LIVENESS = b"GET /livez HTTP/"  # is asked by clients whose question is not answered yet
LIVES = b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
CODES = {408: "too_slow", 413: "too_large", 431: "too_large", 503: "busy"}


def liveness(*, gets_on: bool) -> bytes:
    """Write the answer to whether requests are answered here, however many wait for their turn."""
    return LIVES if gets_on else refusal(503, "requests were taken, and for a while none was answered")


def refusal(status: int, message: str) -> bytes:
    """Write a whole answer, after which the connection ends."""
    body = json.dumps({"error": {"code": CODES.get(status, "bad_request"), "message": message}}).encode() + b"\n"
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in SAFE_HEADERS.items()]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append(f"Retry-After: {RETRY_AFTER_S}")
    return "\r\n".join((*lines, "Cache-Control: no-store", "Connection: close", "", "")).encode() + body
