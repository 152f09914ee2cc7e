"""Which of this machine's addresses the agent listens on: those of the chosen network, and never a tunnel's unless named.

The addresses are read with getifaddrs(3), which Linux and macOS have alike.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import ipaddress
import socket
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmpt.core.errors import SettingError
from llmpt.core.networks import Address, parse_address

SYSFS = Path("/sys/class/net")
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound

_IFF_UP, _IFF_POINTOPOINT = 0x1, 0x10
# linux/if_arp.h: PPP, IP in IP, IPv6 in IPv6, SIT, GRE, GRE over IPv6, and devices without a link layer (tun, WireGuard).
_TUNNEL_TYPES = frozenset({512, 768, 769, 776, 778, 823, 65534})


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that is up. `tunnel`: what goes into it leaves the LAN (VPN, PPP)."""

    name: str
    addresses: tuple[Address, ...]
    tunnel: bool = False


def listen_addresses(bind: Sequence[str], chosen: Sequence[str], interfaces: Iterable[Interface]) -> tuple[str, ...]:
    """Return the addresses to listen on.

    `chosen` (names of interfaces, or addresses) wins; else `bind` if it names addresses; else all but those of tunnels.
    Raises `SettingError` when what is chosen is not there.
    """
    up = [interface for interface in interfaces if interface.addresses]
    if chosen:
        return tuple(dict.fromkeys(str(address) for name in chosen for address in _addresses_of(name, up)))
    everywhere = all(host.strip("[]") in EVERYWHERE for host in bind)
    if not everywhere or not any(interface.tunnel for interface in up):
        return tuple(bind)
    versions = {ipaddress.ip_address(host.strip("[]")).version for host in bind}
    return tuple(str(a) for i in up if not i.tunnel for a in i.addresses if a.version in versions)


def announced_address(towards_tracker: Address | None, listen: Sequence[str]) -> Address | None:
    """Return the address to announce: the one towards the tracker if it is listened on, else the first that is."""
    hosts = [host.strip("[]") for host in listen]
    if towards_tracker is None or EVERYWHERE.intersection(hosts) or str(towards_tracker) in hosts:
        return towards_tracker
    addresses = (parse_address(host) for host in hosts)
    return next((a for a in addresses if a.version == towards_tracker.version and not a.is_loopback), None)


def _addresses_of(name: str, interfaces: Sequence[Interface]) -> tuple[Address, ...]:
    for interface in interfaces:
        if name == interface.name:
            return interface.addresses
        if any(name.strip("[]") == str(address) for address in interface.addresses):
            return (parse_address(name.strip("[]")),)
    there = ", ".join(interface.name for interface in interfaces) or "none"
    raise SettingError(f"LLMPT_INTERFACE={name}: no interface of that name or address is up; there are {there}")


def read_interfaces(sysfs: Path = SYSFS) -> tuple[Interface, ...]:
    """Return the interfaces that are up, with their addresses but for IPv6's link-local ones; none where it can't be told."""
    found: dict[str, list[Address]] = {}
    tunnels: set[str] = set()
    for name, flags, address in _getifaddrs():
        if not flags & _IFF_UP:
            continue
        addresses = found.setdefault(name, [])
        if flags & _IFF_POINTOPOINT or _is_tunnel(sysfs / name):
            tunnels.add(name)
        if address is not None and not (address.version == 6 and address.is_link_local):
            addresses.append(address)
    return tuple(Interface(name, tuple(addresses), name in tunnels) for name, addresses in found.items())


def _is_tunnel(device: Path) -> bool:
    """What Linux says of a device: tun and tap have flags of their own, WireGuard names itself."""
    if (device / "tun_flags").exists():
        return True
    try:
        if int((device / "type").read_text()) in _TUNNEL_TYPES:
            return True
        return "DEVTYPE=wireguard" in (device / "uevent").read_text().split()
    except (OSError, ValueError):
        return False


class _IfAddrs(ctypes.Structure):
    pass


_IfAddrs._fields_ = [
    ("next", ctypes.POINTER(_IfAddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]  # more follows, which we don't read


def _getifaddrs() -> list[tuple[str, int, Address | None]]:
    """Return (name, flags, address) as getifaddrs(3) lists them; the address is None for other families than IP."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        first = ctypes.POINTER(_IfAddrs)()
        if libc.getifaddrs(ctypes.byref(first)) != 0:
            return []
    except (OSError, AttributeError):
        return []
    entries = []
    try:
        entry = first
        while entry:
            name = (entry.contents.name or b"").decode(errors="replace")
            entries.append((name, int(entry.contents.flags), _address_at(entry.contents.address)))
            entry = entry.contents.next
    finally:
        libc.freeifaddrs(first)
    return entries


def _address_at(pointer: int | None) -> Address | None:
    """Read a sockaddr: its family is the first two bytes, on macOS the second one alone."""
    if not pointer:
        return None
    head = ctypes.string_at(pointer, 2)
    family = int.from_bytes(head, sys.byteorder) if sys.platform.startswith("linux") else head[1]
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(ctypes.string_at(pointer + 4, 4))
    if family == socket.AF_INET6:
        return ipaddress.IPv6Address(ctypes.string_at(pointer + 8, 16))
    return None
