"""A peer takes all connections of a seeder's BitTorrent port; another machine's download goes on. The engines are real ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from llmpt.swarm import Engine
from tests.contract.test_swarm_engine import engine, finished, make_blob, seed, start
from tests.support.hostile import OTHER, connect, crowd
from tests.support.waiting import eventually

MANY = 2300
INTERESTED, REQUEST = struct.pack(">IB", 1, 2), 6
BLOCK = 16 << 10


@pytest.fixture
def seeder() -> Iterator[Engine]:
    with engine(downloads=False) as running:
        yield running


@pytest.fixture
def leecher() -> Iterator[Engine]:
    with engine() as running:
        yield running


def test_handshakes_that_never_come_take_no_place_of_anothers(seeder: Engine, leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path)
    peer = seed(seeder, metainfo, path)
    with crowd(seeder.port, MANY, b"\x13BitTorrent prot"):
        with connect(seeder.port, OTHER) as other:
            other.sendall(b"\x13BitTorrent protocol" + bytes(8) + metainfo.info_hash.truncated + b"-XX0000-" + b"o" * 12)
            assert other.recv(20) == b"\x13BitTorrent protocol"
        download = start(leecher, metainfo, tmp_path / "tmp", peer)
        eventually(lambda: finished(download), timeout_s=2, what="the download")


def test_peers_that_ask_and_do_not_read_hold_up_nobody(seeder: Engine, leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path, 8 << 20)
    peer = seed(seeder, metainfo, path)
    hello = b"\x13BitTorrent protocol" + bytes(8) + metainfo.info_hash.truncated + b"-XX0000-slow-reader-" + INTERESTED
    asked = b"".join(struct.pack(">IBIII", 13, REQUEST, 0, n * BLOCK, BLOCK) for n in range(4))
    with crowd(seeder.port, 600, hello + asked, receive_bytes=4096):
        download = start(leecher, metainfo, tmp_path / "tmp", peer)
        eventually(lambda: finished(download), timeout_s=4, what="the download")


def test_eight_users_of_one_machine_are_served(seeder: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path)
    peer = seed(seeder, metainfo, path)
    with ExitStack() as stack:
        users = [stack.enter_context(engine()) for _ in range(8)]
        downloads = [start(user, metainfo, tmp_path / f"{number}", peer) for number, user in enumerate(users)]
        for download in downloads:
            eventually(lambda download=download: finished(download), timeout_s=10, what="the download")  # type: ignore[misc]
