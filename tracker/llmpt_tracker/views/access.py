"""The address that asks, and our own name as it knows it: every answer depends on both.

The address is the socket's. `X-Forwarded-For` counts only as far as the hops are trusted proxies, walked from the right:
what stands left of the first untrusted hop is that hop's own claim.
"""

from __future__ import annotations

import logging

from flask import Request, Response, request

from llmpt.core.browsers import Caller, Refusal, effect_refusal, refusal
from llmpt.core.networks import Address, behind_proxies, parse_address
from llmpt.host.pacing import Paced
from llmpt_tracker.errors import Refused
from llmpt_tracker.state import state
from llmpt_tracker.views.forwarded import HOST, PORTS
from llmpt_tracker.views.hub.request import target

log = logging.getLogger(__name__)
_EXPOSED = (
    "ETag, Link, Accept-Ranges, Content-Range, Content-Disposition, X-Repo-Commit, X-Linked-Size, X-Linked-ETag, X-Error-Code, "
    "X-Error-Message, X-Total-Count"
)
_refused = Paced(log.warning)
_turned_away = Paced(log.warning)


def asker() -> Address:
    """Return the address that sent the current request. Raises `Refused` (403) when there is none."""
    try:
        remote = parse_address(request.remote_addr or "")
    except ValueError:
        raise Refused(403, "address_refused", "this request has no address") from None
    return behind_proxies(remote, ",".join(request.headers.getlist("X-Forwarded-For")), state().settings.trusted_proxies)


def guard() -> None:
    """Refuse addresses outside `LLMPT_PEER_CIDRS` (403).

    But the health check may always come from this host, and a publisher (its token is checked next) from the container
    beside ours: an operator who names the LAN need not know the addresses that the engine gave to the appliance.
    """
    address = asker()
    if address in state().settings.peer_cidrs or (request.path == "/healthz" and address.is_loopback):
        return
    if request.blueprint in ("publishing", "leases", "mirrors") and state().network.is_neighbour(address):
        return
    _refused("refused %s: outside LLMPT_PEER_CIDRS", address)
    raise Refused(
        403, "address_refused", f"{address} is not in LLMPT_PEER_CIDRS, the networks that this tracker answers: set it there"
    )


def guard_pages() -> None:
    """Refuse what a web page of another site asks (403), and a name that could be its own (421)."""
    is_page = request.blueprint in ("pages", "admin", "api_docs", "dist") or request.endpoint == "static"
    is_link = request.method in ("GET", "HEAD") and is_page
    caller = _caller().as_program if foreign_origin() else _caller()
    why = refusal(caller, state().names, is_link=is_link)
    if why is not None:
        _turned_away("refused %s: %s", asker(), why.message)
        raise _as_error(why)


def foreign_origin() -> str:
    """Return the origin of the page that asks, where `LLMPT_ORIGINS` lets it read the Hub's API; else nothing."""
    origin, asked = request.headers.get("Origin", ""), target()
    reads = asked is not None and (request.method in ("GET", "HEAD", "OPTIONS") or asked.route == "paths-info")
    return origin if reads and origin in state().settings.origins else ""


def answer_preflight() -> Response | None:
    """Answer what a browser asks before it lets such a page ask (CORS); None: it is no such question."""
    if request.method != "OPTIONS" or not foreign_origin():
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, POST"
    response.headers["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "")[:1000]
    response.headers["Access-Control-Max-Age"] = "600"
    return response


def let_page_read(response: Response) -> Response:
    """Tell a browser that such a page may read the answer."""
    if origin := foreign_origin():
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        response.vary.add("Origin")
    return response


def guard_effect() -> None:
    """Refuse a browser (403), unless it is shown that a page of ours asks: for what costs or changes something by a GET."""
    why = effect_refusal(_caller())
    if why is not None:
        raise _as_error(why)


def may_have_effect() -> bool:
    """Say whether the current request may make us do something, such as fetch: one of another site's page may not."""
    return effect_refusal(_caller()) is None


def _caller() -> Caller:
    headers = request.headers
    return Caller(
        host=request.environ.get("HTTP_HOST", ""),
        origin=headers.get("Origin", ""),
        referer=headers.get("Referer", ""),
        fetch_site=headers.get("Sec-Fetch-Site", ""),
        user_agent=headers.get("User-Agent", ""),
    )


def _as_error(why: Refusal) -> Refused:
    return Refused(why.status, "host_unknown" if why.status == 421 else "page_refused", why.message)


def authorization() -> str | None:
    """Return the header with the token; a browser has that as a password."""
    basic = request.authorization
    if basic is not None and basic.type == "basic":
        return f"Bearer {basic.password or ''}"
    return request.headers.get("Authorization")


def host_as_asked(request: Request) -> tuple[str, int]:
    """Return the host (IPv6 in brackets) and port under which the client reached us, for addresses that we hand back.

    A `Host` header that is not one is replaced by `LLMPT_ADVERTISE_HOST`, else by `localhost`.
    """
    settings = state().settings
    match = HOST.fullmatch(request.headers.get("Host", ""))
    port = int(match["port"]) if match and match["port"] else PORTS.get(request.scheme, 80)
    if match and 0 < port < 65536:
        return match["name"], port
    host = settings.advertise_host or "localhost"
    return f"[{host}]" if ":" in host else host, settings.http_port


def base_url(request: Request) -> str:
    """Return this tracker's URL as the client would write it: http://server:8000, or https://hub.lan/llmpt behind a proxy."""
    host, port = host_as_asked(request)
    origin = f"{request.scheme}://{host}"
    return (origin if port == PORTS.get(request.scheme) else f"{origin}:{port}") + request.root_path.rstrip("/")
