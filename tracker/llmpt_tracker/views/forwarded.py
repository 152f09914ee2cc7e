"""How a client behind a proxy reached us: X-Forwarded-Proto, -Host, -Port and -Prefix, as far as the proxy is trusted.

They are read once, before anything looks at the request, and put where WSGI has such things: whatever hands out an address of
ours then has the client's own. From any other sender they are nothing. Of a list that value counts which the outermost trusted
proxy set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from llmpt.core.networks import CidrSet, parse_address

HOST = re.compile(r"(?P<name>[A-Za-z0-9_]([A-Za-z0-9._-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+){1,20}")
_SCHEMES = ("http", "https")
PORTS = {"http": 80, "https": 443}

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Any], Iterable[bytes]]


class Forwarded:
    """A WSGI application in front of another one; `trusted` are the proxies of LLMPT_TRUSTED_PROXIES."""

    def __init__(self, app: Wsgi, *, trusted: CidrSet) -> None:
        self._app, self._trusted = app, trusted

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if self._trusted and (hops := self._trusted_hops(environ)):
            _take_over(environ, hops)
        return self._app(environ, start_response)

    def _trusted_hops(self, environ: Environ) -> int:
        """Return how many proxies of ours the request came through, the last of them at the other end of the socket."""
        route = [*environ.get("HTTP_X_FORWARDED_FOR", "").split(","), environ.get("REMOTE_ADDR", "")]
        hops = 0
        for hop in reversed(route):
            try:
                if parse_address(hop.strip()) not in self._trusted:
                    break
            except ValueError:
                break
            hops += 1
        return hops


def _take_over(environ: Environ, hops: int) -> None:
    scheme = _said(environ, "PROTO", hops).lower()
    if scheme in _SCHEMES:
        environ["wsgi.url_scheme"] = scheme
    host, port = _said(environ, "HOST", hops), _said(environ, "PORT", hops)
    if match := HOST.fullmatch(host):
        is_port = port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536
        environ["HTTP_HOST"] = f"{host}:{int(port)}" if match["port"] is None and is_port else host
    prefix = _said(environ, "PREFIX", hops).rstrip("/")
    if _PREFIX.fullmatch(prefix):
        environ["SCRIPT_NAME"] = prefix


def _said(environ: Environ, name: str, hops: int) -> str:
    """Return what the outermost trusted proxy said: each appends, or replaces all that was there."""
    said = [text.strip() for text in environ.get(f"HTTP_X_FORWARDED_{name}", "").split(",")]
    return str(said[-min(hops, len(said))])
