"""The rules of announce and scrape, as functions of a moment, the request, and the asker.

`started` of a known peer is an update; `completed` of an unknown one is a start as seeder, and is counted only when the peer
was no seeder before; `left=0` makes a seeder without being counted; `stopped` of an unknown one succeeds. A peer is its
address and port, and belongs to who has entered it (owners.py). An endpoint that is new is tried once: one that
cannot be reached is told so, and told of last; one that came by `ip=` is told of when a peer of the swarm was found there.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

from llmpt.core.networks import Address, parse_address
from llmpt_tracker.announcer.peers import owners, selection
from llmpt_tracker.announcer.peers.moment import Moment
from llmpt_tracker.announcer.peers.owners import Right
from llmpt_tracker.announcer.peers.selection import Announcing
from llmpt_tracker.announcer.peers.store import LOOPBACK_TAG, Peer, Role
from llmpt_tracker.announcer.peers.visibility import Asker, Visibility
from llmpt_tracker.announcer.peers.wire import INTERVAL_S, AnnounceReply, AnnounceRequest, Endpoint, Event, ScrapeEntry
from llmpt_tracker.errors import ClientError

_LEAST_PORT = 1024  # what listens below is no peer: no client is led to it
TRIED_AGAIN_S = 60.0  # an unreachable endpoint that is new to a swarm: its user may have opened the port

_SEEDER = Role.SEEDER
_STOPPED, _COMPLETED = Event.STOPPED, Event.COMPLETED


class Probes(NamedTuple):
    """What is asked for of endpoints, and done later, or told.

    ask: have one tried
    doubt: the same, and that peer of it dropped that cannot be reached
    prove: call the function when what listens there is a peer of the swarm, unless its owner takes it back
    forget: what its owner does then
    arrived: the peer at one has got the torrent to the end
    """

    ask: Callable[[Endpoint], None] = lambda _: None
    doubt: Callable[[bytes, Endpoint], None] = lambda _hash, _endpoint: None
    prove: Callable[[bytes, Endpoint, bytes, Callable[[], None]], None] = lambda _hash, _endpoint, _owner, _then: None
    forget: Callable[[bytes, Endpoint, bytes], None] = lambda _hash, _endpoint, _owner: None
    arrived: Callable[[bytes, Endpoint], None] = lambda _hash, _endpoint: None


def announce(
    at: Moment,
    request: AnnounceRequest,
    asker: Asker,
    *,
    reached_at: Address | None = None,
    uniform: Callable[[], float] = random.random,
    probes: Probes = Probes(),
) -> AnnounceReply:
    """Record a peer and tell it of others. `reached_at` is the literal address at which the asker reached us, if it is one.

    Raises `ClientError` when the asker or the torrent is none of ours.
    """
    store, visibility, now = at
    check_allowed(asker, request.key, visibility)
    info_hash = request.info_hash
    if info_hash not in store:
        raise ClientError("unregistered torrent")
    if request.key and not visibility.is_known_key(request.key):
        raise ClientError("unknown announce key")
    if request.port < _LEAST_PORT and not request.key:
        raise ClientError(f"no peer is told of a port below {_LEAST_PORT}: something else listens there")
    packed, warning = _peer_address(request, asker, visibility)
    endpoint = packed + request.port.to_bytes(2, "big") if packed else b""
    peer = Announcing(request, asker, endpoint, request.left == 0 or request.event is _COMPLETED, reached_at)
    if request.key:
        visibility.note_announce(request.key, info_hash, endpoint, now)
    reachable = None
    if endpoint:
        reachable, warning = _enter(at, peer, probes, warning)
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


def _enter(at: Moment, peer: Announcing, probes: Probes, warning: str) -> tuple[bool | None, str]:
    """Do with the peer's endpoint what it says, as far as that is its right; return whether it can be reached, and a warning."""
    request, asker, endpoint = peer.request, peer.asker, peer.endpoint
    if request.event is _STOPPED:
        probes.forget(request.info_hash, endpoint, request.owner)
    there = at.store.peer(request.info_hash, endpoint)
    right = owners.right(at, peer, there)
    if right is Right.NONE:
        other = "one of this server's seeders" if there is not None and there.tag else "another peer"
        return None, f"{other} is at {ipaddress.ip_address(endpoint[:-2])} port {request.port}: nothing was entered"
    if request.event is _STOPPED:
        if there is not None and right is Right.ALL:
            owners.leave(at, peer, there)
        elif there is not None:
            owners.renounce(at, peer, there)
            probes.doubt(request.info_hash, endpoint)
        return None, warning
    if asker.is_gateway and there is None and not request.key:
        probes.prove(request.info_hash, endpoint, request.owner, lambda: _record(at, peer, None, right, probes))
        return None, warning
    _record(at, peer, there, right, probes)
    if asker.is_gateway:
        return None, warning
    reachable = _reachable(at, endpoint, probes.ask, is_new=there is None)
    if reachable is False:
        warning = f"nobody can connect to you at {asker.address} port {request.port}: open that port for the LAN"
    return reachable, warning


def check_allowed(asker: Asker, key: str, visibility: Visibility) -> None:
    """Raise `ClientError`, naming the setting, unless the asker is of the LAN, or the seeder beside us by its key."""
    if not asker.is_allowed and not visibility.is_own_seeder(key, asker):
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
    if claimed is None or not visibility.may_hand_out(claimed) or claimed.is_loopback or claimed.is_link_local:
        return b"", f"{through}: without ip= and an address inside LLMPT_PEER_CIDRS no peer is told of you"
    return claimed.packed, f"{through}: others are told of you as {claimed}, once you were found there"


def _record(at: Moment, peer: Announcing, there: Peer | None, right: Right, probes: Probes) -> None:
    """Enter the asker into the store, or its claim."""
    request, store = peer.request, at.store
    if peer.is_seeding:
        role = _SEEDER
    else:
        role = Role.PAUSED if request.event is Event.PAUSED else Role.LEECHER
    if there is not None and right is Right.CLAIM:
        owners.claim(at, peer, there, role)
    else:
        tag = request.key or (LOOPBACK_TAG if peer.asker.is_loopback else None)
        store.put(request.info_hash, peer.endpoint, role, now=at.now, tag=tag, owner=request.owner)
    if request.event is _COMPLETED and there is not None and there.role is not _SEEDER:
        store.add_completed(request.info_hash)
        probes.arrived(request.info_hash, peer.endpoint)


def _reachable(at: Moment, endpoint: Endpoint, probe: Callable[[Endpoint], None], *, is_new: bool) -> bool | None:
    """Say what is known of an endpoint; have it tried when that is nothing, or may have changed."""
    verdict = at.store.verdict(endpoint)
    if verdict is None:
        probe(endpoint)
        return None
    if is_new and not verdict.is_reachable and at.now - verdict.at_s >= TRIED_AGAIN_S:
        probe(endpoint)
    return verdict.is_reachable
