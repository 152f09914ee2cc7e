"""When a download is given up and when not, against an engine that does as told."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmpt.agent.sharing.leases import AwaitedBlob
from llmpt.agent.transfer.hub_rate import HubRate
from llmpt.agent.transfer.jobs import Jobs
from llmpt.agent.transfer.parts import JobParts
from llmpt.agent.transfer.sight import Http
from llmpt.agent.transfer.timings import JobTimings
from llmpt.agent.transfer.web_seed import WebSeed
from llmpt.core.blob import Etag
from llmpt.core.files import FileId
from llmpt.core.leases import Grant, LeaseRole, Want
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.disk.inventory import BlobOrigin
from llmpt.disk.stamp import FileStamp, stamp_of
from llmpt.link.answers import Done, Failed, Progress, Refused
from llmpt.link.requests import FetchRequest
from llmpt.swarm import Download, Source, Totals
from tests.support.waiting import eventually

CONTENT = b"0123456789" * 20_000
PEERS = (("127.0.0.1", 1),)
MORE_THAN_THERE_IS = 1 << 46  # of memory, as the stack of a thread: none can be had
IMPATIENT = JobTimings(stall_s=0.2, connect_s=0.1, keep_alive_s=0.02, progress_s=0.02, growth_s=0.02)


class World:
    """Engine, directory and seeds at once; `plot` says what becomes of the download."""

    def __init__(self, path: Path, metainfo: Metainfo, plot: Callable[[Download], None]) -> None:
        self.path, self.metainfo, self.plot = path, metainfo, plot
        self.peers: tuple[tuple[str, int], ...] = PEERS
        self.announce_url, self.announce_key, self.leechers = "", "", 0
        self.buried: list[Any] = []
        self.expected: list[FileStamp] = []
        self.origins: list[BlobOrigin] = []
        self.have: tuple[tuple[int, int], ...] = ()
        self.by_http: str | None = None
        self.web_seeds: list[str] = []
        self.came_at = 0.0  # as if nothing ever had come
        self.begun: Download | None = None
        self.others_bytes = 0
        self.accused: list[Metainfo] = []

    @property
    def downloads(self) -> World:
        return self

    def begin(self, source: Source, path: Path, *, resume: bool) -> Download:
        self.web_seeds += [source.web_seed] if source.web_seed else []
        download = Download(source.metainfo, path)
        download.checking = resume
        self.begun = download
        threading.Thread(target=self.plot, args=(download,), daemon=True).start()
        return download

    def totals(self) -> Totals:
        return Totals(downloaded_bytes=self.others_bytes + (self.begun.bytes_done if self.begun else 0))

    def lookup(self, _etag: Etag) -> World:
        return self

    def alive(self, peers: Any) -> Any:
        return peers

    def bury(self, peers: Any) -> None:
        self.buried += peers

    def blob_url(self, _etag: Etag) -> str | None:
        return self.by_http

    def add_web_seed(self, _etag: Etag, url: str) -> None:
        self.web_seeds.append(url)

    def drop_web_seed(self, _etag: Etag, url: str) -> None:
        self.web_seeds.remove(url)

    def add_peers(self, *_: Any) -> None: ...

    def flush(self, _etag: Etag) -> None: ...

    def withdraw(self, _etag: Etag) -> None: ...

    def give_up(self, _etag: Etag) -> tuple[tuple[int, int], ...]:
        return self.have

    def move(self, _etag: Etag, destination: Path) -> None:
        self.path.rename(destination)

    def add(self, *_: Any, **__: Any) -> None: ...

    def find(self, _etag: Etag) -> None: ...

    def asked(self, *_: Any) -> None: ...

    def done(self, *_: Any) -> None: ...

    def accuse(self, torrent: Metainfo, _reason: str) -> None:
        self.accused.append(torrent)

    def expect(self, _metainfo: Metainfo, stamp: FileStamp) -> None:
        self.expected.append(stamp)

    def comes_from(self, _etag: Etag, origin: BlobOrigin) -> None:
        self.origins.append(origin)


def make(
    tmp_path: Path,
    plot: Callable[[Download], None],
    *,
    ordinary_rate_bytes_s: int = 0,
    for_all: Any = None,
    timings: JobTimings = IMPATIENT,
) -> tuple[World, Callable[[], Done | Refused | Failed], list[Progress]]:
    path = tmp_path / f"{'a' * 64}.01234567.incomplete"
    path.write_bytes(CONTENT)
    etag = Etag(hashlib.sha256(CONTENT).hexdigest())
    metainfo = Metainfo(etag, len(CONTENT), bytes(32), bytes(32 * 4))
    world: Any = World(path, metainfo, plot)
    request = FetchRequest(
        tracker="http://t",
        etag=etag,
        size=len(CONTENT),
        repo=RepoRef("model", "org/m"),
        revision="main",
        filename=RepoPath("f"),
        path=path,
        file=FileId.of(path.stat()),
        destination=tmp_path / "final",
        replace=False,
        ordinary_rate_bytes_s=ordinary_rate_bytes_s,
    )
    jobs = Jobs(JobParts(world, world, world, for_all, on_wrong=world.accuse, timings=timings), world)
    heard: list[Progress] = []
    return world, lambda: jobs.fetch(request, heard.append, lambda: False), heard


def test_a_check_of_what_is_there_takes_its_time_and_the_hook_hears_of_it(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        threading.Event().wait(1.0)  # five times what trips the time-outs; this is the disk's speed, not a wait for something
        download.checking = False
        download.peers = 1
        download.finish()

    _, run, heard = make(tmp_path, plot)
    assert isinstance(run(), Done)
    assert (tmp_path / "final").read_bytes() == CONTENT
    assert len([progress for progress in heard if progress.done_bytes == 0]) >= 5, "at work, and nothing to show yet"


def test_what_was_changed_on_this_machines_disk_accuses_nobody(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        world.path.write_bytes(CONTENT[::-1])
        download.checking = False
        download.peers = 1
        download.finish()

    world, run, _ = make(tmp_path, plot)
    world.have = ((0, len(CONTENT)),)  # as the session believes
    answer = run()
    assert isinstance(answer, Failed)
    assert answer.reason == "what had arrived was changed on this machine's disk"
    assert answer.have == ()
    assert world.accused == []


def test_peers_that_do_not_answer_are_refused_soon_and_left_alone(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False

    world, run, _ = make(tmp_path, plot)
    answer = run()
    assert isinstance(answer, Refused)
    assert re.search("none of its 1 peers answered", answer.reason)
    assert world.buried == list(PEERS)


def test_what_is_on_disk_when_peers_do_not_answer_is_told_of(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False

    world, run, _ = make(tmp_path, plot)
    world.have = ((0, 65536),)
    answer = run()
    assert isinstance(answer, Failed)
    assert re.search("none of its 1 peers answered", answer.reason)
    assert answer.have == ((0, 65536),)
    assert world.expected == [stamp_of(world.path)], "the hook will say where the whole file lies"


def test_a_transfer_that_progresses_is_never_given_up(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers = 1
        for _ in range(20):  # slowly: in all ten times the stall time-out
            threading.Event().wait(0.1)
            download.bytes_done += 1
            download.touch()
        download.finish()

    _, run, _ = make(tmp_path, plot)
    assert isinstance(run(), Done)


def test_one_without_a_byte_is(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers, download.bytes_done = 1, 5
        download.touch()

    _, run, _ = make(tmp_path, plot)
    answer = run()
    assert isinstance(answer, Failed)
    assert re.search(r"no byte for 0.2 s, 5 of \d+ bytes had come", answer.reason)


def test_a_disk_that_says_no_ends_it_at_once(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.fail("the disk said no: No space left on device")

    _, run, _ = make(tmp_path, plot)
    answer = run()
    assert isinstance(answer, Failed)
    assert re.search("No space left", answer.reason)


def test_one_that_crawls_beside_the_ordinary_path_leaves_it_the_rest(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers = 1
        for _ in range(100):
            threading.Event().wait(0.05)
            download.bytes_done += 1
            download.touch()

    timings = replace(IMPATIENT, window_s=0.5)
    world, run, _ = make(tmp_path, plot, ordinary_rate_bytes_s=1_000_000, timings=timings)
    world.have = ((0, 65536),)
    answer = run()
    assert isinstance(answer, Failed)
    assert re.search("much slower than the Hub", answer.reason)
    assert answer.have == ((0, 65536),)
    assert world.buried == [], "its peers are not to blame"


URL = "http://server:8001/blobs/x"


@pytest.mark.parametrize("look_again_s", [0.05, 1.5])
def test_when_no_peer_answers_a_seeder_gives_it_over_http(tmp_path: Path, look_again_s: float) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        eventually(lambda: world.web_seeds, what="the web seed")
        download.peers = 1
        download.finish()

    world, run, _ = make(tmp_path, plot, timings=replace(IMPATIENT, look_again_s=look_again_s))
    world.by_http = URL
    assert isinstance(run(), Done)
    assert world.web_seeds == [URL]
    assert world.buried == list(PEERS), "the next file need not wait for them"


def test_one_that_does_not_answer_over_http_either_is_refused(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False

    world, run, _ = make(tmp_path, plot)
    world.by_http = URL
    answer = run()
    assert isinstance(answer, Refused)
    assert re.search("none of its 1 peers answered", answer.reason)


def test_what_only_a_seeders_http_gives_is_taken_from_there_at_once(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers = 1
        download.finish()

    world, run, _ = make(tmp_path, plot)
    world.peers, world.by_http = (), URL
    assert isinstance(run(), Done)
    assert world.web_seeds == [URL]


def test_a_transfer_that_stalls_goes_on_over_http(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers, download.bytes_done = 1, 5
        download.touch()
        eventually(lambda: world.web_seeds, what="the web seed")
        download.finish()

    world, run, _ = make(tmp_path, plot)
    world.by_http = URL
    assert isinstance(run(), Done)


def test_one_whose_peers_give_bytes_leaves_the_server_alone(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers = 1
        for _ in range(10):
            threading.Event().wait(0.05)
            download.bytes_done += 1
            download.touch()
        download.finish()

    world, run, _ = make(tmp_path, plot)
    world.by_http = URL
    assert isinstance(run(), Done)
    assert world.web_seeds == []


def test_machines_that_trade_do_not_pull_on_the_one_server_any_more(tmp_path: Path) -> None:
    world, _, _ = make(tmp_path, lambda _: None)
    download = Download(world.metainfo, world.path)
    world.by_http = URL
    anything: Any = world
    web = WebSeed(anything, anything, world.metainfo.etag)
    assert web.take(download)
    assert not web.is_spare(download)
    download.leechers = 1
    assert not web.is_spare(download), "no seeder gives anything by BitTorrent"
    download.seeder_bytes += 1
    assert web.is_spare(download)
    web.drop(download)
    assert web.state is not Http.TAKEN
    assert world.web_seeds == []


def test_a_running_download_lets_go_of_the_server_when_machines_trade(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers, download.leechers, download.bytes_done, download.seeder_bytes = 2, 1, 5, 5
        download.touch()
        eventually(lambda: not world.web_seeds, what="the web seed to be dropped")
        download.finish()

    world, run, _ = make(tmp_path, plot)
    world.peers, world.by_http = (), URL
    assert isinstance(run(), Done)


@pytest.mark.parametrize(("leechers", "expected"), [(0, [URL]), (1, [])])
def test_a_lone_leecher_of_a_lone_seeder_takes_both_ways(tmp_path: Path, leechers: int, expected: list[str]) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers = 1
        download.finish()

    world, run, _ = make(tmp_path, plot, timings=replace(IMPATIENT, worth_http_bytes=1))
    world.by_http, world.leechers = URL, leechers
    assert isinstance(run(), Done)
    assert world.web_seeds == expected


class Tracker:
    """Answers whose turn it is, as `ForAll` with its leases and its permission; `role` None: the tracker says nothing."""

    def __init__(self, role: LeaseRole | None, *, why_not: str = "") -> None:
        self.role, self.reason = role, why_not
        self.held: list[Etag] = []
        self.asked = 0
        self.leases: Any = self
        self.permission: Any = self
        self.hub_rate = HubRate()

    def lacks(self, _repo: RepoRef) -> bool:
        return False

    def note(self, _repo: RepoRef, *, lacks: bool) -> None: ...

    def why_not(self, _request: FetchRequest) -> str:
        return self.reason

    @contextmanager
    def want(self, etag: Etag, size: int, repo: RepoRef) -> Iterator[AwaitedBlob]:
        self.asked += 1
        awaited = AwaitedBlob(Want(etag, size, repo), 0.0)
        awaited.lease = None if self.role is None else Grant(etag, self.role, "bob")
        yield awaited

    def await_answer(self, *_: Any) -> None: ...

    def hold(self, etag: Etag) -> None:
        self.held.append(etag)

    def end(self, etag: Etag, _outcome: str) -> None:
        self.held.remove(etag)

    def report(self, *_: Any) -> None: ...


def stands_still(download: Download) -> None:
    download.checking = False
    download.peers, download.leechers, download.bytes_done = 2, 1, 5
    download.touch()


def test_where_others_stand_still_too_one_machine_fetches_the_rest_for_all(tmp_path: Path) -> None:
    tracker = Tracker(LeaseRole.FETCH)
    world, run, _ = make(tmp_path, stands_still, for_all=tracker)
    world.have = ((0, 65536),)
    answer = run()
    assert isinstance(answer, Failed)
    assert "no byte for" in answer.reason
    assert (answer.have, answer.fetch, tracker.held) == (((0, 65536),), True, [world.metainfo.etag])


def test_if_nothing_of_it_is_there_it_fetches_the_whole(tmp_path: Path) -> None:
    tracker = Tracker(LeaseRole.FETCH)
    world, run, _ = make(tmp_path, stands_still, for_all=tracker)
    answer = run()
    assert isinstance(answer, Refused)
    assert (answer.fetch, tracker.held) == (True, [world.metainfo.etag])


def test_the_others_wait_and_take_what_comes_meanwhile(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        stands_still(download)
        eventually(lambda: tracker.asked, what="whose turn it is")
        threading.Event().wait(1.0)  # five times the stall time-out, without a byte
        download.finish()

    tracker = Tracker(LeaseRole.WAIT)
    _, run, _ = make(tmp_path, plot, for_all=tracker)
    assert isinstance(run(), Done)
    assert tracker.held == []


@pytest.mark.parametrize(
    "tracker", [Tracker(LeaseRole.HERE), Tracker(LeaseRole.FETCH, why_not="it is private")], ids=["here in vain", "not shared"]
)
def test_who_is_told_nothing_better_fetches_the_rest_for_itself(tmp_path: Path, tracker: Tracker) -> None:
    world, run, _ = make(tmp_path, stands_still, for_all=tracker)
    world.have = ((0, 65536),)
    answer = run()
    assert isinstance(answer, Failed)
    assert (answer.fetch, tracker.held) == (False, [])
    assert world.buried == list(PEERS)


def test_with_one_peer_only_nobody_is_asked(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers, download.bytes_done = 1, 5
        download.touch()

    tracker = Tracker(LeaseRole.WAIT)
    _, run, _ = make(tmp_path, plot, for_all=tracker)
    answer = run()
    assert isinstance(answer, Failed)
    assert "no byte for" in answer.reason
    assert tracker.asked == 0


def test_a_blob_waits_while_others_of_the_machine_get_on(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        stands_still(download)
        for _ in range(20):
            threading.Event().wait(0.05)
            world.came_at = time.monotonic()
        download.finish()

    world, run, _ = make(tmp_path, plot)
    assert isinstance(run(), Done)


def test_one_that_crawls_while_the_machine_has_its_fill_goes_on(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers = 1
        for _ in range(20):
            threading.Event().wait(0.05)
            download.bytes_done += 1
            world.others_bytes += 1_000_000
            download.touch()
        download.finish()

    world, run, _ = make(tmp_path, plot, ordinary_rate_bytes_s=1_000_000, timings=replace(IMPATIENT, window_s=0.3))
    assert isinstance(run(), Done)


def test_without_a_thread_left_it_is_answered_at_once_and_begun_anew_the_next_time(tmp_path: Path) -> None:
    def plot(download: Download) -> None:
        download.checking = False
        download.peers = 1
        download.finish()

    _, run, _ = make(tmp_path, plot)
    before = threading.stack_size(MORE_THAN_THERE_IS)
    try:
        answer = run()
    finally:
        threading.stack_size(before)
    assert isinstance(answer, Failed)
    assert "the agent cannot begin it" in answer.reason
    assert isinstance(run(), Done)


def test_a_bug_is_an_answer_and_nothing_is_left_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world, run, _ = make(tmp_path, lambda download: setattr(download, "checking", False))
    withdrawn: list[Etag] = []
    world.withdraw = withdrawn.append  # type: ignore[method-assign, assignment]
    world.bury = lambda _: 1 / 0  # type: ignore[method-assign, assignment]
    answer = run()
    assert isinstance(answer, Failed)
    assert "a bug of llmpt (ZeroDivisionError)" in answer.reason
    assert "ZeroDivisionError" in caplog.text
    assert set(withdrawn) == {world.metainfo.etag}, "nothing writes to the file any more"
