"""Where a tracker may send those that ask it: the bounds of what it names.

It names machines of its network. What is on this machine, or reached by a link's own addresses, only a tracker that lies there
itself can name. A redirect leads to the blob that was asked for, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Network
from urllib.parse import urljoin

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput
from llmpt.core.networks import Address, parse_address
from llmpt.core.signed_address import etag_of
from llmpt.net.names import NAMES
from llmpt.tracker.url import HttpUrl

_NAT64, _COMPATIBLE = IPv6Network("64:ff9b::/96"), IPv6Network("::/96")
LEAST_PORT = 1024  # what is below belongs to services of the system
WEB_PORTS = (80, 443)


def may_name(address: Address, tracker: Iterable[Address]) -> bool:
    """Whether a tracker at one of the addresses `tracker` may name a machine at `address`, or at what a gateway sees in it."""
    inner = _embedded(address)
    if inner is not None and not may_name(inner, tracker):
        return False
    if address.is_multicast or address.is_unspecified or (address.version == 4 and int(address) >> 28 == 15):
        return False
    if address.is_loopback:
        return any(one.is_loopback for one in tracker)
    return not address.is_link_local or any(one.is_link_local for one in tracker)


def _embedded(address: Address) -> Address | None:
    """Return the IPv4 address that an IPv6 one leads to: by NAT64 (RFC 6052), by 6to4, or as its last bytes (RFC 4291)."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour


def hop(url: HttpUrl, location: str, etag: Etag) -> HttpUrl:
    """Read a redirect from `url`; raise `InvalidInput` when it does not lead to the blob, or to a port that serves none."""
    found = HttpUrl.parse(urljoin(url.text, location))
    at = found.target.rfind("/blobs/")
    if at < 0 or "?" in found.target or etag_of(found.target[at:]) != etag.value:
        raise InvalidInput(f"redirected to something else than the blob: {found.text:.200}")
    if found.port < LEAST_PORT and found.port not in WEB_PORTS:
        raise InvalidInput(f"redirected to port {found.port}")
    return found


def check_place(found: HttpUrl, tracker: HttpUrl, *, wait_s: float) -> None:
    """Raise `InvalidInput` when a redirect leads to where this tracker may not; `OSError` for a name without address."""
    if (found.host, found.port) == (tracker.host, tracker.port):
        return
    known = tuple(_addresses(tracker, wait_s))
    if not all(may_name(address, known) for address in _addresses(found, wait_s)):
        raise InvalidInput(f"redirected to {found.place}, which only a tracker of that machine or link may name")


def _addresses(url: HttpUrl, wait_s: float) -> list[Address]:
    return [parse_address(str(place.address[0])) for place in NAMES.places(url.host, url.port, wait_s=wait_s)]
