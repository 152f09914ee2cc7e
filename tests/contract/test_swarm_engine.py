"""What the product promises of libtorrent, held against real sessions on loopback."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import time
from itertools import pairwise
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import SwarmError
from llmpt.core.metainfo import Metainfo
from llmpt.core.networks import CidrSet
from llmpt.core.rates import RateLimit
from llmpt.disk.stamp import stamp_of
from llmpt.disk.torrents import create_torrent
from llmpt.swarm import HTTP, Download, Engine, EngineSettings, EngineTimings, Given, SeededBlob, Source, free_port
from llmpt.swarm.held import Holder
from tests.support.blob_server import BlobServer
from tests.support.waiting import eventually

LOOPBACK = CidrSet.parse("127.0.0.0/8")


def engine(*, downloads: bool = True, cidrs: CidrSet = LOOPBACK, limit: str = "0", shares: bool = True) -> Engine:
    upload_limit = RateLimit.parse(limit)
    return Engine(EngineSettings(("127.0.0.1",), 0, cidrs, upload_limit=upload_limit, downloads=downloads, shares=shares))


@pytest.fixture
def seeder() -> Iterator[Engine]:
    with engine(downloads=False) as running:
        yield running


@pytest.fixture
def leecher() -> Iterator[Engine]:
    with engine() as running:
        yield running


def make_blob(folder: Path, size: int = (3 << 20) + 17) -> tuple[Metainfo, Path]:
    content = os.urandom(size)
    path = folder / hashlib.sha256(content).hexdigest()
    path.write_bytes(content)
    return create_torrent(path), path


def seed(engine: Engine, metainfo: Metainfo, path: Path) -> tuple[str, int]:
    engine.seed(SeededBlob(metainfo.etag, metainfo.size, metainfo.root, path))
    return ("127.0.0.1", engine.port)


def start(engine: Engine, metainfo: Metainfo, path: Path, *peers: tuple[str, int], resume: bool = False) -> Download:
    if not resume:
        path.touch()
    return engine.downloads.begin(Source(metainfo, peers), path, resume=resume)


def finished(download: Download) -> bool:
    assert download.state != "failed", download.reason
    return download.state == "finished"


def test_a_port_that_another_process_takes_in_the_very_moment_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = int(other.getsockname()[1])
        said = iter([taken])  # it was free when that was looked at
        monkeypatch.setattr("llmpt.swarm.engine.free_port", lambda wanted: next(said, None) or free_port(wanted))
        with Engine(EngineSettings(("127.0.0.1",), taken, LOOPBACK, or_another_port=True)) as running:
            assert running.port not in (0, taken)
        with pytest.raises(SwarmError, match="Address already in use"), Engine(EngineSettings(("127.0.0.1",), taken, LOOPBACK)):
            pass


def test_a_blob_seeded_in_place_arrives_whole_and_every_byte_is_accounted_for(
    seeder: Engine, leecher: Engine, tmp_path: Path
) -> None:
    metainfo, path = make_blob(tmp_path)
    peer = seed(seeder, metainfo, path)
    download = start(leecher, metainfo, tmp_path / "tmp", peer)
    eventually(lambda: finished(download), timeout_s=10, what="the download")
    leecher.downloads.flush(metainfo.etag)
    assert (tmp_path / "tmp").read_bytes() == path.read_bytes()
    assert sum(download.bytes_by_peer.values()) == metainfo.size
    eventually(lambda: seeder.totals().uploaded_bytes == metainfo.size, what="the seeder's counter")
    eventually(lambda: leecher.totals().downloaded_bytes == metainfo.size, what="the leecher's counter")


def test_a_file_that_is_let_go_of_takes_no_room_and_is_told_to_its_owner(seeder: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path)
    blob = SeededBlob(metainfo.etag, metainfo.size, metainfo.root, path, stamp_of(path))
    assert seeder.seed(blob) is Given.YES
    with path.open("rb") as open_still:
        path.unlink()
        seeder.let_go(metainfo.etag, tmp_path / "another")
        assert seeder.seeding() == {metainfo.etag}
        seeder.let_go(metainfo.etag, path)
        links = {link: link.resolve() for link in Path("/proc/self/fd").iterdir()}
        assert [int(link.name) for link, file in links.items() if path.name in file.name] == [open_still.fileno()]
    assert seeder.seeding() == frozenset()
    assert seeder.unreadable() == {metainfo.etag}
    assert seeder.unreadable() == frozenset()


def test_beyond_the_limit_of_open_files_only_what_nobody_else_can_replace_is_seeded(tmp_path: Path) -> None:
    settings = EngineSettings(("127.0.0.1",), 0, LOOPBACK, downloads=False)
    with Engine(settings, holder=Holder(most=1)) as seeder:
        answers = []
        for number, mode in enumerate((0o777, 0o700, 0o777)):
            folder = tmp_path / str(number)
            folder.mkdir()
            metainfo, path = make_blob(folder, 100_000)
            folder.chmod(mode)
            answers.append(seeder.seed(SeededBlob(metainfo.etag, metainfo.size, metainfo.root, path, stamp_of(path))))
        assert answers == [Given.YES, Given.YES, Given.UNSAFE]


def test_a_blob_in_a_folder_of_bytes_is_given_and_filled(seeder: Engine, leecher: Engine, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/h\xff\xe9"))
    folder.mkdir()
    metainfo, path = make_blob(folder)
    download = start(leecher, metainfo, folder / "tmp", seed(seeder, metainfo, path))
    eventually(lambda: finished(download), timeout_s=10, what="the download")
    leecher.downloads.flush(metainfo.etag)
    assert (folder / "tmp").read_bytes() == path.read_bytes()


def test_a_finished_blob_is_moved_as_the_same_file_and_seeded_on_from_there(
    seeder: Engine, leecher: Engine, tmp_path: Path
) -> None:
    metainfo, path = make_blob(tmp_path)
    download = start(leecher, metainfo, tmp_path / "tmp", seed(seeder, metainfo, path))
    inode = (tmp_path / "tmp").stat().st_ino
    eventually(lambda: finished(download), what="the first download")
    leecher.downloads.flush(metainfo.etag)
    leecher.downloads.move(metainfo.etag, tmp_path / "final")
    assert (tmp_path / "final").stat().st_ino == inode
    assert not (tmp_path / "tmp").exists()
    seeder.withdraw(metainfo.etag)
    with engine() as third:
        second = start(third, metainfo, tmp_path / "tmp2", ("127.0.0.1", leecher.port))
        eventually(lambda: finished(second), what="the download from the first leecher")
        third.downloads.flush(metainfo.etag)
        assert (tmp_path / "tmp2").read_bytes() == path.read_bytes()


def test_an_existing_destination_is_never_overwritten(seeder: Engine, leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path)
    download = start(leecher, metainfo, tmp_path / "tmp", seed(seeder, metainfo, path))
    eventually(lambda: finished(download), what="the download")
    leecher.downloads.flush(metainfo.etag)
    (tmp_path / "final").write_text("somebody's")
    with pytest.raises(SwarmError, match="exists"):
        leecher.downloads.move(metainfo.etag, tmp_path / "final")
    assert (tmp_path / "final").read_text() == "somebody's"
    assert (tmp_path / "tmp").read_bytes() == path.read_bytes()


def test_a_rotten_piece_is_refused_and_the_seeder_never_writes_to_its_file(
    seeder: Engine, leecher: Engine, tmp_path: Path
) -> None:
    metainfo, path = make_blob(tmp_path)
    peer = seed(seeder, metainfo, path)
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"rot" * 100)
    rotten, before = path.read_bytes(), path.stat().st_mtime_ns
    download = start(leecher, metainfo, tmp_path / "tmp", peer)
    eventually(lambda: download.lost_peers, timeout_s=15, what="the liar to be dropped")
    assert download.state == "running"
    assert download.bytes_done < metainfo.size
    assert path.read_bytes() == rotten
    assert path.stat().st_mtime_ns == before


def test_a_deleted_blob_is_reported_and_not_created_anew(seeder: Engine, leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path)
    peer = seed(seeder, metainfo, path)
    path.unlink()
    start(leecher, metainfo, tmp_path / "tmp", peer)
    assert eventually(seeder.unreadable, what="the file error") == {metainfo.etag}
    assert not path.exists()


def test_what_lies_on_disk_is_not_fetched_again(seeder: Engine, leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path)
    partial = tmp_path / "tmp"
    kept = 2 << 20
    partial.write_bytes(path.read_bytes()[:kept])
    download = start(leecher, metainfo, partial, seed(seeder, metainfo, path), resume=True)
    eventually(lambda: finished(download), what="the download")
    leecher.downloads.flush(metainfo.etag)
    assert partial.read_bytes() == path.read_bytes()
    assert download.resumed_bytes == kept
    eventually(lambda: leecher.totals().downloaded_bytes == metainfo.size - kept, what="only the rest to be fetched")


def test_addresses_outside_the_allowed_networks_are_not_talked_to(leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path)
    with engine(cidrs=CidrSet.parse("10.0.0.0/8"), downloads=False) as closed:
        peer = seed(closed, metainfo, path)
        download = start(leecher, metainfo, tmp_path / "tmp", peer)
        eventually(lambda: peer in download.lost_peers, what="the connection to be refused")
        assert download.bytes_done == 0


def test_a_taken_port_is_an_error_that_names_it(seeder: Engine) -> None:
    settings = EngineSettings(("127.0.0.1",), seeder.port, LOOPBACK)
    with pytest.raises(SwarmError, match=str(seeder.port)), Engine(settings):
        pass


def test_a_thousand_blobs_are_seeded_without_piece_layers(seeder: Engine, tmp_path: Path) -> None:
    for number in range(1000):
        root = hashlib.sha256(b"%d" % number)
        etag = Etag(root.hexdigest())
        seeder.seed(SeededBlob(etag, 1 << 30, root.digest(), tmp_path / etag.value))
    assert len(seeder.seeding()) == 1000


def test_a_status_asks_for_what_is_sent_without_holding_up_others(seeder: Engine, tmp_path: Path) -> None:
    etags = [Etag(hashlib.sha256(b"%d" % number).hexdigest()) for number in range(3)]
    for etag in etags:
        seeder.seed(SeededBlob(etag, 9 << 20, os.urandom(32), tmp_path / etag.value))
    free: list[bool] = []

    class Handle:
        """A torrent's handle: says whether another thread could have the lock while it is asked."""

        def __init__(self, real: Any) -> None:
            self.real = real

        def status(self, flags: int) -> Any:
            def others() -> None:
                free.append(lock.acquire(blocking=False))
                if free[-1]:
                    lock.release()

            beside = Thread(target=others)
            beside.start()
            beside.join()
            return self.real.status(flags)

    torrents, lock = seeder._torrents.all(), seeder._torrents.lock
    for torrent in torrents:
        torrent.handle = Handle(torrent.handle)
    assert (seeder.uploaded(), seeder.receivers()) == ({}, {})
    for torrent in torrents:
        torrent.handle = torrent.handle.real
    assert free == [True] * 6


