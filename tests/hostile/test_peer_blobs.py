"""A peer takes all places of the blob server; another machine gets its file."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from llmpt.core.networks import CidrSet
from llmpt_seeder.blobs import BlobServer, Doors, FileSource
from tests.contract.blob_server.world import CONTENT, Shelf
from tests.support.hostile import OTHER, ask, crowd, get
from tests.support.waiting import eventually

MANY = 1300  # the server has 1,024 places, and 256 for guests


@pytest.mark.parametrize("path", ["", "/blobs/{}"])
def test_a_machine_that_takes_all_it_can_leaves_another_its_file(tmp_path: Path, path: str) -> None:
    shelf, before = Shelf(tmp_path), threading.active_count()
    small, large = shelf.put(CONTENT), shelf.put(bytes(32 << 20))
    said = get(path.format(large.etag)) if path else b"GET /blobs/"
    doors = Doors(("127.0.0.1",), 0, CidrSet.parse("127.0.0.0/8"))
    with BlobServer([FileSource(shelf.files.get)], doors) as server, crowd(server.port, MANY, said, receive_bytes=4096):
        answer = ask(server.port, get(f"/blobs/{small.etag}"), OTHER, timeout_s=20)
        assert answer.endswith(CONTENT)
        assert threading.active_count() - before < 600
    eventually(lambda: threading.active_count() <= before, what="all threads to end")
