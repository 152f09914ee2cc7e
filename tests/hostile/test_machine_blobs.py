"""A machine without a token against the blob server: it cannot keep the appliance's own tracker from asking there."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from llmpt.core.networks import CidrSet
from llmpt.host.certificate import Certificate
from llmpt_seeder.blobs import BlobServer, Doors, FileSource
from llmpt_seeder.blobs.connection import BlobLimits
from llmpt_tracker.blob_server import BlobPlace
from llmpt_tracker.blob_server import BlobServer as AskedByTracker
from tests.contract.blob_server.world import CONTENT, PATH, Shelf
from tests.support.certificates import Authority
from tests.support.hostile import OTHER, crowd
from tests.support.waiting import eventually

TIMES = 5
LIMITS = BlobLimits(head_s=60, connections=8, guests=4, own=TIMES)  # none of them waits until the one before is forgotten
HALF_A_HEAD, HALF_A_HELLO = b"GET /blobs/", b"\x16\x03\x01"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_slow_connections_of_many_machines_do_not_shut_out_the_tracker(tls: bool, tmp_path: Path) -> None:
    shelf, before = Shelf(tmp_path), threading.active_count()
    shelf.put(CONTENT)
    certificate = Certificate(Authority(tmp_path, "lab").certificate("server.pem"), None) if tls else None
    doors = Doors(("127.0.0.1",), 0, CidrSet.parse("127.0.0.0/8"), certificate=certificate)
    with ExitStack() as stack:
        server = stack.enter_context(BlobServer([FileSource(shelf.files.get)], doors, limits=LIMITS))
        for number in range(1, 5):
            said = HALF_A_HELLO if tls else HALF_A_HEAD
            stack.enter_context(crowd(server.port, 10, said, source=f"127.0.0.{number + 100}"))
        eventually(lambda: len(server._connections) == LIMITS.connections + LIMITS.guests, what="all places to be taken")
        stack.enter_context(crowd(server.port, 5, HALF_A_HEAD, source=OTHER))
        for _ in range(TIMES):  # one connection that is kept, and ones that are not
            tracker = AskedByTracker(BlobPlace("127.0.0.1", server.port, tls), timeout_s=5, skipped_s=0, clock=lambda: 0)
            assert tracker.ask("HEAD", PATH) == 200
            assert tracker.ask("POST", "/knock") == 204
            tracker.close()
    eventually(lambda: threading.active_count() <= before, what="all threads to end")
