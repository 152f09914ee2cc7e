from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpt.core import merkle

ZERO = bytes(32)


def leaf(number: int) -> bytes:
    return sha256(b"leaf %d" % number).digest()


def naive_root(leaves: list[bytes]) -> bytes:
    """The definition of BEP 52: pad with zero leaves to a power of two, hash pairs until one is left."""
    while len(leaves) & (len(leaves) - 1):
        leaves = [*leaves, ZERO]
    while len(leaves) > 1:
        leaves = [sha256(leaves[i] + leaves[i + 1]).digest() for i in range(0, len(leaves), 2)]
    return leaves[0]


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (16384, 1), (16385, 2), (1 << 20, 64), ((1 << 20) + 1, 65)])
def test_a_leaf_is_sixteen_kibibytes(size: int, count: int) -> None:
    assert merkle.leaf_count(size) == count


@given(st.integers(1, 130))
def test_the_root_is_that_of_the_tree_padded_with_zero_leaves(count: int) -> None:
    leaves = [leaf(i) for i in range(count)]
    assert merkle.pieces_root(b"".join(leaves)) == naive_root(leaves)


@given(st.integers(1, 130), st.sampled_from([1, 2, 4, 8, 16]))
def test_a_layer_hashes_up_to_the_root(count: int, blocks: int) -> None:
    leaves = b"".join(leaf(i) for i in range(count))
    layer = merkle.piece_layer(leaves, blocks * merkle.BLOCK_BYTES)
    if count <= blocks:
        assert layer == b""
    else:
        assert len(layer) == 32 * -(-count // blocks)
        assert merkle.root_of_layer(layer, blocks * merkle.BLOCK_BYTES) == merkle.pieces_root(leaves)


def test_a_layer_of_pieces_as_long_as_a_block_is_the_leaves() -> None:
    leaves = leaf(0) + leaf(1) + leaf(2)
    assert merkle.piece_layer(leaves, merkle.BLOCK_BYTES) == leaves


def test_one_other_leaf_is_another_root() -> None:
    leaves = b"".join(leaf(i) for i in range(9))
    assert merkle.pieces_root(leaves) != merkle.pieces_root(leaves[:-1] + bytes([leaves[-1] ^ 1]))
