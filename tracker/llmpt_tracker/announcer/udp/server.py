"""The UDP front end (BEP 15): one datagram in, one out, from the event loop's readers.

A sender's address is not proven by a datagram. So what is answered without a connection id is never longer than what was asked,
and costs next to nothing: this server multiplies no flood that is sent in another one's name. One address that asks for more than
its share of a second is not heard for the rest of it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from functools import lru_cache

from llmpt.core.errors import SettingError
from llmpt.core.networks import Address, neighbourhood
from llmpt.host.listening import listen_on
from llmpt.host.routes import address_towards
from llmpt_tracker.announcer.peers.wire import V4_BYTES, V6_BYTES
from llmpt_tracker.announcer.tracker import Tracker
from llmpt_tracker.announcer.udp import packets
from llmpt_tracker.announcer.udp.connections import ConnectionIds
from llmpt_tracker.errors import ClientError

PORT_SETTING = "LLMPT_UDP_ANNOUNCE_PORT"
PER_SECOND = 2000  # datagrams of one address, or IPv6 /64: an agent with so many torrents announces them when it starts
_AT_ONCE = 32  # then it is the turn of what else the loop does
_LEAST_PORT = 1024  # of a sender: below are servers, in whose name others would have us answer
_MAX_BYTES = 2048
_BUFFER_BYTES = 1 << 20
_ADDRESSES_FOR_S = 60
_UNCONNECTED = "that connection id is not of this tracker, or too old: connect again"

log = logging.getLogger(__name__)


class DatagramFrontEnd:
    """The UDP sockets. Nothing listens before `open`. Build it inside a running event loop."""

    def __init__(self, tracker: Tracker, *, per_second: int = PER_SECOND) -> None:
        self._tracker, self._per_second = tracker, per_second
        self._loop = asyncio.get_running_loop()
        self._ids = ConnectionIds()
        self._sockets: list[socket.socket] = []
        self._heard: dict[str, int] = {}  # datagrams of this second, by sender
        self._seconds = 0
        self._reached_at = lru_cache(maxsize=1 << 12)(self._find_reached_at)
        self.port: int | None = None

    def open(self, addresses: Sequence[str], port: int, *, is_any: bool = False) -> int:
        """Listen on every address; return the port. `is_any`: where that port is taken, another one does.

        Does nothing when it listens already. Raises `SettingError` naming the address that cannot be had.
        """
        if self.port is None:
            self._sockets = _listen(addresses, port, is_any=is_any)
            self.port = int(self._sockets[0].getsockname()[1])
            for sock in self._sockets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
                family = V4_BYTES if sock.family == socket.AF_INET else V6_BYTES
                self._loop.add_reader(sock, self._read, sock, family)
        return self.port

    def close(self) -> None:
        """Stop listening."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets = []

    def tick(self) -> None:
        """Begin another second. Call it every second."""
        self._heard = {}
        self._seconds += 1
        if self._seconds % _ADDRESSES_FOR_S == 0:
            self._reached_at.cache_clear()

    def _read(self, sock: socket.socket, family: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, sender = sock.recvfrom(_MAX_BYTES)
            except OSError:  # nothing more, or what an earlier answer came to
                return
            if sender[1] < _LEAST_PORT or not self._is_heard(sender[0], family):
                continue
            answer = self._answer(data, sender[0], family)
            if answer:
                try:
                    sock.sendto(answer, sender)
                except OSError:  # no room, or no way there: it asks again
                    continue

    def _is_heard(self, address: str, family: int) -> bool:
        """Count a datagram; say whether it is one too many of its sender. What comes through a gateway is many senders'."""
        name = address if family == V4_BYTES else neighbourhood(self._tracker.asker(address).address)
        count = self._heard[name] = self._heard.get(name, 0) + 1
        return count <= self._per_second or self._tracker.asker(address).is_gateway

    def _answer(self, data: bytes, address: str, family: int) -> bytes:
        """Answer a datagram; empty: it is none of ours, or has no right to an answer."""
        connection, action, transaction = data[:8], data[8:12], data[12:16]
        if len(transaction) < 4:
            return b""
        if connection == packets.PROTOCOL_ID:
            return packets.CONNECT + transaction + self._ids.give(address) if action == packets.CONNECT else b""
        if action not in (packets.ANNOUNCE, packets.SCRAPE):
            return b""
        if not self._ids.is_good(connection, address):
            return packets.encode_error(transaction, _UNCONNECTED[: len(data) - packets.ERROR_HEAD_BYTES])
        try:
            return self._serve(data, address, family)
        except ClientError as error:
            self._tracker.counts["refusals"] += 1
            return packets.encode_error(transaction, str(error))
        except Exception:
            log.exception("a bug of llmpt in answering %s", address)
            return packets.encode_error(transaction, "something went wrong in the announcer")

    def _serve(self, data: bytes, address: str, family: int) -> bytes:
        asker, transaction = self._tracker.asker(address), data[12:16]
        if data[8:12] == packets.SCRAPE:
            hashes = packets.parse_scrape(data[packets.HEAD_BYTES :])
            counts = self._tracker.scrape(hashes, asker)
            return packets.encode_scrape(transaction, (counts[info_hash] for info_hash in hashes))
        request = packets.parse_announce(data[packets.HEAD_BYTES :])
        reply = self._tracker.announce(request, asker, reached_at=self._reached_at(address))
        return packets.encode_announce(transaction, reply, family=family)

    def _find_reached_at(self, address: str) -> Address | None:
        """Return where a client reaches us: our own address towards it, from which the answer comes. It is not known inside a
        container, whose ports are published at another one."""
        return None if self._tracker.visibility.is_in_container else address_towards(address, 9, wait_s=0)


def _listen(addresses: Sequence[str], port: int, *, is_any: bool) -> list[socket.socket]:
    try:
        return listen_on(addresses, port, setting=PORT_SETTING, kind=socket.SOCK_DGRAM)
    except SettingError:
        if not is_any:
            raise
        return listen_on(addresses, 0, setting=PORT_SETTING, kind=socket.SOCK_DGRAM)