def test_after_a_withdrawal_in_the_middle_nothing_is_written_any_more(seeder: Engine, leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path, 64 << 20)
    peer = seed(seeder, metainfo, path)

    def once(unfinished: Path, again: Path) -> None:
        start(leecher, metainfo, unfinished, peer)
        eventually(lambda: unfinished.stat().st_blocks, what="the first bytes")
        leecher.withdraw(metainfo.etag)
        unfinished.unlink()
        download = start(leecher, metainfo, again, peer)
        eventually(lambda: finished(download), timeout_s=20, what="the same blob in another file")
        leecher.withdraw(metainfo.etag)
        assert not unfinished.exists()

    for number in range(3):
        once(tmp_path / f"unfinished{number}", tmp_path / f"again{number}")


def test_what_has_arrived_can_be_used_when_a_download_is_given_up(leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path, 16 << 20)
    with engine(downloads=False, limit="4M") as slow:
        download = start(leecher, metainfo, tmp_path / "tmp", seed(slow, metainfo, path))
        eventually(lambda: download.bytes_done > 4 << 20, timeout_s=20, what="a quarter of the blob")
        have = leecher.downloads.give_up(metainfo.etag)
    content, partial = path.read_bytes(), (tmp_path / "tmp").read_bytes()
    assert sum(stop - start for start, stop in have) >= 3 << 20
    assert all(start < stop for start, stop in have)
    assert all(before[1] < after[0] for before, after in pairwise(have)), "in order, adjacent ones joined"
    assert all(partial[start:stop] == content[start:stop] for start, stop in have)
    assert metainfo.etag not in leecher.seeding()
    (tmp_path / "tmp").unlink()
    assert leecher.totals() is not None
    assert not (tmp_path / "tmp").exists()


