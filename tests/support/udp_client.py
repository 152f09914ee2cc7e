"""A client of BEP 15, and a tracker that receives datagrams in this process."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from llmpt.core.networks import CidrSet
from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.visibility import Visibility
from llmpt_tracker.announcer.tracker import Tracker
from llmpt_tracker.announcer.udp.server import DatagramFrontEnd

HASH = b"h" * 20
PROTOCOL_ID = 0x41727101980


class UdpClient:
    """A client of BEP 15, written from its text."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, source: str = "") -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        if source:
            self._socket.bind((source, 0))
        self._socket.settimeout(5)
        self._socket.connect((host, port))
        self.connection = b""

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    def ask(self, data: bytes) -> bytes:
        """Send a datagram; return the answer."""
        self.send(data)
        return self._socket.recv(4096)

    def connect(self) -> None:
        """Get a connection id."""
        action, transaction, self.connection = struct.unpack(">II8s", self.ask(struct.pack(">QII", PROTOCOL_ID, 0, 7)))
        assert (action, transaction) == (0, 7)

    def announce(
        self, info_hash: bytes = HASH, *, left: int = 0, event: int = 2, numwant: int = -1, port: int = 6881, options: bytes = b""
    ) -> bytes:
        """Announce; return the answer."""
        who = b"-XX0000-%012d" % port
        return self.ask(
            struct.pack(">8sII20s20sQQQIIIiH", self.connection, 1, 9, info_hash, who, 0, left, 0, event, 0, 42, numwant, port)
            + options
        )

    def scrape(self, *hashes: bytes) -> bytes:
        """Scrape; return the answer."""
        return self.ask(struct.pack(">8sII", self.connection, 2, 8) + b"".join(hashes))

    def hears_nothing(self) -> bool:
        """Say that nothing came in answer to what was sent before the next question: datagrams on loopback keep their order."""
        return self.ask(struct.pack(">QII", PROTOCOL_ID, 0, 99))[4:8] == struct.pack(">I", 99)

    def close(self) -> None:
        self._socket.close()


def error(answer: bytes) -> str:
    """Read a refusal."""
    assert answer[:4] == struct.pack(">I", 3), answer
    return answer[8:].decode()


def a_tracker(allowed: str = "127.0.0.0/8,::1/128") -> Tracker:
    seeders, store = Seeders(), MemoryStore()
    store.register([HASH])
    return Tracker(store, seeders=seeders, visibility=Visibility(allowed=CidrSet.parse(allowed), seeders=seeders))


@contextmanager
def listening(tracker: Tracker, host: str = "127.0.0.1", *, per_second: int = 2000) -> Iterator[tuple[DatagramFrontEnd, int]]:
    """Have a tracker listen on a host's address; it must be asked from the loop's own executor."""
    front = DatagramFrontEnd(tracker, per_second=per_second)
    try:
        yield front, front.open([host], 0)
    finally:
        front.close()
