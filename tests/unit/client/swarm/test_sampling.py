"""Who sent what, of a download that ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import libtorrent as lt
import pytest

from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo
from llmpt.swarm import Download
from llmpt.swarm.sampling import sample, settle
from llmpt.swarm.shares import OTHERS, OWN, USUAL, Shares

SIZE = 100_000
ANN, BOB = ("10.0.0.1", 1), ("10.0.0.2", 2)


class Handle:
    """A torrent whose peers, each with the bytes it sent, are as told."""

    def __init__(self) -> None:
        self.peers: dict[tuple[str, int], int] = {}

    def get_peer_info(self) -> list[Any]:
        return [SimpleNamespace(ip=ip, flags=0, connection_type=0, total_download=sent) for ip, sent in self.peers.items()]

    def status(self, _flags: int) -> Any:
        return SimpleNamespace(pieces=[True, False], total_done=0, download_payload_rate=0)

    def set_flags(self, _flags: Any) -> None: ...

    def unset_flags(self, _flags: Any) -> None: ...


@pytest.fixture
def download(tmp_path: Path) -> Download:
    download = Download(Metainfo(Etag("a" * 64), SIZE, bytes(32), bytes(64)), tmp_path / "f")
    download.checking = False
    return download


def test_a_peer_that_hung_up_before_it_was_counted_sent_what_is_missing(download: Download) -> None:
    handle = Handle()
    handle.peers = {ANN: 50_000, BOB: 10_000}
    sample(handle, download)
    handle.peers = {BOB: 20_000}
    settle(handle, download)
    assert download.bytes_by_peer == {"10.0.0.1:1": 80_000, "10.0.0.2:2": 20_000}


def test_nothing_is_guessed_when_two_have_hung_up(download: Download) -> None:
    handle = Handle()
    handle.peers = {ANN: 50_000, BOB: 10_000}
    sample(handle, download)
    handle.peers = {}
    settle(handle, download)
    assert download.bytes_by_peer == {"10.0.0.1:1": 50_000, "10.0.0.2:2": 10_000}


def test_what_lay_on_disk_came_from_nobody(download: Download) -> None:
    handle = Handle()
    download.resumed_bytes = 50_000
    handle.peers = {ANN: 50_000}
    sample(handle, download)
    handle.peers = {}
    settle(handle, download)
    assert download.bytes_by_peer == {"10.0.0.1:1": 50_000}


def test_the_prefix_ends_at_the_first_piece_that_is_not_there(download: Download) -> None:
    download.note_pieces([True, False, True])
    assert download.prefix_bytes == 65536
    download.note_pieces([True, True])
    assert download.prefix_bytes == SIZE


def test_a_peer_that_has_come_again_is_counted_on(download: Download) -> None:
    handle = Handle()
    handle.peers = {ANN: 50_000}
    sample(handle, download)
    download.note_end(ANN)
    handle.peers = {ANN: 50_000}
    sample(handle, download)
    assert download.bytes_by_peer == {"10.0.0.1:1": 100_000}


def test_with_other_leechers_a_machine_takes_its_share_first_and_alone_all_as_ever(tmp_path: Path) -> None:
    pieces, said = 10, list[list[int]]()
    download = Download(Metainfo(Etag("a" * 64), pieces << 16, bytes(32), bytes(32 * pieces)), tmp_path / "f")
    download.checking, download.shares = False, Shares(b"a", pieces)

    def peer(peer_id: bytes, flags: Any) -> Any:
        return SimpleNamespace(
            ip=(f"10.0.0.{peer_id[0]}", 1), flags=flags, connection_type=0, total_download=0,
            pid=SimpleNamespace(to_bytes=lambda: peer_id),
        )  # fmt: skip

    handle: Any = Handle()
    seed, leecher = peer(b"s", lt.peer_info.seed), peer(b"b", 0)
    handle.get_peer_info = lambda: [seed, leecher]
    handle.status = lambda _: SimpleNamespace(pieces=[True] + [False] * 9, total_done=0, download_payload_rate=0)
    handle.piece_availability = lambda: [1] * 8 + [2, 2]  # the leecher has the last two
    handle.prioritize_pieces = said.append
    sample(handle, download)
    sample(handle, download)
    assert said == [[OTHERS, OWN, OWN, OWN, *[OTHERS] * 6]], "half of what neither has, and nothing anew at once"
    handle.get_peer_info = lambda: [seed]
    sample(handle, download)
    sample(handle, download)
    assert said[1:] == [[USUAL] * pieces]