def test_alone_with_seeders_pieces_come_in_order_and_with_other_leechers_they_do_not(leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path, 64 << 20)
    with engine(downloads=False, limit="8M") as slow, engine() as other:
        peer = seed(slow, metainfo, path)
        download = start(leecher, metainfo, tmp_path / "tmp", peer)
        eventually(lambda: download.in_order, what="the order to be chosen")
        before = download.prefix_bytes
        eventually(lambda: download.prefix_bytes > before + (2 << 20), what="the prefix to grow")
        start(other, metainfo, tmp_path / "tmp2", peer, ("127.0.0.1", leecher.port))
        eventually(lambda: not download.in_order, what="pieces to be traded")


def test_leechers_of_a_young_swarm_have_the_seeder_send_each_piece_once(tmp_path: Path) -> None:
    size = 24 << 20
    metainfo, path = make_blob(tmp_path, size)
    with ExitStack() as stack:
        slow = stack.enter_context(engine(downloads=False, limit="8M"))
        leechers = [stack.enter_context(engine()) for _ in range(4)]
        peers = [seed(slow, metainfo, path), *(("127.0.0.1", one.port) for one in leechers)]
        downloads = [start(one, metainfo, tmp_path / f"{number}", *peers) for number, one in enumerate(leechers)]
        eventually(lambda: all(finished(download) for download in downloads), timeout_s=60, what="the downloads")
        assert slow.uploaded()[metainfo.etag] < 1.17 * size
        assert all((tmp_path / f"{number}").read_bytes() == path.read_bytes() for number in range(4))


