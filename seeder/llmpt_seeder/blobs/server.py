"""The blob server: the sockets it listens on, and a thread for each client, up to a limit."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from llmpt.core.blob import Etag
from llmpt.core.breaker import Pauses
from llmpt.core.browsers import HostNames, Origins
from llmpt.core.networks import Address, AddressGroups, CidrSet, parse_address
from llmpt.core.rates import NO_LIMIT, RateLimit
from llmpt.host import loops
from llmpt.host.anteroom import Anteroom, accepted
from llmpt.host.certificate import Certificate
from llmpt.host.listening import listen_on
from llmpt.host.loops import Health, Rhythm
from llmpt.host.own_names import own_names
from llmpt.host.pacing import Paced
from llmpt.host.routes import HostNetwork
from llmpt.host.visitors import VisitorLimits, Visitors
from llmpt_seeder.blobs.answers import Answer, refusal
from llmpt_seeder.blobs.connection import BlobLimits, Connection, Counter
from llmpt_seeder.blobs.pace import Pace
from llmpt_seeder.blobs.places import Places
from llmpt_seeder.blobs.sources import BlobSource
from llmpt_seeder.settings import SeederSettings

log = logging.getLogger("llmpt.seeder")
_refused = Paced(log.warning)

KNOCKS_EVERY_S = 0.2
END_TIMEOUT_S = 2.0
ACCEPTING = Rhythm(interval_s=0, pauses=Pauses(first_s=0.5, longest_s=5.0))


@dataclass(frozen=True, slots=True)
class Doors:
    """Where clients come in.

    listen, port: the addresses to listen on; port 0 takes a free one
    peer_cidrs: the networks that may come
    network: of this host; the tracker in the container beside ours is let in, as it lets us in
    names: of this server, beside those that no stranger can own
    origins: pages of these may read files
    certificate: with which TLS is spoken, and nothing else; None: no TLS
    """

    listen: Sequence[str]
    port: int
    peer_cidrs: CidrSet
    network: HostNetwork = field(default_factory=HostNetwork)
    names: HostNames = HostNames()
    origins: Origins = Origins()
    certificate: Certificate | None = None

    @classmethod
    def of(cls, settings: SeederSettings) -> Doors:
        """Return those that a seeder was told to have."""
        return cls(
            settings.bind,
            settings.blob_port,
            settings.peer_cidrs,
            network=HostNetwork.read(),
            names=settings.hosts.also(own_names()),
            origins=settings.origins,
            certificate=Certificate(settings.tls_cert, settings.tls_key) if settings.tls_cert is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Notices:
    """What is called when something happens, by any thread.

    on_knock: a client knocks; a few times a second at most
    on_get: a client gets a blob; its address is the second argument
    may_get: says whether the blob at a path may be had, or (True) be asked for by HEAD
    """

    on_knock: Callable[[], None] = lambda: None
    on_get: Callable[[Etag, str], None] = lambda _etag, _address: None
    may_get: Callable[[str, bool], bool] = lambda _path, _looks: True


class BlobServer:
    """Serves the blobs of `sources`, asked in this order, while the `with` block runs; a method may be called by any thread.

    `notices` are called when something happens. Raises `SettingError` when the port is taken.
    """

    def __init__(
        self,
        sources: Sequence[BlobSource],
        doors: Doors,
        *,
        upload_limit: RateLimit = NO_LIMIT,
        notices: Notices = Notices(),
        limits: BlobLimits = BlobLimits(),
        health: Health | None = None,
    ) -> None:
        self._doors, self._limits, self._health = doors, limits, health or Health()
        self._knocks = _Knocks(notices.on_knock)
        self._places = Places(limits.connections)
        self._counter = Counter(
            sources=tuple(sources),
            names=doors.names,
            origins=doors.origins,
            pace=Pace(upload_limit),
            limits=limits,
            places=self._places,
            on_knock=self._knocks.knock,
            on_sent=self._count,
            on_get=notices.on_get,
            may_get=notices.may_get,
            certificate=doors.certificate,
        )
        self._lock = threading.Lock()
        self._sent = self._sent_to_peers = 0
        self._connections: dict[Connection, threading.Thread] = {}
        self._visitors: Visitors[Connection] = Visitors(
            VisitorLimits(limits.per_address, limits.per_neighbourhood, total=1 << 30, reserved=0)
        )
        self._stopping = threading.Event()
        self._listening = listen_on(doors.listen, doors.port, setting="LLMPT_BLOB_PORT")
        self.port = int(self._listening[0].getsockname()[1])
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for sock in (*self._listening, self._woken):
            self._selector.register(sock, selectors.EVENT_READ)
        self._acceptor: threading.Thread | None = None
        self._newcomers: Anteroom[tuple[socket.socket, Address]] = Anteroom(lambda one: AddressGroups.of(one[1]))

    def __enter__(self) -> BlobServer:
        self._acceptor = loops.start("blobs", self._accept, ACCEPTING, stop=self._stopping, health=self._health)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def report(self) -> dict[str, object]:
        """Return what a heartbeat says of us: the port, how many bytes of blobs were sent since the start, and what is odd."""
        trouble = self._places.trouble()
        problems = [{"what": "files over HTTP", "reason": trouble}] if trouble else []
        tls = {} if self._doors.certificate is None else {"blob_tls": True}  # which older trackers do not know
        sent = {"http_bytes": self._sent, "peer_http_bytes": self._sent_to_peers}
        return {"blob_port": self.port, **tls, **sent, "problems": problems}

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._stopping.set()
        self._wake.close()
        if self._acceptor is not None:
            self._acceptor.join(END_TIMEOUT_S)
        self._selector.close()
        for sock in (*self._listening, self._woken, *(sock for sock, _ in self._newcomers.clear())):
            sock.close()
        self._knocks.close()
        with self._lock:
            running = list(self._connections.items())
        for connection, _ in running:
            connection.hang_up()
        deadline = time.monotonic() + END_TIMEOUT_S
        for _, thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        """Take the clients that have come, or wait for one. Raises `OSError` without descriptors for another one."""
        try:
            for key, _ in self._selector.select(0 if self._newcomers else None):
                if key.fileobj is not self._woken and isinstance(key.fileobj, socket.socket):
                    for sock, peer in accepted(key.fileobj):
                        if not self._newcomers.add((sock, parse_address(peer[0]))):
                            sock.close()
        finally:
            self._newcomers.let_in(self._take)

    def _take(self, newcomer: tuple[socket.socket, Address]) -> None:
        sock, address = newcomer
        network = self._doors.network
        is_many = network.in_container and address in network.gateways
        is_own = network.is_neighbour(address) or address == parse_address(sock.getsockname()[0])
        with self._lock:
            own = sum(connection.has_own_place for connection in self._connections)
            has_own_place = is_own and own < self._limits.own
            if not has_own_place and not self._has_room(len(self._connections) - own):
                self._places.turned_away()
                sock.close()
                return
            said = self._refusal(address)
            connection = Connection(sock, self._counter, turned_away=said, address=str(address), has_own_place=has_own_place)
            for other in self._visitors.enter(connection, address.packed, is_many=is_many):
                other.hang_up()
            thread = threading.Thread(target=self._serve, args=(connection,), name="blob client", daemon=True)
            self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError as error:  # the system has no room for another thread
            _refused("a client was turned away: %s", error)
            sock.close()
            self._forget(connection)

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        except Exception:
            log.exception("a request for a blob failed")
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            del self._connections[connection]
            self._visitors.leave(connection)

    def _refusal(self, address: Address) -> Answer | None:
        """Say why a client may not ask here. The tracker in the container beside ours is let in, as it lets us in."""
        if address not in self._doors.peer_cidrs and not self._doors.network.is_neighbour(address):
            _refused("refused %s: outside LLMPT_PEER_CIDRS", address)
            return refusal(403, "address_refused", f"{address} is not in LLMPT_PEER_CIDRS, the networks that this seeder serves")
        return None

    def _has_room(self, count: int) -> bool:
        """Say whether one more may come where there are so many."""
        limits = self._limits
        return count < limits.connections or self._make_room() or count < limits.connections + limits.guests

    def _make_room(self) -> bool:
        """End the connection that has been idle for longest; return whether there was one."""
        guests = (connection for connection in self._connections if not connection.has_own_place)
        idle = [(connection.idle_since, connection) for connection in guests if connection.idle_since is not None]
        if not idle:
            return False
        min(idle, key=lambda one: one[0])[1].hang_up()
        return True

    def _count(self, sent: int, is_peer: bool) -> None:
        with self._lock:
            self._sent += sent
            self._sent_to_peers += sent if is_peer else 0


class _Knocks:
    """Passes knocks on, the last one too, but not every one of a flood."""

    def __init__(self, on_knock: Callable[[], None]) -> None:
        self._on_knock = on_knock
        self._lock = threading.Lock()
        self._last = float("-inf")
        self._later: threading.Timer | None = None

    def knock(self) -> None:
        with self._lock:
            wait_s = self._last + KNOCKS_EVERY_S - time.monotonic()
            if wait_s > 0:
                if self._later is None:
                    self._later = threading.Timer(wait_s, self._knock_later)
                    self._later.daemon = True
                    self._later.start()
                return
            self._last = time.monotonic()
        self._on_knock()

    def close(self) -> None:
        with self._lock:
            if self._later is not None:
                self._later.cancel()

    def _knock_later(self) -> None:
        with self._lock:
            self._later, self._last = None, time.monotonic()
        self._on_knock()
