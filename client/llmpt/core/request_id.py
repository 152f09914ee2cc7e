"""The id of the request that is being served: the hook makes one for each download, and each role that works for it names it.

It goes along in the messages of the agent's socket and in the header `X-Request-Id`, as it does at the Hub. What arrives from
elsewhere is an id only if it has the form of one.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token, copy_context
from functools import partial

HEADER = "X-Request-Id"
_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]{0,63}")

_current: ContextVar[str] = ContextVar("llmpt_request_id", default="")


def new() -> str:
    """Make one."""
    return secrets.token_hex(8)


def parse(text: object) -> str:
    """Read an id that came from elsewhere, in lower case; empty for what is none."""
    return text.lower() if isinstance(text, str) and _FORM.fullmatch(text) else ""


def current() -> str:
    """Return the id of what this thread works for; empty: of no request."""
    return _current.get()


def put(request_id: str) -> Token[str]:
    """Work for this request from here on, in this context; what is returned `take_back` takes."""
    return _current.set(request_id)


def take_back(token: Token[str]) -> None:
    """Work for what was worked for before, in the same context."""
    _current.reset(token)


@contextmanager
def carried(request_id: str) -> Iterator[None]:
    """Work for this request meanwhile."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)


def header() -> dict[str, str]:
    """Return the header by which a server learns it; none without a request."""
    found = _current.get()
    return {HEADER: found} if found else {}


def carrying(step: Callable[[], None]) -> Callable[[], None]:
    """Return `step` so that it works for the present request on whatever thread it runs."""
    return partial(copy_context().run, step)