def test_a_machine_that_shares_nothing_gives_nothing(seeder: Engine, leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path)
    with engine(shares=False) as selfish:
        download = start(selfish, metainfo, tmp_path / "tmp", seed(seeder, metainfo, path))
        second = start(leecher, metainfo, tmp_path / "tmp2", ("127.0.0.1", selfish.port))
        eventually(lambda: finished(download), what="the download")
        eventually(lambda: second.peers or second.lost_peers, what="the two to meet")
        selfish.downloads.flush(metainfo.etag)
        selfish.downloads.move(metainfo.etag, tmp_path / "final")
        assert (tmp_path / "final").read_bytes() == path.read_bytes()
        selfish.seed(SeededBlob(metainfo.etag, metainfo.size, metainfo.root, tmp_path / "final"))
        assert not selfish.seeding()
        assert selfish.totals().uploaded_bytes == 0
    assert second.bytes_done == 0


def test_nothing_goes_beyond_the_lan_and_no_port_is_opened_in_a_router(seeder: Engine) -> None:
    settings = seeder.session_settings()
    switched_off = ("enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp", "enable_outgoing_utp", "enable_incoming_utp")
    assert {name: settings[name] for name in switched_off} == dict.fromkeys(switched_off, False)


def test_no_torrent_exchanges_its_peers(seeder: Engine, leecher: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path)
    start(leecher, metainfo, tmp_path / "tmp", seed(seeder, metainfo, path))
    for running in (seeder, leecher):
        assert running.torrent_flags(metainfo.etag) >= {"disable_pex", "disable_dht", "disable_lsd", "apply_ip_filter"}


def test_limits_follow_the_hours_of_the_day() -> None:
    hours = RateLimit.parse("10M@08:00-18:00,0")
    settings = EngineSettings(("127.0.0.1",), 0, LOOPBACK, upload_limit=hours, download_limit=hours)
    with Engine(settings) as running:
        for hour, bytes_s in ((9, 10 << 20), (20, 0)):
            running.apply_limits(time(hour))
            found = running.session_settings()
            assert (found["upload_rate_limit"], found["download_rate_limit"]) == (bytes_s, bytes_s)


def test_the_session_takes_the_limits_of_the_hour_by_itself() -> None:
    class Changing:
        bytes_s = 5 << 20

        def at(self, _now: time) -> int:
            return self.bytes_s

    limit: Any = Changing()
    settings = EngineSettings(("127.0.0.1",), 0, LOOPBACK, upload_limit=limit)
    with Engine(settings, timings=EngineTimings(limits_interval_s=0.05)) as running:
        assert running.session_settings()["upload_rate_limit"] == 5 << 20
        limit.bytes_s = 7 << 20
        eventually(lambda: running.session_settings()["upload_rate_limit"] == 7 << 20, what="the new limit")


