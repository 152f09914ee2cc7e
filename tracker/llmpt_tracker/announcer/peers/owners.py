"""To whom an endpoint belongs: who has entered it, by a seeder's key, or by its peer id and what it tells trackers alone.

Several machines may have one address, and behind an engine that hides its clients all have. So what another one says of an
endpoint neither removes it nor makes it less: it is noted as a claim, which comes true when the owner leaves or falls silent.
An agent that was killed and started anew is such another one, at its own endpoint: it is told of meanwhile, as it was before.
"""

from __future__ import annotations

from enum import Enum

from llmpt_tracker.announcer.peers.moment import Moment
from llmpt_tracker.announcer.peers.selection import Announcing
from llmpt_tracker.announcer.peers.store import Claim, Peer, Role
from llmpt_tracker.announcer.peers.wire import INTERVAL_S, Event

OWNED_S = INTERVAL_S + INTERVAL_S // 10 + 10  # an owner announces within the interval, which is spread by a tenth


class Right(Enum):
    """What one may do with an endpoint."""

    ALL = "it is its own, or nobody's"
    CLAIM = "it is another one's at the same address"
    NONE = "it is a seeder's of ours, or cannot be of the address that asks"


def right(at: Moment, peer: Announcing, there: Peer | None) -> Right:
    """Say what who announces may do with its endpoint, where `there` is known of it."""
    request = peer.request
    if there is None or (request.key and request.key == there.tag):
        return Right.ALL
    if there.tag:
        is_free = at.visibility.is_out(there, at.now) and request.event is not Event.STOPPED
        return Right.ALL if is_free else Right.NONE
    if request.key or there.owner == request.owner or at.now - there.owned_s >= OWNED_S:
        return Right.ALL
    return Right.NONE if peer.asker.is_gateway else Right.CLAIM


def claim(at: Moment, peer: Announcing, there: Peer, role: Role) -> None:
    """Note that who announces says to be at another one's endpoint. That it has everything is believed at once."""
    info_hash, now = peer.request.info_hash, at.now
    if role is Role.SEEDER and there.role is not role:
        at.store.put(info_hash, there.endpoint, role, now=now, tag=there.tag, owner=there.owner)
    at.store.claim(info_hash, there.endpoint, Claim(peer.request.owner, role), now=now)


def leave(at: Moment, peer: Announcing, there: Peer) -> None:
    """Let an owner leave its endpoint: to who claims it, if there is one."""
    info_hash = peer.request.info_hash
    if there.claim is None:
        at.store.remove(info_hash, there.endpoint)
    else:
        at.store.put(info_hash, there.endpoint, there.claim.role, now=at.now, tag=there.tag, owner=there.claim.owner)


def renounce(at: Moment, peer: Announcing, there: Peer) -> None:
    """Drop the claim of who leaves, if it is its."""
    if there.claim is not None and there.claim.owner == peer.request.owner:
        at.store.claim(peer.request.info_hash, there.endpoint, None, now=at.now)
