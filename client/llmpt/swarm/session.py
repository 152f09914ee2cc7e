"""The libtorrent session: the settings that a LAN wants, and why (each was measured).

TCP only (uTP is several times slower on a LAN); no encryption (RC4 halves the speed); no DHT, local discovery, UPnP or
peer exchange (a LAN's tracker knows everyone, and nothing may leak); posix disk I/O (the fastest here, the smallest, and
data is on disk when libtorrent says so); nothing is auto-managed (its queue leaves five seeds active).
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from typing import Any

import libtorrent as lt

from llmpt.core.errors import SwarmError
from llmpt.core.networks import Network
from llmpt.swarm.depth import MOST
from llmpt.swarm.types import EngineSettings

_LOOPBACK = (("127.0.0.0", "127.255.255.255"), ("::1", "::1"))
_LINK_LOCAL = (("169.254.0.0", "169.254.255.255"), ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
_CATEGORIES = ("error", "status", "storage", "connect", "peer", "stats")  # peer: each connection that comes


def open_session(settings: EngineSettings, *, user_agent: str, peer_id: str) -> lt.session:
    """Open a session that listens on `settings.listen` and talks to `settings.peer_cidrs` only, in all torrents as `peer_id`."""
    pack: Any = _pack(settings, user_agent) | {"peer_fingerprint": peer_id}
    params = lt.session_params(pack)
    params.disk_io_constructor = "posix_disk_io_constructor"
    session = lt.session(params)
    session.set_ip_filter(peer_filter(settings))
    return session


def limits(settings: EngineSettings, now: datetime.time) -> dict[str, int]:
    """Return the session's limits, in bytes per second, at the local time `now`; 0 is none."""
    return {"upload_rate_limit": settings.upload_limit.at(now), "download_rate_limit": settings.download_limit.at(now)}


def listening(settings: EngineSettings) -> dict[str, str]:
    """Return where the session listens, and which address it announces.

    libtorrent announces from every address that it listens on, each bound to its device. One from which the tracker cannot
    be reached keeps its announces, and with them the slots of all others, until they time out: of 2,000 torrents 5 got
    through in a second. So only the address towards the tracker announces; an `l` keeps the others to their own subnet,
    in what they begin: peers from anywhere may still connect to them.
    """
    hosts = [host.strip("[]") for host in settings.listen]
    own = _announces_from(settings, hosts)
    entries = (
        f"{f'[{host}]' if ':' in host else host}:{settings.port}{'l' if own and host != own else ''}"
        for host in dict.fromkeys([own, *hosts] if own else hosts)
    )
    return {"listen_interfaces": ",".join(entries), "announce_ip": str(settings.announce_address or "")}


def _announces_from(settings: EngineSettings, hosts: list[str]) -> str | None:
    """Return the one address to announce from; None when it isn't known or isn't listened on: then all of them do."""
    address = settings.announce_address
    if address is None or (address.version == 6 and address.is_link_local):
        return None
    everywhere = "0.0.0.0" if address.version == 4 else "::"  # noqa: S104 - compared, not bound
    return str(address) if str(address) in hosts or everywhere in hosts else None


def await_listening(session: lt.session, settings: EngineSettings) -> None:
    """Wait until the session listens on TCP; raise `SwarmError` with libtorrent's own words when it cannot."""
    deadline = time.monotonic() + 5
    failures: list[str] = []
    while time.monotonic() < deadline:
        session.wait_for_alert(500)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.listen_succeeded_alert) and "TCP" in alert.message():
                return
            if isinstance(alert, lt.listen_failed_alert):
                failures.append(alert.message())
        if len(failures) >= listening(settings)["listen_interfaces"].count(",") + 1:
            break
    reason = "; ".join(failures) or "no answer from the operating system"
    raise SwarmError(f"peers cannot reach us on port {settings.port}: {reason}")


def _pack(settings: EngineSettings, user_agent: str) -> dict[str, Any]:
    mask = 0
    for name in _CATEGORIES:
        mask |= int(getattr(lt.alert_category, name))
    return {
        "user_agent": user_agent,
        "alert_mask": mask,
        "alert_queue_size": 100_000,  # the default drops alerts silently when thousands of torrents start
        **listening(settings),
        "max_retry_port_bind": 0,
        "listen_system_port_fallback": False,
        **limits(settings, datetime.datetime.now().time()),
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "out_enc_policy": 2,  # pe_disabled
        "in_enc_policy": 2,
        "allow_multiple_connections_per_ip": True,  # several machines behind one gateway; several agents on one host
        "ignore_limits_on_local_network": False,  # the operator's limit means this network
        "active_limit": -1,
        "active_seeds": -1,
        "active_downloads": -1,
        "active_tracker_limit": -1,
        "active_checking": 4,
        "unchoke_slots_limit": -1 if settings.shares else 0,
        "allowed_fast_set_size": 5 if settings.shares else 0,
        "connections_limit": 2000,
        "listen_queue_size": 4096,
        "min_reconnect_time": 1,  # the default of 60 s turns every hiccup into a minute
        "peer_connect_timeout": 3,
        "handshake_timeout": 5,
        "connection_speed": 200,
        "max_allowed_in_request_queue": MOST,  # as long as there are few peers
        "whole_pieces_threshold": 0,
        # A downloader keeps its peers until the owner has read which peer sent what; a seeder lets finished peers go.
        "close_redundant_connections": not settings.downloads,
        "inactivity_timeout": 60,
        # The operator names the peers' networks; the tracker may be elsewhere, as the container beside a seeder is.
        "apply_ip_filter_to_trackers": False,
        "min_announce_interval": 30,
        "max_concurrent_http_announces": 50,
        "urlseed_timeout": 5,
        "urlseed_wait_retry": 2,
        "stop_tracker_timeout": 2,
        "tracker_completion_timeout": 10,
        "tracker_receive_timeout": 5,
        "tracker_backoff": 20,
        "aio_threads": 2,
        "hashing_threads": 2,
        "no_connect_privileged_ports": True,  # no peer is a service of a system; of trackers and web seeds it does not hold
        "ssrf_mitigation": True,  # a tracker or a web seed that redirects leads to no service of this machine
        "validate_https_trackers": True,
    }


def peer_filter(settings: EngineSettings, shut: Sequence[Network] = ()) -> lt.ip_filter:
    """Block every address outside the peers' networks, and what is shut out. To a downloader, a tracker names no peer on this
    machine or by a link's own addresses, unless it lies there itself."""
    blocked, cidrs, own = 1, settings.peer_cidrs, settings.announce_address
    rules = lt.ip_filter()
    rules.add_rule("0.0.0.0", "255.255.255.255", blocked)  # noqa: S104 - a rule over all addresses, not a socket
    rules.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", blocked)
    for network in cidrs.networks:
        rules.add_rule(str(network.network_address), str(network.broadcast_address), 0)
    if settings.downloads and own is not None:
        for first, last in (*(() if own.is_loopback else _LOOPBACK), *(() if own.is_link_local else _LINK_LOCAL)):
            rules.add_rule(first, last, blocked)
    for network in shut:
        rules.add_rule(str(network.network_address), str(network.broadcast_address), blocked)
    return rules