def test_limits_hold_on_the_local_network_too(seeder: Engine, tmp_path: Path) -> None:
    metainfo, path = make_blob(tmp_path, 16 << 20)
    settings = EngineSettings(("127.0.0.1",), 0, LOOPBACK, download_limit=RateLimit.parse("8M"))
    with Engine(settings) as limited:
        started = monotonic()
        download = start(limited, metainfo, tmp_path / "tmp", seed(seeder, metainfo, path))
        eventually(lambda: finished(download), timeout_s=20, what="the download")
        assert monotonic() - started > 0.7, "without a limit it takes a tenth of a second"


@pytest.fixture
def web_seed(tmp_path: Path) -> Iterator[BlobServer]:
    with BlobServer() as running:
        yield running


@pytest.mark.parametrize("size", [3 << 20, (3 << 20) + 17])
def test_a_web_seed_alone_gives_a_blob_and_its_bytes_are_counted_to_http(
    leecher: Engine, web_seed: BlobServer, tmp_path: Path, size: int
) -> None:
    metainfo, path = make_blob(tmp_path, size)
    web_seed.contents[metainfo.etag.value] = path.read_bytes()
    download = start(leecher, metainfo, tmp_path / "tmp")
    leecher.downloads.add_web_seed(metainfo.etag, f"{web_seed.url}/blobs/{metainfo.etag}")
    eventually(lambda: finished(download), timeout_s=10, what="the download")
    assert download.bytes_by_peer == {HTTP: metainfo.size}
    assert download.seeder_bytes == 0, "no seeder has sent it by BitTorrent"


def test_what_a_web_seed_sends_is_checked_like_any_peers(leecher: Engine, web_seed: BlobServer, tmp_path: Path) -> None:
    metainfo, _ = make_blob(tmp_path)
    web_seed.contents[metainfo.etag.value] = bytes(metainfo.size)
    download = start(leecher, metainfo, tmp_path / "tmp")
    leecher.downloads.add_web_seed(metainfo.etag, f"{web_seed.url}/blobs/{metainfo.etag}")
    eventually(lambda: web_seed.requests, timeout_s=10, what="a request for wrong bytes")
    eventually(lambda: download.peers == 0, timeout_s=10, what="its end")
    assert download.state == "running"
    assert download.prefix_bytes == 0


def test_a_web_seed_that_stalls_is_taken_anew_and_every_byte_is_accounted_for(
    leecher: Engine, web_seed: BlobServer, tmp_path: Path
) -> None:
    metainfo, path = make_blob(tmp_path)
    web_seed.contents[metainfo.etag.value] = path.read_bytes()
    web_seed.stall_after = 1 << 20
    download = start(leecher, metainfo, tmp_path / "tmp")
    url = f"{web_seed.url}/blobs/{metainfo.etag}"
    leecher.downloads.add_web_seed(metainfo.etag, url)
    eventually(lambda: download.bytes_done >= 1 << 20, timeout_s=10, what="its first bytes")
    web_seed.stall_after = None
    leecher.downloads.add_web_seed(metainfo.etag, url)
    eventually(lambda: finished(download), timeout_s=10, what="the download")
    assert metainfo.size <= sum(download.bytes_by_peer.values()) <= metainfo.size + metainfo.piece_length


def test_a_web_seed_that_is_dropped_is_asked_no_more(
    seeder: Engine, leecher: Engine, web_seed: BlobServer, tmp_path: Path
) -> None:
    metainfo, path = make_blob(tmp_path)
    web_seed.contents[metainfo.etag.value] = path.read_bytes()
    web_seed.stall_after = 1 << 20
    download = start(leecher, metainfo, tmp_path / "tmp")
    url = f"{web_seed.url}/blobs/{metainfo.etag}"
    leecher.downloads.add_web_seed(metainfo.etag, url)
    eventually(lambda: download.bytes_done >= 1 << 20, timeout_s=10, what="its first bytes")
    leecher.downloads.drop_web_seed(metainfo.etag, url)
    asked = len(web_seed.requests)
    leecher.downloads.add_peers(metainfo.etag, [seed(seeder, metainfo, path)])
    eventually(lambda: finished(download), timeout_s=10, what="the rest")
    assert len(web_seed.requests) == asked
    rest = metainfo.size - (1 << 20) - metainfo.piece_length
    eventually(lambda: seeder.totals().uploaded_bytes >= rest, timeout_s=10, what="the seeder to have sent the rest")
