"""The client behind a request: is it still there, and is there a seat for it?"""

from __future__ import annotations

import select
from contextlib import AbstractContextManager, nullcontext

from flask import Response, g, has_request_context, request

from llmpt_tracker.errors import Refused
from llmpt_tracker.seats import is_vital
from llmpt_tracker.state import state

RETRY_AFTER_S = 2
ASIDE = "llmpt.aside"  # in the environment of a request: such a context, of its server
GONE = 499  # no client sees it
_GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


def is_gone() -> bool:
    """Say whether the client of the current request has closed its connection; False where that cannot be seen."""
    sock = request.environ.get("gunicorn.socket") if has_request_context() else None
    if sock is None:
        return False
    poll = select.poll()
    poll.register(sock, _GONE)
    return bool(poll.poll(0))


def aside() -> AbstractContextManager[None]:
    """Return a context in which the current request only waits, and others have its turn."""
    found = request.environ.get(ASIDE) if has_request_context() else None
    return nullcontext() if found is None else found()


def leave_the_gone() -> Response | None:
    """Do nothing for a client that has given up meanwhile: in a storm others wait for the time that it would take."""
    return Response(status=GONE) if is_gone() else None


def take_seat() -> None:
    """Take a seat, unless the request needs none. Raises `Refused` (503) when all are taken."""
    if is_vital(request.path):
        return
    if not state().seats.take():
        raise Refused(503, "busy", "too many requests are answered now; try again in a moment", retry_after_s=RETRY_AFTER_S)
    g.has_seat = True


def give_seat_back(_error: BaseException | None = None) -> None:
    """Leave the seat of a request that is over."""
    if g.pop("has_seat", False):
        state().seats.give_back()
