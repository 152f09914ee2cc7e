"""The id of each request: its client's, or one of ours; every answer carries it, and every line that is logged of it."""

from __future__ import annotations

import logging
import time

from flask import Response, g, request

from llmpt.core import request_id
from llmpt.host.logs import RequestLines

log = logging.getLogger(__name__)
_served = RequestLines(log.info)

_OF_THE_HUB = "X-Amzn-Trace-Id"  # which huggingface_hub sends; it shows X-Request-Id of an answer in its errors


def begin() -> None:
    """Note what the current request is known by."""
    g.asked_as = request_id.parse(request.headers.get(request_id.HEADER))
    request_id.put(g.asked_as or request_id.parse(request.headers.get(_OF_THE_HUB)) or request_id.new())


def end(_error: BaseException | None) -> None:
    """The request is over."""
    request_id.put("")


def label(response: Response) -> Response:
    """Name the request in its answer, and log it if its client has given it that name."""
    response.headers[request_id.HEADER] = request_id.current()
    if g.asked_as:
        took_s = time.perf_counter() - g.turn_began
        route = request.url_rule or request.endpoint or "no route"  # a path may hold a key
        _served("%s %s for %s: %d in %.3f s", request.method, route, request.remote_addr, response.status_code, took_s)
    return response
