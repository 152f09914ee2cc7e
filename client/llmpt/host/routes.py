"""What this host's own routes say: which networks it is on, and which address of its leads where."""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from llmpt.core.networks import Address, CidrSet, Network, parse_address
from llmpt.net.names import NAMES, Names


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """What this host knows of the networks it is on.

    `gateways`: the default gateways.
    `on_link`: the networks reached without one.
    `in_container`: whether we run inside a container engine's network, where a gateway may stand for every client
    (docs/decisions/10-the-sockets-address.md).
    On systems without Linux's /proc all are empty.
    """

    gateways: frozenset[Address] = frozenset()
    on_link: CidrSet = dataclasses.field(default_factory=CidrSet)
    in_container: bool = False

    @classmethod
    def read(cls, proc: Path = Path("/proc/net"), root: Path = Path("/")) -> HostNetwork:
        gateways: set[Address] = set()
        on_link: list[Network] = []
        for destination, mask, gateway in _ipv4_routes(proc / "route"):
            if int(gateway) == 0 and int(mask):  # a default route into a tunnel puts no machine on our link
                on_link.append(ipaddress.ip_network(f"{destination}/{mask}", strict=False))
            elif int(gateway) and int(destination) == 0:
                gateways.add(gateway)
        for network, hop in _ipv6_routes(proc / "ipv6_route"):
            if int(hop) == 0 and not network.is_multicast and network.prefixlen > 0:
                on_link.append(network)
            elif int(hop) and network.prefixlen == 0:
                gateways.add(hop)
        inside = any((root / marker).exists() for marker in (".dockerenv", "run/.containerenv"))
        return cls(frozenset(gateways), CidrSet(tuple(on_link)), inside)

    def is_neighbour(self, address: Address) -> bool:
        """Say whether `address` is another container's on a network of ours, and not that of its gateway."""
        return self.in_container and address in self.on_link and address not in self.gateways


def _ipv4_routes(table: Path) -> Iterable[tuple[ipaddress.IPv4Address, ipaddress.IPv4Address, ipaddress.IPv4Address]]:
    """Yield (destination, mask, gateway) from the kernel's table, whose numbers are little-endian hex."""
    for row in _rows(table)[1:]:
        if row[0] != "lo" and len(row) > 7:
            destination, gateway, mask = (ipaddress.IPv4Address(bytes.fromhex(row[i].zfill(8))[::-1]) for i in (1, 2, 7))
            yield destination, mask, gateway


def _ipv6_routes(table: Path) -> Iterable[tuple[ipaddress.IPv6Network, ipaddress.IPv6Address]]:
    for row in _rows(table):
        if len(row) > 9 and row[9] != "lo":
            destination = ipaddress.IPv6Address(bytes.fromhex(row[0]))
            yield ipaddress.IPv6Network((destination, int(row[1], 16))), ipaddress.IPv6Address(bytes.fromhex(row[4]))


def _rows(table: Path) -> list[list[str]]:
    try:
        return [line.split() for line in table.read_text().splitlines()]
    except OSError:
        return []


def address_towards(host: str, port: int, *, wait_s: float = 2.0, names: Names = NAMES) -> Address | None:
    """Return the address that this host uses to reach `host`; None when there is no route. Sends nothing to it.

    A name is looked up for `wait_s` at most; 0: only what is known counts.
    """
    try:
        places = names.places(host, port, wait_s=wait_s) if wait_s else names.known(host, port)
        for place in places[:1]:
            with socket.socket(place.family, socket.SOCK_DGRAM) as probe:
                probe.connect(place.address)
                return parse_address(probe.getsockname()[0])
    except (OSError, ValueError):
        pass
    return None
