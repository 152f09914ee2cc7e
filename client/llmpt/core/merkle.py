"""The Merkle tree of BEP 52 over one file: SHA-256 of 16 KiB blocks, and the layers above them.

A missing leaf counts as 32 zero bytes. A file no longer than a piece has a tree as high as its own leaves need and no
piece layer.
"""

from __future__ import annotations

from hashlib import sha256

BLOCK_BYTES = 16 << 10
DIGEST_BYTES = 32


def leaf_count(size: int) -> int:
    """Return how many 16 KiB blocks a file of `size` bytes has."""
    return -(-size // BLOCK_BYTES)


def pieces_root(leaves: bytes) -> bytes:
    """Return the root over concatenated leaf digests (32 bytes each, at least one)."""
    return _reduce(leaves, height=_height(len(leaves) // DIGEST_BYTES), padding_height=0)


def piece_layer(leaves: bytes, piece_length: int) -> bytes:
    """Return the concatenated nodes that each cover `piece_length` bytes; empty for a file of one piece or less."""
    blocks = piece_length // BLOCK_BYTES
    if len(leaves) // DIGEST_BYTES <= blocks:
        return b""
    step = blocks * DIGEST_BYTES
    height = blocks.bit_length() - 1
    return b"".join(_reduce(leaves[i : i + step], height=height, padding_height=0) for i in range(0, len(leaves), step))


def root_of_layer(layer: bytes, piece_length: int) -> bytes:
    """Return the pieces root that a piece layer hashes up to."""
    padding = (piece_length // BLOCK_BYTES).bit_length() - 1
    return _reduce(layer, height=_height(len(layer) // DIGEST_BYTES), padding_height=padding)


class PieceHasher:
    """Fed the leaves of a file of `size` bytes in order, keeps one node per piece: 32 bytes for each `piece_length`."""

    def __init__(self, size: int, piece_length: int) -> None:
        self._piece_length = piece_length
        self._step = piece_length // BLOCK_BYTES * DIGEST_BYTES
        self._single = size <= piece_length
        self._leaves = bytearray()
        self._nodes: list[bytes] = []

    def add(self, leaves: bytes) -> None:
        """Take the concatenated digests of the next 16 KiB blocks."""
        self._leaves += leaves
        while not self._single and len(self._leaves) >= self._step:
            self._nodes.append(self._node(bytes(self._leaves[: self._step])))
            del self._leaves[: self._step]

    def finish(self) -> tuple[bytes, bytes]:
        """Return (pieces root, piece layer); the layer is empty for a file of one piece or less."""
        if self._single:
            return pieces_root(bytes(self._leaves)), b""
        if self._leaves:
            self._nodes.append(self._node(bytes(self._leaves)))
            self._leaves.clear()
        layer = b"".join(self._nodes)
        return root_of_layer(layer, self._piece_length), layer

    def _node(self, leaves: bytes) -> bytes:
        return _reduce(leaves, height=(self._piece_length // BLOCK_BYTES).bit_length() - 1, padding_height=0)


def _height(nodes: int) -> int:
    return max(nodes - 1, 0).bit_length()


def _zero_subtree(height: int) -> bytes:
    """Return the root of a subtree of `height` whose leaves are all missing."""
    node = bytes(DIGEST_BYTES)
    for _ in range(height):
        node = sha256(node + node).digest()
    return node


def _reduce(nodes: bytes, *, height: int, padding_height: int) -> bytes:
    """Hash one layer up `height` times; missing right-hand nodes are empty subtrees of `padding_height` at the bottom."""
    pair = 2 * DIGEST_BYTES
    for level in range(height):
        if len(nodes) % pair:
            nodes += _zero_subtree(padding_height + level)
        nodes = b"".join(sha256(nodes[i : i + pair]).digest() for i in range(0, len(nodes), pair))
    return nodes
