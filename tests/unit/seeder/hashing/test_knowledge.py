"""Nothing is known of a file before it is stored."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import StateUnavailable
from llmpt.disk.inventory import Inventory
from llmpt.disk.stamp import FileStamp
from llmpt.disk.torrents import create_torrent
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.hashing.knowledge import Good, Knowledge
from llmpt_seeder.hashing.readers import Hashed

CONTENT = b"content" * 1000


class FullAtTheEnd(Inventory):
    """An inventory whose disk fills up while what was put in is written."""

    is_full = True

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with super().transaction() as sql:
            yield sql
            if self.is_full:
                raise StateUnavailable("database or disk is full")


def test_what_was_read_is_known_when_it_is_stored_and_not_before(tmp_path: Path) -> None:
    etag, path = Etag(hashlib.sha256(CONTENT).hexdigest()), tmp_path / "blob"
    path.write_bytes(CONTENT)
    file = BlobFile(etag, path, FileStamp.of(path.stat()))
    read = [Hashed(file, create_torrent(path, etag=etag))]
    with FullAtTheEnd(tmp_path / "seeder.db") as inventory:
        knowledge = Knowledge(inventory, clock=lambda: 0.0)
        with pytest.raises(StateUnavailable):
            knowledge.learn(read)
        assert knowledge.of(file) is None
        inventory.is_full = False
        assert knowledge.learn(read) == []
        assert isinstance(knowledge.of(file), Good)
