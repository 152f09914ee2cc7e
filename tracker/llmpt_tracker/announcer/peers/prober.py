"""Can others connect to a peer? The announcer tries its port: one TCP connection, closed at once.

Only the address that announced itself is ever tried, and only inside LLMPT_PEER_CIDRS. One that was claimed behind a gateway
(`ip=`) must answer as a peer of the swarm before any other is told of it: we knock once, so that no crowd of peers does. Only
where nothing at all answers, because it is dead or because this host sees less than its clients do, others are told, last of all.
Endpoints wait in a queue, are taken from it at a slow pace, and a few at a time; where the queue is full they are tried at a
later announce. What comes out is kept with the peer, in the store.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from llmpt.core.networks import Address
from llmpt.host.loops import Health, Rhythm
from llmpt_tracker.announcer.loops import loop
from llmpt_tracker.announcer.peers.store import SwarmStore
from llmpt_tracker.announcer.peers.wire import V4_BYTES, Endpoint

AT_ONCE = 64
MAX_QUEUED = 10_000
MAX_QUEUED_PER_ADDRESS = 16
MAX_QUEUED_PER_NEIGHBOURHOOD = 256
MAX_PROOFS = 256
MAX_CLAIMS = 8  # of one endpoint, by as many owners, before it is proved
_PROTOCOL = b"\x13BitTorrent protocol"
_ANSWER_BYTES = len(_PROTOCOL) + 8 + 20

# What tells of a trouble of our own, not of the peer's.
_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM, errno.EACCES}
_OURS |= {errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EINVAL}

log = logging.getLogger(__name__)

Connect = Callable[[Address, int, float], Awaitable["bool | None"]]
Greet = Callable[[Address, int, bytes, float], Awaitable["bool | None"]]


class Question(NamedTuple):
    """What is to be found out of an endpoint: whether it can be reached, or with a hash: something about that torrent's peer.

    is_proof: whether it answers as a peer; else it is dropped when it cannot be reached
    """

    endpoint: Endpoint
    info_hash: bytes = b""
    is_proof: bool = False


async def can_greet(address: Address, port: int, info_hash: bytes, timeout_s: float) -> bool | None:
    """Say whether a peer of that swarm answers a handshake within `timeout_s`; None when nothing is there that answers at all."""
    is_there = False

    async def greet() -> bytes:
        nonlocal is_there
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, (str(address), port))
            is_there = True
            await loop.sock_sendall(sock, _PROTOCOL + bytes(8) + info_hash + b"-LLMPT0-" + secrets.token_bytes(12))
            answer = b""
            while len(answer) < _ANSWER_BYTES and (chunk := await loop.sock_recv(sock, _ANSWER_BYTES - len(answer))):
                answer += chunk
            return answer

    try:
        answer = await asyncio.wait_for(greet(), timeout_s)
    except asyncio.TimeoutError:
        return False if is_there else None
    except OSError as error:
        return False if is_there or error.errno == errno.ECONNREFUSED else None
    return answer.startswith(_PROTOCOL) and answer[-20:] == info_hash


async def can_connect(address: Address, port: int, timeout_s: float) -> bool | None:
    """Say whether a connection comes to be within `timeout_s`; None when it is up to this host that it does not."""
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            connected = asyncio.get_running_loop().sock_connect(sock, (str(address), port))
            await asyncio.wait_for(connected, timeout_s)
            return True
    except asyncio.TimeoutError:  # an OSError on newer Pythons, another class on older ones
        return False
    except OSError as error:
        return None if error.errno in _OURS else False


@dataclass(frozen=True, slots=True)
class ProbeTimings:
    """How fast ports are tried, in seconds.

    timeout_s: until a connection must have come to be
    prompt_timeout_s: the same where the answer is waited for
    pace_s: from one try to the next
    """

    timeout_s: float = 3.0
    prompt_timeout_s: float = 1.0
    pace_s: float = 0.01


class Prober:
    """Tries endpoints and notes in the store what became of it. `run` does the work; `ask` only asks for it."""

    def __init__(
        self,
        store: SwarmStore,
        *,
        clock: Callable[[], float],
        connect: Connect = can_connect,
        greet: Greet = can_greet,
        timings: ProbeTimings = ProbeTimings(),
    ) -> None:
        self._store, self._clock, self._connect, self._greet, self._timings = store, clock, connect, greet, timings
        self._queued: dict[Question, None] = {}
        self._claims: dict[Question, dict[bytes, Callable[[], None]]] = {}  # of what is to be proved, by owner
        self._per_address: Counter[bytes] = Counter()
        self._trying: dict[Question, asyncio.Task[None]] = {}
        self._waited_for = self._proofs = 0
        self._wake = asyncio.Event()

    def ask(self, endpoint: Endpoint) -> None:
        """Have an endpoint tried soon, unless it is waiting already, too many are, or it cannot be."""
        self._queue(Question(endpoint))

    def doubt(self, info_hash: bytes, endpoint: Endpoint) -> None:
        """Have an endpoint tried, too, and that peer of it dropped if it cannot be reached."""
        self._queue(Question(endpoint, info_hash))

    def prove(self, info_hash: bytes, endpoint: Endpoint, owner: bytes, then: Callable[[], None]) -> None:
        """Have an endpoint asked for the torrent, and call `then` if it answers as a peer, or not at all.

        Asked again before that: the later `then` of the same owner is called, and no other. Of several owners the first counts.
        """
        question = Question(endpoint, info_hash, is_proof=True)
        if question not in self._claims and not (self._proofs < MAX_PROOFS and self._queue(question)):
            return
        claims = self._claims.setdefault(question, {})
        if owner in claims or len(claims) < MAX_CLAIMS:
            claims[owner] = then

    def forget(self, info_hash: bytes, endpoint: Endpoint, owner: bytes) -> None:
        """Take back what an owner has said of an endpoint that is still to be proved."""
        self._claims.get(Question(endpoint, info_hash, is_proof=True), {}).pop(owner, None)

    async def answers(self, info_hash: bytes, endpoint: Endpoint) -> bool:
        """Say whether a peer of that swarm answers there, within a second."""
        return bool(await self._greet(_address(endpoint), _port(endpoint), info_hash, self._timings.prompt_timeout_s))

    def _queue(self, question: Question) -> bool:
        """Put a question at the end, and say whether it stands there now."""
        crowds = _crowds(question)
        if question in self._queued or question in self._trying or _is_scoped(_address(question.endpoint)):
            return False
        if len(self._queued) >= MAX_QUEUED or any(self._per_address[name] >= most for name, most in crowds):
            return False
        self._queued[question] = None
        self._proofs += question.is_proof
        self._per_address.update(name for name, _ in crowds)
        self._wake.set()
        return True

    async def reach(self, address: Address, port: int) -> bool | None:
        """Try an endpoint now, within a second; None when that cannot be said (too much to do, or an address of one link)."""
        if _is_scoped(address) or self._waited_for >= AT_ONCE:
            return None
        self._waited_for += 1
        try:
            return await self._try(address.packed + port.to_bytes(2, "big"), self._timings.prompt_timeout_s)
        finally:
            self._waited_for -= 1

    async def run(self, health: Health) -> None:
        """Try what is asked for, until cancelled."""
        try:
            await loop("trying ports", self._advance, Rhythm(interval_s=self._timings.pace_s), health=health)
        finally:
            for task in self._trying.values():
                task.cancel()

    async def _advance(self) -> None:
        """Begin with the next endpoint, when there is one and not too many are under way."""
        while not self._queued:
            self._wake.clear()
            await self._wake.wait()
        while len(self._trying) >= AT_ONCE:
            await asyncio.wait(self._trying.values(), return_when=asyncio.FIRST_COMPLETED)
        self._begin(next(iter(self._queued)))

    def _begin(self, question: Question) -> None:
        del self._queued[question]
        self._proofs -= question.is_proof
        for name, _ in _crowds(question):
            self._per_address[name] -= 1
            if not self._per_address[name]:
                del self._per_address[name]
        task = self._trying[question] = asyncio.create_task(self._try_alone(question))
        task.add_done_callback(lambda _: self._ended(question))

    def _ended(self, question: Question) -> None:
        self._trying.pop(question)
        self._claims.pop(question, None)

    async def _try_alone(self, question: Question) -> None:
        endpoint, info_hash = question.endpoint, question.info_hash
        try:
            if question.is_proof:
                found = await self._greet(_address(endpoint), _port(endpoint), info_hash, self._timings.timeout_s)
                then = next(iter(self._claims[question].values()), None)
                if found is not False and then is not None:
                    then()
                    if found is None:
                        self._store.mark(endpoint, is_reachable=False, now=self._clock())
            elif await self._try(endpoint, self._timings.timeout_s) is False and info_hash:
                self._store.remove(info_hash, endpoint)
        except Exception:
            log.exception("a bug of llmpt in trying a port")

    async def _try(self, endpoint: Endpoint, timeout_s: float) -> bool | None:
        found = await self._connect(_address(endpoint), _port(endpoint), timeout_s)
        if found is not None:
            self._store.mark(endpoint, is_reachable=found, now=self._clock())
        return found


def _crowds(question: Question) -> tuple[tuple[bytes, int], ...]:
    """Return of which addresses a question is one of so many."""
    packed = question.endpoint[:-2]
    own = (packed, MAX_QUEUED_PER_ADDRESS)
    return (own,) if len(question.endpoint) == V4_BYTES else (own, (packed[:8], MAX_QUEUED_PER_NEIGHBOURHOOD))


def _port(endpoint: Endpoint) -> int:
    return int.from_bytes(endpoint[-2:], "big")


def _address(endpoint: Endpoint) -> Address:
    return IPv4Address(endpoint[:-2]) if len(endpoint) == V4_BYTES else IPv6Address(endpoint[:-2])


def _is_scoped(address: Address) -> bool:
    """Say whether an address means nothing without the link that it is on, which an announce does not tell."""
    return address.version == 6 and address.is_link_local
