"""The tracker protocol: announces and scrapes as they come (query bytes) and as they are answered (bencode).

BEP 3 and 23 (compact unless `compact=0`), 7 (`peers6`), 21 (`event=paused`, `downloaders`), 24 (`external ip`), 31
(`retry in`), 48 (scrape), 52 (an info-hash is the first 20 bytes of the SHA-256). The query is split and percent-decoded as
bytes (a `+` is a blank), never as UTF-8, which would destroy the hashes; behind this module no code sees it again. Without
info_hash, peer_id and port no peer can be entered; any other field that makes no sense has its default, as at other trackers.
An answer is always status 200: clients throw away the body of any other.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from llmpt.core import bencode
from llmpt_tracker.errors import ClientError

INTERVAL_S = 900
MIN_INTERVAL_S = 60
RETRY_MINUTES = 1
DEFAULT_NUMWANT = 50
MAX_NUMWANT = 100
MAX_SCRAPE = 74

V4_BYTES = 6  # an endpoint in compact form: address and port, big-endian
V6_BYTES = 18
V6_PREFIX_BYTES = 8  # of an IPv6 address: a /64, which one machine may have

ID_BYTES = 20  # of an info-hash, and of a peer's id

Endpoint = bytes


class Event(Enum):
    """What an announce says about its peer; `NONE` is the regular one."""

    NONE = b""
    STARTED = b"started"
    STOPPED = b"stopped"
    COMPLETED = b"completed"
    PAUSED = b"paused"  # BEP 21: has not everything, and wants no more


_ESCAPED_BYTES = 60  # 20 bytes, each as %XX
_SECRET_BYTES = 32  # more of a client's own key is not looked at
_MAX_DIGITS = 20  # of a number of 64 bits

_REACHABLE = {None: b"", False: b"15:llmpt reachablei0e", True: b"15:llmpt reachablei1e"}
_EVENTS = {event.value: event for event in Event}
_UNKNOWN_LEFT = (1 << 64) - 1  # what libtorrent sends before it has the metainfo: not everything


class AnnounceRequest(NamedTuple):
    """One announce, every field checked. `left` is bytes, and more than there can be where it is not known; `ip` is what the
    client claims, believed only by the gateway rule; `key` is what stood behind `/announce/`, our seeder's or a
    reader's, `secret` what BEP 7 calls `key`; `own_family`: the answer can hold no peers
    of another family than the asker's."""

    info_hash: bytes
    peer_id: bytes
    port: int
    left: int
    event: Event = Event.NONE
    numwant: int = DEFAULT_NUMWANT
    compact: bool = True
    no_peer_id: bool = False
    ip: str = ""
    key: str = ""
    secret: bytes = b""
    own_family: bool = False

    @property
    def owner(self) -> bytes:
        """Who says this: the peer's id, and behind it what it tells no one but trackers."""
        return self.peer_id + self.secret


class AnnounceReply(NamedTuple):
    """The answer to an announce. `peers4` and `peers6` are compact; `peer_ids` is set when the client wants dictionaries.
    `reachable`: whether others can connect to the asker; None when that was not tried. It goes out under a key of ours."""

    complete: int
    incomplete: int
    downloaded: int
    interval_s: int
    peers4: bytes
    peers6: bytes
    external_ip: bytes
    warning: str = ""
    peer_ids: Mapping[Endpoint, bytes] | None = None
    reachable: bool | None = None


class ScrapeEntry(NamedTuple):
    """The counts of one swarm, with BEP 21's `downloaders`: those of `incomplete` that still want something."""

    complete: int = 0
    downloaded: int = 0
    downloaders: int = 0
    incomplete: int = 0


def parse_announce(query: bytes, *, key: bytes = b"") -> AnnounceRequest:
    """Read the raw query of an announce; `key` is what stood behind `/announce/`. Raises `ClientError`."""
    fields = dict([part.partition(b"=")[::2] for part in query.split(b"&")])
    if query.count(b"info_hash=") > 1:
        raise ClientError("info_hash is given more than once")
    get = fields.get
    info_hash = _twenty_bytes("info_hash", get(b"info_hash"))
    peer_id = _twenty_bytes("peer_id", get(b"peer_id"))
    port = _port(get(b"port"))
    ip = get(b"ip", b"")
    return AnnounceRequest(
        info_hash,
        peer_id,
        port,
        _count(get(b"left"), default=_UNKNOWN_LEFT),
        _EVENTS.get(get(b"event", b""), Event.NONE),
        min(_count(get(b"numwant"), default=DEFAULT_NUMWANT), MAX_NUMWANT),
        get(b"compact") != b"0",
        get(b"no_peer_id") == b"1",
        unquote_to_bytes(ip).decode("latin-1") if ip else "",
        announce_key(key) if key else "",
        get(b"key", b"")[:_SECRET_BYTES],
    )


