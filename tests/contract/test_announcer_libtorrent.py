"""Real libtorrent sessions against the announcer: they find each other through it alone."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo
from llmpt.core.networks import DEFAULT_PEER_CIDRS, CidrSet, parse_address
from llmpt.disk.torrents import create_torrent
from llmpt.swarm import Engine, EngineSettings, SeededBlob
from tests.support.announcer import AnnouncerProcess
from tests.support.waiting import eventually

lt = pytest.importorskip("libtorrent")

SIZE = 3 << 20
TIMEOUT_S = 30


class Peer:
    """A libtorrent session on 127.0.0.1 that knows no way to peers but its tracker."""

    def __init__(self) -> None:
        settings = {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            "allow_multiple_connections_per_ip": True,
            "min_reconnect_time": 1,
            "ssrf_mitigation": False,  # it lets no scrape go to loopback
            "alert_mask": lt.alert_category.tracker | lt.alert_category.error | lt.alert_category.status,
        }
        params = lt.session_params(settings)
        params.disk_io_constructor = "posix_disk_io_constructor"
        self.session = lt.session(params)
        self.alerts: list[str] = []
        self.handle: Any = None

    def add(self, torrent: bytes, folder: Path, *, seeds: bool = False) -> None:
        params = lt.load_torrent_buffer(torrent)
        params.save_path = str(folder)
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        params.flags |= lt.torrent_flags.disable_pex
        if seeds:
            params.have_pieces = [True] * params.ti.num_pieces()
            params.flags |= lt.torrent_flags.no_verify_files | lt.torrent_flags.upload_mode
        self.handle = self.session.add_torrent(params)

    def reannounce(self) -> None:
        self.handle.force_reannounce(0, -1, lt.reannounce_flags_t.ignore_min_interval)

    def heard(self, kind: str) -> list[str]:
        """Return what the tracker has said so far, in alerts of one kind."""
        self.alerts += [f"{type(alert).__name__}: {alert.message()}" for alert in self.session.pop_alerts()]
        return [alert for alert in self.alerts if alert.startswith(kind)]

    def is_finished(self) -> bool:
        self.heard("")
        return bool(self.handle.status().is_seeding)

    def scraped(self) -> tuple[int, int]:
        """Return (complete, incomplete) as the tracker last told them."""
        status = self.handle.status()
        return status.num_complete, status.num_incomplete

    def close(self) -> None:
        if self.handle is not None:
            self.session.remove_torrent(self.handle)
        del self.session, self.handle


@pytest.fixture
def announcer() -> Iterator[AnnouncerProcess]:
    with AnnouncerProcess() as process:
        yield process


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    peers = [Peer(), Peer()]
    yield peers
    for peer in peers:
        peer.close()


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    content = random.Random(7).randbytes(SIZE)
    path = tmp_path / "blobs" / hashlib.sha256(content).hexdigest()
    path.parent.mkdir()
    path.write_bytes(content)
    return path


def publish(announcer: AnnouncerProcess, metainfo: Metainfo) -> bytes:
    """List a torrent, open the announcer; return the .torrent."""
    announcer.control.do("register", hashes=[metainfo.info_hash.truncated.hex()])
    announcer.open()
    return metainfo.encode(announce=announcer.announce_url)


def counts(announcer: AnnouncerProcess, metainfo: Metainfo) -> tuple[int, int, int]:
    info_hash = metainfo.info_hash.truncated.hex()
    entry = announcer.control.do("swarms", hashes=[info_hash])["swarms"][info_hash]
    return entry["seeders"], entry["leechers"], entry["completed"]


def test_peers_find_each_other_through_us_and_transfer_a_blob(
    announcer: AnnouncerProcess, peers: list[Peer], blob: Path, tmp_path: Path
) -> None:
    seeder, leecher = peers
    metainfo = create_torrent(blob)
    torrent = publish(announcer, metainfo)
    seeder.add(torrent, blob.parent, seeds=True)
    eventually(lambda: counts(announcer, metainfo) == (1, 0, 0), timeout_s=TIMEOUT_S, what="the seeder's announce")
    leecher.add(torrent, tmp_path / "down")
    eventually(leecher.is_finished, timeout_s=TIMEOUT_S, what="the transfer")
    eventually(lambda: counts(announcer, metainfo) == (2, 0, 1), timeout_s=TIMEOUT_S, what="the announce of a whole blob")
    leecher.session.pause()  # flushes, and announces that it stops
    eventually(lambda: (tmp_path / "down" / blob.name).read_bytes() == blob.read_bytes(), timeout_s=TIMEOUT_S, what="the bytes")
    eventually(lambda: counts(announcer, metainfo) == (1, 0, 1), timeout_s=TIMEOUT_S, what="one download, and it has stopped")


def test_a_scrape_tells_libtorrent_how_many_there_are(
    announcer: AnnouncerProcess, peers: list[Peer], blob: Path, tmp_path: Path
) -> None:
    seeder, leecher = peers
    metainfo = create_torrent(blob)
    torrent = publish(announcer, metainfo)
    seeder.add(torrent, blob.parent, seeds=True)
    eventually(lambda: counts(announcer, metainfo) == (1, 0, 0), timeout_s=TIMEOUT_S, what="the seeder's announce")
    leecher.add(torrent, tmp_path / "down")
    eventually(lambda: counts(announcer, metainfo)[0] == 2, timeout_s=TIMEOUT_S, what="two seeders")
    seeder.handle.scrape_tracker()
    eventually(lambda: seeder.heard("scrape_reply_alert"), timeout_s=TIMEOUT_S, what="the answer to a scrape")
    eventually(lambda: seeder.scraped() == (2, 0), timeout_s=TIMEOUT_S, what="the counts of the scrape")


def test_an_unregistered_torrent_is_told_so(announcer: AnnouncerProcess, peers: list[Peer], blob: Path) -> None:
    announcer.open()
    peers[0].add(create_torrent(blob).encode(announce=announcer.announce_url), blob.parent, seeds=True)
    errors = eventually(lambda: peers[0].heard("tracker_error_alert"), timeout_s=TIMEOUT_S, what="the tracker's refusal")
    assert "unregistered torrent" in errors[0]


def test_after_a_restart_peers_come_back_when_they_announce_again(
    announcer: AnnouncerProcess, peers: list[Peer], blob: Path, tmp_path: Path
) -> None:
    seeder, leecher = peers
    metainfo = create_torrent(blob)
    torrent = publish(announcer, metainfo)
    seeder.add(torrent, blob.parent, seeds=True)
    eventually(lambda: counts(announcer, metainfo) == (1, 0, 0), timeout_s=TIMEOUT_S, what="the seeder's announce")
    announcer.restart()
    publish(announcer, metainfo)
    assert counts(announcer, metainfo) == (0, 0, 0)
    seeder.reannounce()
    eventually(lambda: counts(announcer, metainfo) == (1, 0, 0), timeout_s=TIMEOUT_S, what="the seeder's return")
    leecher.add(torrent, tmp_path / "down")
    eventually(leecher.is_finished, timeout_s=TIMEOUT_S, what="the transfer")


def test_our_seeder_announces_under_its_key_and_is_found(
    announcer: AnnouncerProcess, peers: list[Peer], blob: Path, tmp_path: Path
) -> None:
    seeder, leecher = peers
    metainfo = create_torrent(blob)
    torrent = publish(announcer, metainfo)
    key = "0123456789abcdef0123456789abcdef"
    announcer.control.do("heartbeat", seeder="seeder", key=key, report={"port": seeder.session.listen_port()})
    seeder.add(metainfo.encode(announce=f"{announcer.announce_url}/{key}"), blob.parent, seeds=True)
    eventually(lambda: counts(announcer, metainfo) == (1, 0, 0), timeout_s=TIMEOUT_S, what="the seeder's announce")
    reply = announcer.control.do("swarms", hashes=[metainfo.info_hash.truncated.hex()], peers=5, asker="10.0.0.9")
    (swarm,) = reply["swarms"].values()
    assert swarm["peers"] == [{"address": None, "port": seeder.session.listen_port()}]
    leecher.add(torrent, tmp_path / "down")
    eventually(leecher.is_finished, timeout_s=TIMEOUT_S, what="the transfer")


def registered(announcer: AnnouncerProcess, folder: Path, count: int) -> list[SeededBlob]:
    """Open the announcer for `count` blobs."""
    roots = [hashlib.sha256(b"%d" % number) for number in range(count)]
    blobs = [SeededBlob(Etag(root.hexdigest()), 1 << 30, root.digest(), folder / root.hexdigest()) for root in roots]
    announcer.control.do("register", hashes=[swarm_of(blob) for blob in blobs])
    announcer.open()
    return blobs


def swarm_of(blob: SeededBlob) -> str:
    return hashlib.sha256(blob.info).digest()[:20].hex()


def without_seeder(announcer: AnnouncerProcess, blobs: list[SeededBlob]) -> int:
    hashes = [swarm_of(blob) for blob in blobs]
    swarms = announcer.control.do("swarms", hashes=hashes, peers=0, asker="127.0.0.1")["swarms"]
    return sum(not swarm["seeders"] for swarm in swarms.values())


def seeding_engine(*listen: str) -> Engine:
    return Engine(EngineSettings(listen, 0, CidrSet.parse(DEFAULT_PEER_CIDRS), parse_address("127.0.0.1"), downloads=False))


def test_a_seeder_on_all_addresses_announces_hundreds_of_blobs_at_once(announcer: AnnouncerProcess, tmp_path: Path) -> None:
    """libtorrent, left alone, also announces from addresses that cannot reach the tracker, and waits for those."""
    blobs = registered(announcer, tmp_path, 300)
    with seeding_engine("0.0.0.0", "[::]") as engine:
        for blob in blobs:
            engine.seed(blob, announce_url=announcer.announce_url)
        eventually(lambda: without_seeder(announcer, blobs) == 0, timeout_s=15, what="an announce of each blob")


def test_a_blob_that_is_seeded_from_another_place_stays_in_its_swarm(announcer: AnnouncerProcess, tmp_path: Path) -> None:
    """libtorrent sends `stopped` and `started` over two connections: of a hundred pairs several arrive the wrong way round."""
    blobs = registered(announcer, tmp_path, 100)
    seen = []
    with seeding_engine("127.0.0.1") as engine:
        for blob in blobs:
            engine.seed(blob, announce_url=announcer.announce_url)
        eventually(lambda: without_seeder(announcer, blobs) == 0, timeout_s=15, what="an announce of each blob")
        for number in range(3):
            for blob in blobs:
                engine.seed(replace(blob, path=tmp_path / str(number) / blob.etag.value), announce_url=announcer.announce_url)
                seen.append(without_seeder(announcer, [blob]))
        assert sum(seen) == without_seeder(announcer, blobs) == 0


def test_a_blob_that_is_withdrawn_and_seeded_again_comes_back_into_its_swarm(announcer: AnnouncerProcess, tmp_path: Path) -> None:
    blobs = registered(announcer, tmp_path, 100)
    with seeding_engine("127.0.0.1") as engine:
        for blob in blobs:
            engine.seed(blob, announce_url=announcer.announce_url)
        eventually(lambda: without_seeder(announcer, blobs) == 0, timeout_s=15, what="an announce of each blob")
        for _ in range(3):
            for blob in blobs:
                engine.withdraw(blob.etag)
                engine.seed(blob, announce_url=announcer.announce_url)
        eventually(lambda: without_seeder(announcer, blobs) == 0, timeout_s=5, what="all of them to be back")
