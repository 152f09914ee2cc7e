"""The networks that may talk to us, in CIDR notation, and what this host's own routes say."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import NamedTuple

from llmpt.core.errors import InvalidInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Private, link-local, loopback and unique-local ranges: a LAN.
DEFAULT_PEER_CIDRS = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,127.0.0.0/8,::1/128,fe80::/10,fc00::/7"


def parse_address(text: str) -> Address:
    """Read an IP address; an IPv4 address in IPv6 clothes (`::ffff:a.b.c.d`) becomes IPv4, a zone (`%eth0`) is dropped.

    Raises `ValueError` for anything else, host names among them.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def neighbourhood(address: Address) -> str:
    """Return what one machine may take all addresses of: an IPv4 address itself, or the /64 of an IPv6 address.

    A machine has one IPv4 address, but as many of IPv6 as it likes below one prefix. All machines of a LAN may be below that
    prefix, too: what is limited by neighbourhood is limited by address as well, and the neighbourhood's limit is the larger.
    """
    return str(address) if address.version == 4 else f"{ipaddress.IPv6Address(address.packed[:8] + bytes(8))}/64"


class AddressGroups(NamedTuple):
    """Where something comes from, in groups that one machine may be all of, each within the next.

    machine: the address
    neighbourhood: as `neighbourhood` says
    site: the /48 of an IPv6 address, which a router may be given; an IPv4 address itself
    """

    machine: str
    neighbourhood: str
    site: str

    @classmethod
    def of(cls, address: Address) -> AddressGroups:
        site = str(address) if address.version == 4 else f"{address.packed[:6].hex()}/48"
        return cls(str(address), neighbourhood(address), site)

    @classmethod
    def named(cls, name: str) -> AddressGroups:
        """What has a name instead of an address is a site of its own."""
        return cls(name, name, name)


@dataclass(frozen=True, slots=True)
class CidrSet:
    """A set of networks. `address in cidrs` asks whether one of them contains it."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> CidrSet:
        """Read networks separated by commas or blanks; raise `InvalidInput` naming the first that is none."""
        networks = []
        for item in text.replace(",", " ").split():
            try:
                networks.append(ipaddress.ip_network(item, strict=False))
            except ValueError:
                raise InvalidInput(f"not a network in CIDR notation (such as 192.168.0.0/16): {item!r}") from None
        return cls(tuple(networks))

    def __contains__(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self.networks)

    def __bool__(self) -> bool:
        return bool(self.networks)

    def __str__(self) -> str:
        return ",".join(map(str, self.networks))


def behind_proxies(remote: Address, forwarded_for: str, trusted: CidrSet) -> Address:
    """Return the address that asks, when a socket's is `remote` and X-Forwarded-For says `forwarded_for`.

    The hops are walked from the right as long as they are trusted proxies: what stands left of the first stranger is the
    stranger's own claim. Where a proxy passed on nonsense, the proxy itself is the last that is known.
    """
    address = remote
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    while hops and address in trusted:
        try:
            address = parse_address(hops.pop().strip("[]"))
        except ValueError:
            break
    return address
