"""What is wrong with a file that should be a blob: its content, or the torrent."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from llmpt.core.blob import EtagHasher
from llmpt.core.merkle import BLOCK_BYTES, DIGEST_BYTES, PieceHasher
from llmpt.core.metainfo import Metainfo

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Examination:
    """What a file holds.

    `is_blob`: what the etag says.
    `right`: the byte ranges [start, stop) of the pieces that are those of the torrent, in order.
    `is_torrents`: all of them are.
    """

    is_blob: bool
    right: Ranges
    is_torrents: bool


def examine(descriptor: int, metainfo: Metainfo, *, on_read: Callable[[], None] = lambda: None) -> Examination:
    """Read the file that is open as `descriptor` once, and hold every piece against `metainfo`, and the whole against its etag.

    `on_read` is called after each piece. Raises `OSError`.
    """
    size, length = metainfo.size, metainfo.piece_length
    content, tree = EtagHasher(metainfo.etag, size), PieceHasher(size, length)
    while content.seen < size and (data := os.pread(descriptor, min(length, size - content.seen), content.seen)):
        whole = data
        while len(whole) < min(length, size - content.seen):  # a short read would shift the blocks
            if not (more := os.pread(descriptor, length - len(whole), content.seen + len(whole))):
                break
            whole += more
        content.update(whole)
        tree.add(b"".join(sha256(whole[at : at + BLOCK_BYTES]).digest() for at in range(0, len(whole), BLOCK_BYTES)))
        on_read()
    if content.seen == 0:
        return Examination(False, (), False)
    root, layer = tree.finish()
    is_single = metainfo.piece_count == 1
    right = [root == metainfo.root] if is_single else _equal(layer, metainfo.layer, metainfo.piece_count)
    is_end = os.fstat(descriptor).st_size == size
    return Examination(content.matches() and is_end, _ranges(right, length, size), all(right) and is_end)


def _equal(layer: bytes, expected: bytes, count: int) -> list[bool]:
    digests = [slice(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES) for index in range(count)]
    return [layer[digest] == expected[digest] for digest in digests]


def _ranges(right: list[bool], length: int, size: int) -> Ranges:
    found: list[tuple[int, int]] = []
    for index, is_right in enumerate(right):
        if is_right:
            start, stop = index * length, min((index + 1) * length, size)
            if found and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, stop))
    return tuple(found)
