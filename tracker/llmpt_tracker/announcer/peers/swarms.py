"""The rules of announce and scrape, as functions of the store, the request, who asks, and the time.

`started` of a known peer is an update; `completed` of an unknown one is a start as seeder, and is counted only when the peer
was no seeder before; `left=0` makes a seeder without being counted; `stopped` of an unknown one succeeds. A peer is its
address and port, so that no peer stops or moves another's. An endpoint that is new is tried once: who cannot be reached is told
so, and told of last.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable
from itertools import product

from llmpt.core.networks import Address, parse_address
from llmpt_tracker.announcer.peers.store import FAMILIES, LOOPBACK_TAG, Counts, Role, SwarmStore
from llmpt_tracker.announcer.peers.visibility import HERE, Asker, Visibility
from llmpt_tracker.announcer.peers.wire import (
    INTERVAL_S,
    V4_BYTES,
    AnnounceReply,
    AnnounceRequest,
    Endpoint,
    Event,
    ScrapeEntry,
    split,
)
from llmpt_tracker.control.messages import SwarmPeer
from llmpt_tracker.errors import ClientError

_SEEDER, _LEECHER, _PAUSED = Role.SEEDER, Role.LEECHER, Role.PAUSED
_FOR_SEEDERS = (_LEECHER,)
_FOR_LEECHERS = (_SEEDER, _PAUSED, _LEECHER)
TRIED_AGAIN_S = 60.0  # an unreachable endpoint that is new to a swarm: its user may have opened the port

_REACHABLE_ONLY, _ALL = (True,), (True, False)
_STOPPED, _COMPLETED = Event.STOPPED, Event.COMPLETED


def announce(
    store: SwarmStore,
    request: AnnounceRequest,
    asker: Asker,
    *,
    visibility: Visibility,
    now: float,
    reached_at: Address | None = None,
    uniform: Callable[[], float] = random.random,
    probe: Callable[[Endpoint], None] = lambda _: None,
) -> AnnounceReply:
    """Record a peer and tell it of others. `reached_at` is the literal address at which the asker reached us, if it is one.
    `probe` has an endpoint of the asker's own tried, later.

    Raises `ClientError` when the asker or the torrent is none of ours.
    """
    if not visibility.is_own_seeder(request.key, asker):
        check_allowed(asker)
    info_hash = request.info_hash
    if info_hash not in store:
        raise ClientError("unregistered torrent")
    if request.key and not visibility.is_known_key(request.key):
        raise ClientError("unknown announce key")
    packed, warning = _peer_address(request, asker, visibility)
    endpoint = packed + request.port.to_bytes(2, "big") if packed else b""
    seeding = request.left == 0 or request.event is _COMPLETED
    reachable = None
    if request.event is _STOPPED:
        store.remove(info_hash, endpoint)
    elif endpoint:
        is_new = _record(store, request, endpoint, asker, seeding=seeding, now=now)
        if not asker.is_gateway:
            reachable = _reachable(store, endpoint, probe, is_new=is_new, now=now)
            if reachable is False:
                warning = f"nobody can connect to you at {asker.address} port {request.port}: open that port for the LAN"
    counts = count(store, info_hash, visibility=visibility, now=now)
    peers4 = peers6 = b""
    if request.event is not _STOPPED:
        wanted = _FOR_SEEDERS if seeding or request.event is Event.PAUSED else _FOR_LEECHERS
        classes = _ALL if counts.unreachable else _REACHABLE_ONLY
        peers4, peers6 = _choose(store, request, endpoint, wanted, classes, asker, visibility, now, reached_at)
    return AnnounceReply(
        counts.seeders,
        counts.leechers + counts.paused,
        counts.completed,
        int(INTERVAL_S * (0.9 + 0.2 * uniform())),
        peers4,
        peers6,
        asker.packed,
        warning,
        None if request.compact else _peer_ids(store, request, peers4, peers6),
        reachable,
    )


def check_allowed(asker: Asker) -> None:
    """Raise `ClientError`, naming the setting, unless the asker is of the LAN."""
    if not asker.is_allowed:
        raise ClientError(f"this tracker serves its own network: {asker.address} is outside LLMPT_PEER_CIDRS")


def scrape(store: SwarmStore, hashes: Iterable[bytes], *, visibility: Visibility, now: float) -> dict[bytes, ScrapeEntry]:
    """Count the peers of each swarm; zeros for a torrent that is not listed (BEP 48)."""
    entries = {}
    for info_hash in hashes:
        seeders, leechers, paused, completed, _ = count(store, info_hash, visibility=visibility, now=now)
        entries[info_hash] = ScrapeEntry(seeders, completed, leechers, leechers + paused)
    return entries


def count(store: SwarmStore, info_hash: bytes, *, visibility: Visibility, now: float) -> Counts:
    """Count plain and tagged peers; a seeder of ours that has gone silent does not count."""
    counts = store.counts(info_hash)
    tagged = store.tagged(info_hash)
    if not tagged:
        return counts
    extra, unreachable = [0, 0, 0], counts.unreachable
    for peer in tagged:
        if not visibility.is_out(peer, now):
            extra[peer.role] += 1
            unreachable += not peer.is_reachable
    seeders, leechers, paused = counts.seeders + extra[0], counts.leechers + extra[1], counts.paused + extra[2]
    return Counts(seeders, leechers, paused, counts.completed, unreachable)


def peers(
    store: SwarmStore, info_hash: bytes, limit: int, *, asker: Asker, visibility: Visibility, now: float
) -> list[SwarmPeer]:
    """List up to `limit` peers for `asker`, seeders first, unreachable ones last."""
    found: list[SwarmPeer] = []
    tagged = store.tagged(info_hash)
    for is_reachable, role in product(_ALL, _FOR_LEECHERS):
        for peer in tagged:
            is_next = peer.role is role and peer.is_reachable == is_reachable
            shown = visibility.shown(peer, asker, now=now) if is_next else None
            if shown is not None:
                found.append(SwarmPeer(None if shown is HERE else str(shown), _port(peer.endpoint)))
        for family in FAMILIES:
            for endpoint in split(store.plain(info_hash, role, family, limit - len(found), is_reachable=is_reachable), family):
                found.append(SwarmPeer(str(_address(endpoint)), _port(endpoint)))
    return found[:limit]


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


def _record(store: SwarmStore, request: AnnounceRequest, endpoint: Endpoint, asker: Asker, *, seeding: bool, now: float) -> bool:
    """Enter the asker into the store; return whether it is new there."""
    if seeding:
        role = _SEEDER
    else:
        role = _PAUSED if request.event is Event.PAUSED else _LEECHER
    tag = request.key or (LOOPBACK_TAG if asker.is_loopback else None)
    before = store.put(request.info_hash, endpoint, role, now=now, tag=tag, peer_id=request.peer_id)
    if request.event is _COMPLETED and before is not None and before is not _SEEDER:
        store.add_completed(request.info_hash)
    return before is None


def _reachable(
    store: SwarmStore, endpoint: Endpoint, probe: Callable[[Endpoint], None], *, is_new: bool, now: float
) -> bool | None:
    """Say what is known of an endpoint; have it tried when that is nothing, or may have changed."""
    verdict = store.verdict(endpoint)
    if verdict is None:
        probe(endpoint)
        return None
    if is_new and not verdict.is_reachable and now - verdict.at_s >= TRIED_AGAIN_S:
        probe(endpoint)
    return verdict.is_reachable


def _choose(
    store: SwarmStore,
    request: AnnounceRequest,
    endpoint: Endpoint,
    roles: tuple[Role, ...],
    classes: tuple[bool, ...],
    asker: Asker,
    visibility: Visibility,
    now: float,
    reached_at: Address | None,
) -> tuple[bytes, bytes]:
    """Choose up to `numwant` peers, compact, by family: in each class (reachable or not, in the order that is given) tagged
    ones first, then seeders; the asker's own family first."""
    room = request.numwant
    chosen = dict.fromkeys(FAMILIES, b"")
    tagged = store.tagged(request.info_hash) if room else ()
    families = FAMILIES if len(asker.packed) + 2 == V4_BYTES else FAMILIES[::-1]
    for is_reachable in classes:
        for peer in tagged:
            if peer.role not in roles or peer.is_reachable != is_reachable or peer.endpoint == endpoint:
                continue
            shown = visibility.shown(peer, asker, now=now)
            address = reached_at if shown is HERE else shown
            if room and address is not None and visibility.may_hand_out(address):
                shown_as = address.packed + peer.endpoint[-2:]
                chosen[len(shown_as)] += shown_as
                room -= 1
        for role in roles:
            for family in families:
                if room > 0:
                    found = store.plain(request.info_hash, role, family, room, exclude=endpoint, is_reachable=is_reachable)
                    if found:
                        chosen[family] += found
                        room -= len(found) // family
    peers4, peers6 = chosen.values()
    return peers4, peers6


def _peer_ids(store: SwarmStore, request: AnnounceRequest, peers4: bytes, peers6: bytes) -> dict[Endpoint, bytes]:
    """Find the ids of the peers in a dictionary answer; those whose shown address is not their own have none."""
    if request.no_peer_id:
        return {}
    endpoints = [
        endpoint for compact, family in zip((peers4, peers6), FAMILIES, strict=True) for endpoint in split(compact, family)
    ]
    known = [store.peer(request.info_hash, endpoint) for endpoint in endpoints]
    return {peer.endpoint: peer.peer_id for peer in known if peer is not None}


def _address(endpoint: Endpoint) -> Address:
    return ipaddress.ip_address(endpoint[:-2])


def _port(endpoint: Endpoint) -> int:
    return int.from_bytes(endpoint[-2:], "big")
