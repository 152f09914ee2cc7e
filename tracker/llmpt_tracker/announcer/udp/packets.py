"""BEP 15, and BEP 41: announces and scrapes as they come in datagrams, and as they are answered.

What a datagram cannot say has its default: there is no `compact`, no warning, and no second family in an answer.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from struct import Struct

from llmpt_tracker.announcer.peers import wire
from llmpt_tracker.announcer.peers.wire import AnnounceReply, AnnounceRequest, Event, ScrapeEntry
from llmpt_tracker.errors import ClientError

PROTOCOL_ID = (0x41727101980).to_bytes(8, "big")  # in place of a connection id, in the request for one
CONNECT, ANNOUNCE, SCRAPE, ERROR = (number.to_bytes(4, "big") for number in range(4))
HEAD_BYTES = 16  # connection id, action, transaction id
ERROR_HEAD_BYTES = 8
MAX_PEERS_BYTES = 1380  # an answer stays within one packet of an Ethernet

_ANNOUNCE = Struct(">20s20s8xQ8xI4s4siH")
_ANNOUNCED, _SCRAPED = Struct(">4s4sIII"), Struct(">III")
_EVENTS = (Event.NONE, Event.COMPLETED, Event.STARTED, Event.STOPPED, Event.PAUSED)  # the last one as libtorrent sends it
_END, _NOTHING, _URL_DATA = range(3)  # BEP 41


def parse_announce(data: bytes) -> AnnounceRequest:
    """Read an announce, behind its head. Raises `ClientError`."""
    if len(data) < _ANNOUNCE.size:
        raise ClientError("an announce has 98 bytes")
    info_hash, peer_id, left, event, ip, secret, numwant, port = _ANNOUNCE.unpack_from(data)
    key = _key(data[_ANNOUNCE.size :]) if len(data) > _ANNOUNCE.size else b""
    if not port:
        raise ClientError("port must be between 1 and 65535")
    return AnnounceRequest(
        info_hash,
        peer_id,
        port,
        left,
        _EVENTS[event] if event < len(_EVENTS) else Event.NONE,
        wire.DEFAULT_NUMWANT if numwant < 0 else min(numwant, wire.MAX_NUMWANT),
        ip="" if ip == b"\0\0\0\0" else socket.inet_ntoa(ip),
        key=wire.announce_key(key) if key else "",
        secret=secret.hex().upper().encode(),  # as it stands in an announce over HTTP
        own_family=True,
    )


def parse_scrape(data: bytes) -> list[bytes]:
    """Read a scrape, behind its head: its info-hashes, as often as they stand there. Raises `ClientError`."""
    if not data or len(data) % wire.ID_BYTES:
        raise ClientError("a scrape names its torrents, with 20 bytes each")
    if len(data) > wire.MAX_SCRAPE * wire.ID_BYTES:
        raise ClientError(f"a scrape may name {wire.MAX_SCRAPE} torrents at most")
    return list(wire.split(data, wire.ID_BYTES))


def encode_announce(transaction: bytes, reply: AnnounceReply, *, family: int) -> bytes:
    """Write the answer to an announce: the peers of the family by which it came."""
    peers = reply.peers4 if family == wire.V4_BYTES else reply.peers6[: MAX_PEERS_BYTES - MAX_PEERS_BYTES % wire.V6_BYTES]
    return _ANNOUNCED.pack(ANNOUNCE, transaction, reply.interval_s, reply.incomplete, reply.complete) + peers


def encode_scrape(transaction: bytes, entries: Iterable[ScrapeEntry]) -> bytes:
    """Write the answer to a scrape: the counts in the order in which they were asked for."""
    counts = (_SCRAPED.pack(one.complete, one.downloaded, one.incomplete) for one in entries)
    return b"".join((SCRAPE, transaction, *counts))


def encode_error(transaction: bytes, reason: str) -> bytes:
    """Write a refusal."""
    return ERROR + transaction + reason.encode()


def _key(options: bytes) -> bytes:
    """Return what stands behind `/announce/` in the URL of the tracker, if a client tells it (BEP 41)."""
    at, url = 0, b""
    while at < len(options) and options[at] != _END:
        if options[at] == _NOTHING:
            at += 1
            continue
        start = at + 2
        at = start + (options[at + 1] if at + 1 < len(options) else 0)
        if options[start - 2] == _URL_DATA:
            url += options[start:at]
    path = url.partition(b"?")[0]
    return path.removeprefix(b"/announce/") if path.startswith(b"/announce/") else b""
