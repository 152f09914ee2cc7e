"""A blob server for each test, with what it serves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.networks import CidrSet
from llmpt.host.certificate import Certificate
from llmpt_seeder.blobs import BlobServer, Doors, FileSource
from tests.contract.blob_server.world import CONTENT, Serve, Shelf
from tests.support.waiting import eventually


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    shelf.put(CONTENT)
    return shelf


@pytest.fixture
def serve(shelf: Shelf) -> Iterator[Serve]:
    """Start a blob server; it has ended, with all its threads, when the test has."""
    before = threading.active_count()
    with ExitStack() as stack:

        def start(
            *sources: Any, allowed: str = "127.0.0.0/8", certificate: Certificate | None = None, **arguments: Any
        ) -> BlobServer:
            of = sources or (FileSource(shelf.files.get),)
            server = BlobServer(of, Doors(("127.0.0.1",), 0, CidrSet.parse(allowed), certificate=certificate), **arguments)
            return stack.enter_context(server)

        yield start
    eventually(lambda: threading.active_count() <= before, what="all threads to end")
