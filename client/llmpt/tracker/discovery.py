"""A LAN's tracker announces itself by mDNS (`_llmpt._tcp.local.`), so that `llmpt join` can list it.

Any machine of the LAN can announce anything: what is found is shown, and used only after the user has said yes. mDNS does not
pass routers or the bridge networks of container engines. Needs the extra `lan` (the library zeroconf).
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmpt.core.errors import LlmptError
from llmpt.core.networks import Address, CidrSet, parse_address
from llmpt.core.words import plain

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf

log = logging.getLogger("llmpt.tracker.discovery")

SERVICE = "_llmpt._tcp.local."
LOOK_S = 2.0
MAX_WORD = 64
NOT_A_LAN = ("docker", "br-", "veth", "virbr", "podman", "cni", "tun", "tap", "wg", "tailscale", "utun")


@dataclass(frozen=True, slots=True)
class Announced:
    """A tracker that announces itself: the name it gives itself, its URLs by address, its version. Nothing of it is checked."""

    name: str
    urls: tuple[str, ...]
    version: str


def find(peer_cidrs: CidrSet, *, look_s: float = LOOK_S, interfaces: Sequence[str] | None = None) -> list[Announced]:
    """Listen for `look_s` seconds; return the trackers announced under addresses inside `peer_cidrs`, in the order of names.

    `interfaces`: the addresses to listen on; None: all. Raises `LlmptError` when the library is missing or nothing can be
    listened to.
    """
    zeroconf = _library()
    found: dict[str, Announced] = {}

    class Listener(zeroconf.ServiceListener):  # type: ignore[misc, name-defined]
        def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            info = zc.get_service_info(type_, name, timeout=int(1000 * look_s))
            tracker = None if info is None else _read(info, peer_cidrs)
            if tracker is not None:
                found[name] = tracker

        def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            self.add_service(zc, type_, name)

        def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            found.pop(name, None)

    with _opened(zeroconf, interfaces) as zc:
        zeroconf.ServiceBrowser(zc, SERVICE, Listener())
        deadline = time.monotonic() + look_s
        while (left_s := deadline - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.1))  # there is no end to wait for: every tracker that is there answers in this time
    return sorted(found.values(), key=lambda one: (one.name, one.urls))


@contextmanager
def announced(*, port: int, version: str, addresses: Sequence[str], tls: bool = False, name: str | None = None) -> Iterator[None]:
    """Announce the tracker on TCP `port` of this host's `addresses`, on their networks, while the block runs.

    `tls`: it speaks TLS there. `name`: the host's, by default; a second of the same name gets a number. Raises `LlmptError`
    as `find`.
    """
    zeroconf = _library()
    host = name or socket.gethostname().partition(".")[0] or "llmpt"
    info = zeroconf.ServiceInfo(
        SERVICE,
        f"{host}.{SERVICE}",
        port=port,
        properties={"version": version, "api": "1"} | ({"tls": "1"} if tls else {}),
        server=f"{host}.local.",
        parsed_addresses=list(addresses),
    )
    with _opened(zeroconf, addresses) as zc:
        try:
            zc.register_service(info, allow_name_change=True)
        except (zeroconf.Error, OSError) as error:
            raise LlmptError(f"the tracker cannot be announced on the LAN: {error or type(error).__name__}") from None
        log.info("announced on the LAN as %s", info.name)
        try:
            yield
        finally:
            zc.unregister_service(info)


def own_addresses(bind: Sequence[str], peer_cidrs: CidrSet) -> list[str]:
    """Return the addresses of this host to announce: those that `bind` names, or all of the host's when it names all.

    Link-local IPv6 ones mean nothing to others and are left out, and so are those outside `peer_cidrs` and, unless `bind`
    names them, those of loopback, container networks and tunnels.
    """
    import ifaddr  # comes with zeroconf

    wanted = {str(parse_address(one.strip("[]"))) for one in bind}
    everywhere = not wanted or bool(wanted & {"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
    found: list[str] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            address = parse_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            on_lan = not address.is_loopback and not adapter.nice_name.startswith(NOT_A_LAN)
            if (str(address) in wanted or (everywhere and on_lan)) and _useful(address, peer_cidrs):
                found.append(str(address))
    return list(dict.fromkeys(found))


def _useful(address: Address, peer_cidrs: CidrSet) -> bool:
    return address in peer_cidrs and not (address.version == 6 and address.is_link_local)


def _read(info: ServiceInfo, peer_cidrs: CidrSet) -> Announced | None:
    """Read an announcement; None when it has no address inside `peer_cidrs`."""
    addresses = [one for one in map(parse_address, info.parsed_addresses()) if _useful(one, peer_cidrs)]
    if not addresses or not info.port:
        return None
    addresses.sort(key=lambda one: (one.version, int(one)))
    hosts = (f"[{one}]" if one.version == 6 else str(one) for one in addresses)
    version = (info.properties.get(b"version") or b"").decode(errors="replace")
    scheme = "https" if info.properties.get(b"tls") == b"1" else "http"
    urls = tuple(f"{scheme}://{host}:{info.port}" for host in hosts)
    return Announced(plain(info.name.removesuffix("." + SERVICE), longest=MAX_WORD), urls, plain(version, longest=MAX_WORD))


@contextmanager
def _opened(zeroconf: Any, interfaces: Sequence[str] | None) -> Iterator[Zeroconf]:
    """Open the library's sockets on the interfaces that have these addresses; None: on all."""
    choice = zeroconf.InterfaceChoice.All if interfaces is None else list(interfaces)
    versions = [zeroconf.IPVersion.V4Only]
    if interfaces is None or any(":" in one for one in interfaces):
        versions.insert(0, zeroconf.IPVersion.All)
    for version in versions:  # a kernel may have no IPv6 at all
        try:
            zc = zeroconf.Zeroconf(choice, ip_version=version)
            break
        except (OSError, RuntimeError) as error:
            reason = error
    else:
        raise LlmptError(f"mDNS cannot be used on this machine's networks: {reason}")
    try:
        yield zc
    finally:
        zc.close()


def _library() -> Any:
    try:
        import zeroconf
    except ImportError:
        raise LlmptError("finding and announcing trackers on the LAN needs zeroconf: pip install 'llmpt[lan]'") from None
    return zeroconf
