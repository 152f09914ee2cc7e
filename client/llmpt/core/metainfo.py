"""The metainfo of one blob: pure BitTorrent v2 (BEP 52), and a pure function of the content.

Policy 1, never to change (another policy would be another number beside it): the name is the etag, there is one file, the
piece length is the smallest power of two p ≥ 64 KiB with 4096·p ≥ size, at most 4 MiB; no dates, no attributes, nothing
else in `info`. The same blob therefore has the same info-hash on every machine.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from llmpt.core import bencode, merkle
from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidName, MetainfoError

POLICY = 1
MIN_PIECE_BYTES = 64 << 10
MAX_PIECE_BYTES = 4 << 20
PIECES_WANTED = 4096
MAX_PUBLISH_BYTES = 10 << 20  # of a body of POST /api/v1/publish
PUBLISH_BYTES = 7 << 20  # of torrents or files that are put into one
MAX_METAINFO_BYTES = 10 << 20
MAX_BLOB_BYTES = 16 << 40  # far above any file of the Hub; keeps the arithmetic on what strangers send bounded

_V2_HEX = re.compile(r"[0-9a-f]{64}")
_V1_HEX = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, order=True)
class InfoHash:
    """The SHA-256 of an info dictionary: 32 bytes. Raises `InvalidName` for anything else."""

    digest: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.digest, bytes) or len(self.digest) != 32:
            raise InvalidName("an info-hash is 32 bytes (BEP 52)")

    @classmethod
    def from_hex(cls, text: str) -> InfoHash:
        """Read 64 lower-case hex digits."""
        if not _V2_HEX.fullmatch(text):
            raise InvalidName(f"not an info-hash (64 lower-case hex digits): {text!r:.80}")
        return cls(bytes.fromhex(text))

    @property
    def truncated(self) -> bytes:
        """The first 20 bytes: what trackers and handshakes use (BEP 52)."""
        return self.digest[:20]

    def __str__(self) -> str:
        return self.digest.hex()


def piece_length_for(size: int) -> int:
    """Return the piece length in bytes that policy 1 gives a blob of `size` bytes."""
    length = MIN_PIECE_BYTES
    while length < MAX_PIECE_BYTES and PIECES_WANTED * length < size:
        length *= 2
    return length


@dataclass(frozen=True, slots=True)
class Metainfo:
    """The torrent of one blob.

    `size` and `piece_length` are bytes; `root` is the 32-byte pieces root; `layer` holds 32 bytes per piece, or nothing
    for a blob of one piece.
    """

    etag: Etag
    size: int
    root: bytes
    layer: bytes

    def __post_init__(self) -> None:
        if not 0 < self.size <= MAX_BLOB_BYTES:
            raise MetainfoError(f"a torrent of {self.size} bytes: a blob with a swarm has between 1 byte and 16 TiB")
        if len(self.root) != 32:
            raise MetainfoError("the pieces root must be 32 bytes")
        expected = 32 * self.piece_count if self.piece_count > 1 else 0
        if len(self.layer) != expected:
            raise MetainfoError(f"the piece layer has {len(self.layer)} bytes where {self.size} bytes need {expected}")

    @property
    def piece_length(self) -> int:
        return piece_length_for(self.size)

    @property
    def piece_count(self) -> int:
        return -(-self.size // self.piece_length)

    @property
    def info(self) -> bytes:
        """The bencoded info dictionary."""
        return info_dict(self.etag, self.size, self.root)

    @property
    def info_hash(self) -> InfoHash:
        return InfoHash(hashlib.sha256(self.info).digest())

    def encode(self, *, announce: str | None = None) -> bytes:
        """Write the .torrent; the announce URL, when given, goes into the outer dictionary only."""
        outer = b"d"
        if announce is not None:
            outer += b"8:announce" + bencode.encode(announce)
        outer += b"4:info" + self.info
        layers = {self.root: self.layer} if self.layer else {}
        return outer + b"12:piece layers" + bencode.encode(layers) + b"e"

    @property
    def magnet(self) -> str:
        """The magnet link, without a tracker."""
        return magnet_link(self.info_hash, self.etag.value, self.size)

    @classmethod
    def from_leaves(cls, etag: Etag, size: int, leaves: bytes) -> Metainfo:
        """Assemble from the concatenated SHA-256 of the blob's 16 KiB blocks."""
        if len(leaves) != 32 * merkle.leaf_count(size):
            raise MetainfoError(f"{len(leaves) // 32} leaves do not cover {size} bytes")
        return cls(etag, size, merkle.pieces_root(leaves), merkle.piece_layer(leaves, piece_length_for(size)))

    @classmethod
    def parse(cls, data: bytes) -> Metainfo:
        """Read a .torrent that was sent to us; raise `BencodeError` or `MetainfoError` unless it is exactly policy 1.

        The piece layer must hash up to the pieces root. Outer keys other than `info` and `piece layers` (announce,
        creation date, …) are accepted and dropped.
        """
        if len(data) > MAX_METAINFO_BYTES:
            raise MetainfoError(f"a .torrent of {len(data)} bytes; at most {MAX_METAINFO_BYTES} are read")
        outer, raw = bencode.decode_dict(data)
        etag, size, root = _read_info(outer.get(b"info"))
        meta = cls(etag, size, root, _read_layer(outer.get(b"piece layers", {}), root))
        if meta.info != raw[b"info"]:
            raise MetainfoError(f"the info dictionary is not that of policy {POLICY} (name = etag, one file, v2 only)")
        if meta.layer and merkle.root_of_layer(meta.layer, meta.piece_length) != meta.root:
            raise MetainfoError("the piece layer does not hash up to the pieces root")
        return meta


