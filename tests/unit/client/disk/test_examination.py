"""What is wrong with a file: single pieces of it, or the torrent."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo
from llmpt.disk.examination import Examination, examine
from llmpt.disk.torrents import create_torrent

PIECE = 64 << 10
CONTENT = os.urandom(5 * PIECE + 1234)


class Blob:
    def __init__(self, folder: Path, content: bytes) -> None:
        self.path = folder / hashlib.sha256(content).hexdigest()
        self.path.write_bytes(content)
        self.metainfo = create_torrent(self.path)

    def examined(self, metainfo: Metainfo | None = None) -> Examination:
        with self.path.open("rb") as file:
            return examine(file.fileno(), metainfo or self.metainfo)


@pytest.fixture
def blob(tmp_path: Path) -> Blob:
    return Blob(tmp_path, CONTENT)


@pytest.mark.parametrize("content", [CONTENT, b"one piece", CONTENT[:PIECE], CONTENT[: 2 * PIECE]])
def test_a_blob_is_right_in_every_piece_and_as_a_whole(tmp_path: Path, content: bytes) -> None:
    assert Blob(tmp_path, content).examined() == Examination(True, ((0, len(content)),), True)


def test_pieces_that_were_changed_are_found(blob: Blob) -> None:
    with blob.path.open("r+b") as file:
        file.seek(2 * PIECE + 5)
        file.write(b"rot")
    assert blob.examined() == Examination(False, ((0, 2 * PIECE), (3 * PIECE, len(CONTENT))), False)


def test_a_torrent_of_other_content_is_right_in_every_piece_and_not_as_a_whole(blob: Blob) -> None:
    other = replace(blob.metainfo, etag=Etag("b" * 64))
    assert blob.examined(other) == Examination(False, ((0, len(CONTENT)),), True)


@pytest.mark.parametrize(("size", "right"), [(0, ()), (PIECE + 1, ((0, PIECE),)), (5 * PIECE, ((0, 5 * PIECE),))])
def test_a_file_that_was_shortened_is_no_torrents(blob: Blob, size: int, right: tuple[tuple[int, int], ...]) -> None:
    os.truncate(blob.path, size)
    assert blob.examined() == Examination(False, right, False)


def test_one_that_has_grown_is_neither(blob: Blob) -> None:
    os.truncate(blob.path, len(CONTENT) + 1)
    found = blob.examined()
    assert (found.is_blob, found.is_torrents) == (False, False)
