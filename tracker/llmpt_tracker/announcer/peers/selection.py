"""Of which peers of a swarm an asker is told: an announcing peer in compact form, the application as a list."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import NamedTuple

from llmpt.core.networks import Address
from llmpt_tracker.announcer.peers.moment import Moment
from llmpt_tracker.announcer.peers.store import FAMILIES, Peer, Role, SwarmStore
from llmpt_tracker.announcer.peers.subnets import LOOKED_AT
from llmpt_tracker.announcer.peers.visibility import HERE, Asker
from llmpt_tracker.announcer.peers.wire import ID_BYTES, V4_BYTES, AnnounceRequest, Endpoint, Event, split
from llmpt_tracker.control.messages import SwarmPeer

_FOR_SEEDERS = (Role.LEECHER,)
_FOR_LEECHERS = (Role.SEEDER, Role.PAUSED, Role.LEECHER)
_REACHABLE_ONLY, _ALL = (True,), (True, False)


class Group(NamedTuple):
    """Plain peers of a swarm that are alike."""

    info_hash: bytes
    role: Role
    family: int
    is_reachable: bool


class Announcing(NamedTuple):
    """A peer that announces.

    request: what it says
    asker: where it is
    endpoint: under which it is a peer; empty when it is none
    is_seeding: whether it has everything
    reached_at: the literal address at which it reached us, if it is one
    """

    request: AnnounceRequest
    asker: Asker
    endpoint: Endpoint
    is_seeding: bool
    reached_at: Address | None


def chosen(at: Moment, peer: Announcing, *, has_unreachable: bool) -> tuple[bytes, bytes]:
    """Choose up to `numwant` peers, compact, by family: reachable ones before those that are not; of each, tagged ones first,
    then seeders; the asker's own family first, and of that its own subnet. Within, at random. Where no seeder was reachable,
    leechers leave a place to one that was not: it may reach the asker, and has what the asker wants."""
    request = peer.request
    room = request.numwant
    found_of = dict.fromkeys(FAMILIES, b"")
    roles = _FOR_SEEDERS if peer.is_seeding or request.event is Event.PAUSED else _FOR_LEECHERS
    own_first = FAMILIES if len(peer.asker.packed) + 2 == V4_BYTES else FAMILIES[::-1]
    families = own_first[: 1 if request.own_family else 2]
    tagged = at.store.tagged(request.info_hash) if room else ()
    for is_reachable in _ALL if has_unreachable else _REACHABLE_ONLY:
        for endpoint in islice(_endpoints(at, peer, tagged, roles, is_reachable=is_reachable), room):
            found_of[len(endpoint)] += endpoint
            room -= 1
        for role in roles:
            leaves_one = has_unreachable and is_reachable and role is Role.LEECHER and roles is _FOR_LEECHERS and room > 1
            kept = int(leaves_one and not any(found_of.values()))
            for family in families:
                if room > kept:
                    group = Group(request.info_hash, role, family, is_reachable)
                    found = _near(at, group, room - kept, asker=peer.asker, exclude=peer.endpoint)
                    if found:
                        found_of[family] += found
                        room -= len(found) // family
    peers4, peers6 = found_of.values()
    return peers4, peers6


def listed(at: Moment, info_hash: bytes, limit: int, *, asker: Asker) -> list[SwarmPeer]:
    """List up to `limit` peers for `asker`, seeders first, unreachable ones last."""
    found: list[SwarmPeer] = []
    tagged = at.store.tagged(info_hash)
    for is_reachable, role in product(_ALL, _FOR_LEECHERS):
        for peer in tagged:
            is_next = peer.role is role and peer.is_reachable == is_reachable
            shown = at.visibility.shown(peer, asker, now=at.now) if is_next else None
            if shown is not None:
                found.append(SwarmPeer(None if shown is HERE else str(shown), _port(peer.endpoint)))
        for family in FAMILIES:
            plain = _near(at, Group(info_hash, role, family, is_reachable), limit - len(found), asker=asker)
            for endpoint in split(plain, family):
                found.append(SwarmPeer(str(ipaddress.ip_address(endpoint[:-2])), _port(endpoint)))
    return found[:limit]


def _near(at: Moment, group: Group, limit: int, *, asker: Asker, exclude: Endpoint = b"") -> bytes:
    """Return up to `limit` plain peers of a group, compact: of the asker's own subnet before others."""
    subnets, (info_hash, role, family, is_reachable) = at.visibility.subnets, group
    if not subnets or limit <= 0:
        return at.store.plain(info_hash, role, family, limit, exclude=exclude, is_reachable=is_reachable)
    many = at.store.plain(info_hash, role, family, LOOKED_AT, exclude=exclude, is_reachable=is_reachable)
    return b"".join(subnets.near_first(many, family, asker.packed)[:limit])


def peer_ids(store: SwarmStore, request: AnnounceRequest, peers4: bytes, peers6: bytes) -> dict[Endpoint, bytes]:
    """Find the ids of the peers in a dictionary answer. Those whose shown address is not their own have none, and those that
    own their endpoints by nothing but their ids."""
    if request.no_peer_id:
        return {}
    endpoints = [
        endpoint for compact, family in zip((peers4, peers6), FAMILIES, strict=True) for endpoint in split(compact, family)
    ]
    known = [store.peer(request.info_hash, endpoint) for endpoint in endpoints]
    return {peer.endpoint: peer.owner[:ID_BYTES] for peer in known if peer is not None and len(peer.owner) > ID_BYTES}


def _endpoints(
    at: Moment, announcing: Announcing, tagged: Sequence[Peer], roles: tuple[Role, ...], *, is_reachable: bool
) -> Iterator[Endpoint]:
    """Yield the tagged peers that may be told of, under the addresses that the asker sees."""
    for peer in tagged:
        if peer.role not in roles or peer.is_reachable != is_reachable or peer.endpoint == announcing.endpoint:
            continue
        shown = at.visibility.shown(peer, announcing.asker, now=at.now)
        address = announcing.reached_at if shown is HERE else shown
        if address is None or (announcing.request.own_family and len(address.packed) != len(announcing.asker.packed)):
            continue
        if at.visibility.may_hand_out(address):
            yield address.packed + peer.endpoint[-2:]


def _port(endpoint: Endpoint) -> int:
    return int.from_bytes(endpoint[-2:], "big")