def info_dict(etag: Etag, size: int, root: bytes) -> bytes:
    """Write the bencoded info dictionary of a blob: all that a seeder needs."""
    return bencode.encode(
        {
            "file tree": {etag.value: {"": {"length": size, "pieces root": root}}},
            "meta version": 2,
            "name": etag.value,
            "piece length": piece_length_for(size),
        }
    )


def magnet_link(info_hash: InfoHash, etag: str, size: int, *, announce: str | None = None) -> str:
    """Return the magnet link of BEP 9 with the multihash of BEP 52, and a tracker's announce URL when one is given."""
    link = f"magnet:?xt=urn:btmh:1220{info_hash}&dn={etag}&xl={size}"
    return link if announce is None else f"{link}&tr={quote(announce, safe='')}"


def truncated_hex(text: str) -> bytes:
    """Read the 20 bytes that trackers use from 40 hex digits; raise `InvalidName` otherwise."""
    if not _V1_HEX.fullmatch(text):
        raise InvalidName(f"not a truncated info-hash (40 lower-case hex digits): {text!r:.80}")
    return bytes.fromhex(text)


def _read_info(info: Any) -> tuple[Etag, int, bytes]:
    try:
        name = info[b"name"].decode("ascii")
        ((leaf,),) = (info[b"file tree"][info[b"name"]].values(),)
        size, root = leaf[b"length"], leaf[b"pieces root"]
        if not isinstance(size, int) or not isinstance(root, bytes):
            raise TypeError
        return Etag(name), size, root
    except InvalidName as error:
        raise MetainfoError(f"the torrent's name must be the etag of its blob: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, UnicodeDecodeError):
        raise MetainfoError("not a pure v2 torrent of one file (BEP 52)") from None


def _read_layer(layers: Any, root: bytes) -> bytes:
    if not isinstance(layers, dict) or not set(layers) <= {root} or not isinstance(layers.get(root, b""), bytes):
        raise MetainfoError("`piece layers` must hold the layer of this file and nothing else")
    layer: bytes = layers.get(root, b"")
    return layer
