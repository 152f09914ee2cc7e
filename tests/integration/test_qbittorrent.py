"""A BitTorrent client that is not ours takes published blobs from our seeder, and gives them to our agent."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from tests.support import qbittorrent
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine
from tests.support.qbittorrent import QBittorrent
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(qbittorrent.PROGRAM is None, reason=qbittorrent.NO_PROGRAM)

FILES = {"by-torrent.bin": os.urandom(3_000_000), "by-magnet.bin": os.urandom(2_500_001), "config.json": b"{}"}


def test_qbittorrent_downloads_by_torrent_and_by_magnet_and_serves_our_agent(
    lan: Lan, ann: Machine, repo: str, tmp_path: Path
) -> None:
    lan.hub.add(repo, FILES)
    lan.mirror(repo)
    by_path = {path: torrent for torrent in lan.seeded(repo) for path in FILES if torrent.size == len(FILES[path])}
    by_torrent, by_magnet = by_path["by-torrent.bin"], by_path["by-magnet.bin"]
    with QBittorrent(tmp_path) as client:
        client.add(f"{lan.tracker.url}/api/v1/torrents/{by_torrent.info_hash}.torrent")
        client.add(by_magnet.magnet)
        for torrent in (by_torrent, by_magnet):
            eventually(partial(client.is_done, torrent.etag), timeout_s=30, what=f"qBittorrent's download of {torrent.etag}")
        for path, torrent in by_path.items():
            assert (client.downloads / torrent.etag).read_bytes() == FILES[path]
        lan.seeder.stop()
        lan.hub.mode.refuse_bytes_over = BIG
        folder = ann.download(repo)
        assert {path: (folder / path).read_bytes() for path in FILES} == FILES
        rows = {row["filename"]: row["bytes_from_lan"] for row in ann.status()["downloads"]}
        assert rows == {path: len(FILES[path]) for path in by_path}