def parse_scrape(query: bytes) -> list[bytes]:
    """Read the raw query of a scrape: its info-hashes, each once. Raises `ClientError`; there is no scrape of everything."""
    values = [part[10:] for part in query.split(b"&") if part.startswith(b"info_hash=")]
    if not values:
        raise ClientError("a scrape names its torrents: info_hash is missing")
    if len(values) > MAX_SCRAPE:
        raise ClientError(f"a scrape may name {MAX_SCRAPE} torrents at most")
    return list(dict.fromkeys(_twenty_bytes("info_hash", value) for value in values))


def encode_announce(reply: AnnounceReply, *, tracker_id: bytes) -> bytes:
    """Write the answer to an announce. `tracker_id`: what the peer sends back as `trackerid`."""
    if reply.peer_ids is not None:
        return _encode_dictionaries(reply, reply.peer_ids, tracker_id)
    return (
        b"d8:completei%de10:downloadedi%de11:external ip%d:%b10:incompletei%de8:intervali%de%b"
        b"12:min intervali%de5:peers%d:%b%b10:tracker id%d:%b%be"
        % (
            reply.complete,
            reply.downloaded,
            len(reply.external_ip),
            reply.external_ip,
            reply.incomplete,
            reply.interval_s,
            _REACHABLE[reply.reachable],
            MIN_INTERVAL_S,
            len(reply.peers4),
            reply.peers4,
            b"6:peers6%d:%b" % (len(reply.peers6), reply.peers6) if reply.peers6 else b"",
            len(tracker_id),
            tracker_id,
            b"15:warning message" + bencode.encode(reply.warning) if reply.warning else b"",
        )
    )


def _encode_dictionaries(reply: AnnounceReply, peer_ids: Mapping[Endpoint, bytes], tracker_id: bytes) -> bytes:
    """Write the answer as BEP 3 had it: a list of dictionaries for both families."""
    peers = []
    for endpoint in (*split(reply.peers4, V4_BYTES), *split(reply.peers6, V6_BYTES)):
        peer: dict[str, object] = {"ip": str(ipaddress.ip_address(endpoint[:-2])), "port": int.from_bytes(endpoint[-2:], "big")}
        if endpoint in peer_ids:
            peer["peer id"] = peer_ids[endpoint]
        peers.append(peer)
    answer: dict[str, object] = {
        "complete": reply.complete,
        "downloaded": reply.downloaded,
        "external ip": reply.external_ip,
        "incomplete": reply.incomplete,
        "interval": reply.interval_s,
        "min interval": MIN_INTERVAL_S,
        "peers": peers,
        "tracker id": tracker_id,
    }
    if reply.reachable is not None:
        answer["llmpt reachable"] = int(reply.reachable)
    if reply.warning:
        answer["warning message"] = reply.warning
    return bencode.encode(answer)


def encode_scrape(entries: Mapping[bytes, ScrapeEntry]) -> bytes:
    """Write the answer to a scrape (BEP 48)."""
    files = {info_hash: entry._asdict() for info_hash, entry in entries.items()}
    return bencode.encode({"files": files, "flags": {"min_request_interval": MIN_INTERVAL_S}})


def encode_failure(reason: str) -> bytes:
    """Write a refusal. The intervals are short: libtorrent would be silent for as long as we say, and ignores `retry in`."""
    return bencode.encode(
        {"failure reason": reason, "interval": MIN_INTERVAL_S, "min interval": MIN_INTERVAL_S, "retry in": RETRY_MINUTES}
    )


def split(compact: bytes, width: int) -> Iterable[Endpoint]:
    """Cut a compact string into its endpoints of `width` bytes."""
    return (compact[i : i + width] for i in range(0, len(compact), width))


def announce_key(value: bytes) -> str:
    """Read what stands behind `/announce/`. Raises `ClientError`."""
    if len(value) > 64 or not value.isalnum():
        raise ClientError("unknown announce key")
    return value.decode("ascii")


def _twenty_bytes(name: str, value: bytes | None) -> bytes:
    if value is None:
        raise ClientError(f"{name} is missing")
    if len(value) > _ESCAPED_BYTES:  # before it is remembered
        raise ClientError(f"{name} must be 20 bytes, percent-encoded")
    decoded = _unescape(value) if b"%" in value or b"+" in value else value
    if len(decoded) != ID_BYTES:
        raise ClientError(f"{name} must be 20 bytes, percent-encoded; it has {len(decoded)}")
    return decoded


@lru_cache(maxsize=1 << 14)  # a client asks for the same hashes again, escaped the same way
def _unescape(value: bytes) -> bytes:
    return unquote_to_bytes(value.replace(b"+", b" "))


def _port(value: bytes | None) -> int:
    if value is None:
        raise ClientError("port is missing")
    if not value.isdigit():
        raise ClientError("port must be a whole number, not negative")
    port = int(value) if len(value) <= _MAX_DIGITS else 0
    if not 0 < port < 65536:
        raise ClientError("port must be between 1 and 65535")
    return port


def _count(value: bytes | None, *, default: int) -> int:
    """Read a number; what is none, or a negative one, is the default, and what is too large for 64 bits the most of them."""
    if value is None or not value.isdigit():
        return default
    return min(int(value), _UNKNOWN_LEFT) if len(value) <= _MAX_DIGITS else _UNKNOWN_LEFT
