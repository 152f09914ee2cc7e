"""The rules of announce and scrape, as functions of a moment, the request, and the asker.

`started` of a known peer is an update; `completed` of an unknown one is a start as seeder, and is counted only when the peer
was no seeder before; `left=0` makes a seeder without being counted; `stopped` of an unknown one succeeds. A peer is its
address and port, so that no peer stops or moves another's. An endpoint that is new is tried once: one that
cannot be reached is told so, and told of last.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from llmpt.core.networks import Address, parse_address
from llmpt_tracker.announcer.peers import selection
from llmpt_tracker.announcer.peers.moment import Moment
from llmpt_tracker.announcer.peers.selection import Announcing
from llmpt_tracker.announcer.peers.store import LOOPBACK_TAG, Role, SwarmStore
from llmpt_tracker.announcer.peers.visibility import Asker, Visibility
from llmpt_tracker.announcer.peers.wire import INTERVAL_S, AnnounceReply, AnnounceRequest, Endpoint, Event, ScrapeEntry
from llmpt_tracker.errors import ClientError

TRIED_AGAIN_S = 60.0  # an unreachable endpoint that is new to a swarm: its user may have opened the port

_SEEDER = Role.SEEDER
_STOPPED, _COMPLETED = Event.STOPPED, Event.COMPLETED


def announce(
    at: Moment,
    request: AnnounceRequest,
    asker: Asker,
    *,
    reached_at: Address | None = None,
    uniform: Callable[[], float] = random.random,
    probe: Callable[[Endpoint], None] = lambda _: None,
) -> AnnounceReply:
    """Record a peer and tell it of others. `reached_at` is the literal address at which the asker reached us, if it is one.
    `probe` has an endpoint of the asker's own tried, later.

    Raises `ClientError` when the asker or the torrent is none of ours.
    """
    store, visibility, now = at
    if not visibility.is_own_seeder(request.key, asker):
        check_allowed(asker)
    info_hash = request.info_hash
    if info_hash not in store:
        raise ClientError("unregistered torrent")
    if request.key and not visibility.is_known_key(request.key):
        raise ClientError("unknown announce key")
    packed, warning = _peer_address(request, asker, visibility)
    endpoint = packed + request.port.to_bytes(2, "big") if packed else b""
    peer = Announcing(request, asker, endpoint, request.left == 0 or request.event is _COMPLETED, reached_at)
    reachable = None
    if _is_of_our_seeder(at, peer):
        warning = f"one of this server's seeders is at {asker.address} port {request.port}: nothing was entered"
    elif request.event is _STOPPED:
        store.remove(info_hash, endpoint)
    elif endpoint:
        is_new = _record(store, peer, now)
        if not asker.is_gateway:
            reachable = _reachable(at, endpoint, probe, is_new=is_new)
            if reachable is False:
                warning = f"nobody can connect to you at {asker.address} port {request.port}: open that port for the LAN"
    counts = at.counts(info_hash)
    peers4 = peers6 = b""
    if request.event is not _STOPPED:
        peers4, peers6 = selection.chosen(at, peer, has_unreachable=counts.unreachable > 0)
    return AnnounceReply(
        counts.seeders,
        counts.leechers + counts.paused,
        counts.completed,
        int(INTERVAL_S * (0.9 + 0.2 * uniform())),
        peers4,
        peers6,
        asker.packed,
        warning,
        None if request.compact else selection.peer_ids(store, request, peers4, peers6),
        reachable,
    )


def _is_of_our_seeder(at: Moment, peer: Announcing) -> bool:
    """Say whether a peer without a key claims the endpoint of a seeder of ours that is alive."""
    if peer.request.key or not peer.endpoint:
        return False
    there = at.store.peer(peer.request.info_hash, peer.endpoint)
    return there is not None and bool(there.tag) and not at.visibility.is_out(there, at.now)


def check_allowed(asker: Asker) -> None:
    """Raise `ClientError`, naming the setting, unless the asker is of the LAN."""
    if not asker.is_allowed:
        raise ClientError(f"this tracker serves its own network: {asker.address} is outside LLMPT_PEER_CIDRS")


def scrape(at: Moment, hashes: Iterable[bytes]) -> dict[bytes, ScrapeEntry]:
    """Count the peers of each swarm; zeros for a torrent that is not listed (BEP 48)."""
    entries = {}
    for info_hash in hashes:
        seeders, leechers, paused, completed, _ = at.counts(info_hash)
        entries[info_hash] = ScrapeEntry(seeders, completed, leechers, leechers + paused)
    return entries


def _peer_address(request: AnnounceRequest, asker: Asker, visibility: Visibility) -> tuple[bytes, str]:
    """Return the address under which the asker is a peer (packed; empty when it is none), and a warning.

    It is the socket's. Behind a gateway everyone seems to be the gateway: there, and only there, `ip=` is believed.
    """
    if not asker.is_gateway:
        return asker.packed, ""
    try:
        claimed = parse_address(request.ip)
    except ValueError:
        claimed = None
    through = f"your announces come through the gateway {asker.address}"
    if claimed is None or not visibility.may_hand_out(claimed) or claimed.is_loopback:
        return b"", f"{through}: without ip= and an address inside LLMPT_PEER_CIDRS no peer is told of you"
    return claimed.packed, f"{through}: others are told of you as {claimed}"


def _record(store: SwarmStore, peer: Announcing, now: float) -> bool:
    """Enter the asker into the store; return whether it is new there."""
    request = peer.request
    if peer.is_seeding:
        role = _SEEDER
    else:
        role = Role.PAUSED if request.event is Event.PAUSED else Role.LEECHER
    tag = request.key or (LOOPBACK_TAG if peer.asker.is_loopback else None)
    before = store.put(request.info_hash, peer.endpoint, role, now=now, tag=tag, peer_id=request.peer_id)
    if request.event is _COMPLETED and before is not None and before is not _SEEDER:
        store.add_completed(request.info_hash)
    return before is None


def _reachable(at: Moment, endpoint: Endpoint, probe: Callable[[Endpoint], None], *, is_new: bool) -> bool | None:
    """Say what is known of an endpoint; have it tried when that is nothing, or may have changed."""
    verdict = at.store.verdict(endpoint)
    if verdict is None:
        probe(endpoint)
        return None
    if is_new and not verdict.is_reachable and at.now - verdict.at_s >= TRIED_AGAIN_S:
        probe(endpoint)
    return verdict.is_reachable
