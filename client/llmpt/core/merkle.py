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
