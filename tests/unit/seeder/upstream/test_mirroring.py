"""The queue at work, among fakes: what is taken, what is told, and what the LAN's machines hear of it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerRefused, TrackerUnavailable
from llmpt.core.leases import LeaseAnswer, Poll
from llmpt.core.mirrors import UNREACHABLE, Mirror, MirrorAsk, MirrorProblem, MirrorReport, MirrorState
from llmpt.core.orders import MirrorOrders
from llmpt.core.repo import RepoRef
from llmpt.host.loops import Rhythm
from llmpt.hub.asking import HubNo, HubUnreachable
from llmpt_seeder.cache.listing import ListedFile, Listing
from llmpt_seeder.errors import FetchFailed
from llmpt_seeder.life import Life
from llmpt_seeder.upstream.blob import BlobState, WantedBlob
from llmpt_seeder.upstream.growing import GrowingBlobs
from llmpt_seeder.upstream.leases import LeaseReports
from llmpt_seeder.upstream.mirroring import Mirroring, Stock
from llmpt_seeder.upstream.mirrors import chosen
from llmpt_seeder.upstream.process import Place
from llmpt_seeder.upstream.queue import MirrorQueue
from tests.support.waiting import eventually

COMMIT = "c" * 40
ORG = RepoRef("model", "org/name")
NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)
FILES = {
    "a.bin": ListedFile(Etag("a" * 64), 10),
    "b/c.bin": ListedFile(Etag("b" * 64), 20),
    "d.json": ListedFile(Etag("d" * 40), 3),
}


class FakeTracker:
    def __init__(self) -> None:
        self.mirrors_: dict[int, Mirror] = {}
        self.said: list[tuple[int, MirrorReport]] = []
        self.away = False
        self.cancelled: set[int] = set()
        self.pinned: set[RepoRef] = set()

    def add(self, *include: str, revision: str = "main", repo_id: str = "org/name") -> int:
        number = len(self.mirrors_) + 1
        ask = MirrorAsk(RepoRef("model", repo_id), revision, include)
        self.mirrors_[number] = Mirror(number, ask, MirrorReport(MirrorState.QUEUED), NOW, NOW)
        return number

    def mirrors(self, states: Collection[MirrorState] = ()) -> list[Mirror]:
        if self.away:
            raise TrackerUnavailable("no answer")
        return [mirror for mirror in self.mirrors_.values() if mirror.state in states]

    def mirror_orders(self) -> MirrorOrders:
        if self.away:
            raise TrackerUnavailable("no answer")
        return MirrorOrders(frozenset(self.cancelled), frozenset(self.pinned))

    def report_mirror(self, mirror_id: int, report: MirrorReport) -> None:
        if self.away:
            raise TrackerUnavailable("no answer")
        if mirror_id in self.cancelled:
            raise TrackerRefused("an operator has cancelled it", status=409, code="cancelled")
        self.said.append((mirror_id, report))
        self.mirrors_[mirror_id] = replace(self.mirrors_[mirror_id], report=report)


class FakeLookup:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def learn(self, repo: RepoRef, revision: str) -> tuple[str, Listing]:
        return self._answer("learn", revision)

    def known(self, repo: RepoRef, revision: str) -> tuple[str, Listing]:
        return self._answer("known", revision)

    def _answer(self, how: str, revision: str) -> tuple[str, Listing]:
        self.asked.append((how, revision))
        self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        return COMMIT, FILES


class FakeFetcher:
    def __init__(self) -> None:
        self.known: dict[Etag, WantedBlob] = {}
        self.released: list[Etag] = []
        self.pinned: Collection[RepoRef] = ()
        self.asked = 0

    def start(self) -> None:
        pass

    def join(self, timeout_s: float) -> None:
        pass

    def want(self, file: ListedFile, place: Place, askers: Sequence[str] = ()) -> WantedBlob:
        self.asked += 1
        return self.known.setdefault(file.etag, WantedBlob(file, place))

    def release(self, want: WantedBlob) -> None:
        self.released.append(want.file.etag)
        self.known.pop(want.file.etag, None)

    def wanted(self) -> list[WantedBlob]:
        return list(self.known.values())


class World:
    def __init__(self, folder: Path) -> None:
        self.tracker, self.lookup, self.fetcher = FakeTracker(), FakeLookup(), FakeFetcher()
        self.life = Life(folder / "seeder.alive")
        self.here: set[Etag] = set()
        self.told: list[Mapping[str, Any]] = []
        self.queue = MirrorQueue(lambda: self.tracker)
        self.shelf = Shelfless()
        stock = Stock(self.shelf, self.here.__contains__)  # type: ignore[arg-type]
        self.mirroring = Mirroring(
            self.queue,
            self.lookup,  # type: ignore[arg-type]
            self.fetcher,  # type: ignore[arg-type]
            stock,
            life=self.life,
        )
        self.leases = LeaseReports(self.hear, published=self.here.__contains__, min_blob_bytes=lambda: 5)

    def run(self, stack: ExitStack) -> None:
        stack.enter_context(self.mirroring)
        threads = [
            self.life.start("upstream", self.mirroring.step, wait=self.mirroring.wait),
            self.life.start("leases", lambda: self.leases.tell(self.fetcher.wanted()), Rhythm(interval_s=0.1)),
        ]
        for thread in threads:
            stack.callback(thread.join, 5)
        stack.callback(self.end)

    def hear(self, poll: Poll) -> LeaseAnswer:
        self.told.append(poll.as_json())
        return LeaseAnswer((), 0.5)

    def state_of(self, mirror_id: int, state: str) -> MirrorReport:
        def look() -> MirrorReport | None:
            report = self.tracker.mirrors_[mirror_id].report
            return report if report.state is MirrorState(state) else None

        return eventually(look, what=f"mirror {mirror_id} to be {state}")

    def end(self) -> None:
        self.life.stop.set()
        self.mirroring.hurry()


class Shelfless:
    def __init__(self) -> None:
        self.growing = GrowingBlobs()
        self.pinned: Collection[RepoRef] = ()

    def keep(self) -> None:
        pass


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with ExitStack() as stack:
        made.run(stack)
        yield made


def test_a_listing_is_done_when_the_catalogue_has_it(world: World) -> None:
    mirror = world.tracker.add()
    world.mirroring.knock()
    assert world.state_of(mirror, "done").commit == COMMIT
    assert world.lookup.asked == [("learn", "main")]
    assert world.fetcher.known == {}


def test_a_listing_that_takes_its_time_is_seen_to_be_looked_up(world: World) -> None:
    world.lookup.go_on.clear()
    mirror = world.tracker.add()
    world.mirroring.knock()
    world.state_of(mirror, "running")
    world.lookup.go_on.set()
    world.state_of(mirror, "done")


def test_the_files_that_are_named_and_not_here_are_fetched_and_reported_on(world: World) -> None:
    world.here.add(FILES["a.bin"].etag)
    mirror = world.tracker.add("*.bin", revision=COMMIT)
    world.mirroring.knock()
    want = eventually(lambda: world.fetcher.known.get(FILES["b/c.bin"].etag), what="the fetch")
    assert set(world.fetcher.known) == {FILES["b/c.bin"].etag}
    want.state = BlobState.RUNNING
    said = world.state_of(mirror, "running")
    assert (said.files_total, said.files_done, said.bytes_total, said.bytes_done) == (2, 1, 30, 10)
    want.end(BlobState.WAITING, FetchFailed("slowly", status=429, retry_after_s=9))
    assert world.state_of(mirror, "queued").error == MirrorProblem("slowly", 429, None, 9)
    want.end(BlobState.DONE)
    world.mirroring.hurry()
    said = world.state_of(mirror, "done")
    assert (said.files_done, said.bytes_done, said.error) == (2, 30, None)
    assert world.fetcher.released == [want.file.etag]


def test_two_paths_of_one_content_are_one_fetch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "copy.bin", FILES["a.bin"])
    mirror = world.tracker.add("a.bin", "copy.bin")
    world.mirroring.knock()
    eventually(lambda: world.fetcher.known, what="the fetch")
    for one in world.fetcher.wanted():
        one.state = BlobState.DONE
    assert world.state_of(mirror, "done").files_done == 2
    assert world.fetcher.asked == 1


def test_one_file_that_fails_fails_the_row_when_the_others_are_there(world: World) -> None:
    mirror = world.tracker.add("*")
    world.mirroring.knock()
    eventually(lambda: len(world.fetcher.known) == 3, what="three fetches")
    wants = list(world.fetcher.known.values())
    wants[0].end(BlobState.FAILED, FetchFailed("gone", status=404, code="EntryNotFound"))
    wants[1].state = wants[2].state = BlobState.DONE
    said = world.state_of(mirror, "failed")
    assert said.error == MirrorProblem("gone", 404, "EntryNotFound")
    assert said.files_done == 2


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (HubNo(403, "GatedRepo", "Ask its owner.", None), 403, "Ask its owner."),
        (HubNo(429, "", "slowly", 30), 429, "slowly"),
        (HubNo(503, "", "busy", None), None, "it answered 503, busy"),
        (HubUnreachable("no route"), None, "upstream cannot be reached: no route"),
        (TrackerRefused("a conflict", status=422, code="manifest_conflict"), None, "does not take its listing"),
        (ZeroDivisionError(), None, "ZeroDivisionError"),
    ],
)
def test_why_something_cannot_be_looked_up_is_told(world: World, error: Exception, status: int | None, words: str) -> None:
    world.lookup.error = error
    mirror = world.tracker.add()
    world.mirroring.knock()
    said = world.state_of(mirror, "failed").error
    assert said is not None
    assert said.status == status
    assert words in said.message
    assert (said.code == UNREACHABLE) == words.startswith(("it answered 503", "upstream cannot be reached"))


def test_a_pattern_that_fits_nothing_is_no_success(world: World) -> None:
    mirror = world.tracker.add("*.gguf")
    world.mirroring.knock()
    error = world.state_of(mirror, "failed").error
    assert error is not None
    assert error.code == "EntryNotFound"


def test_a_tracker_that_goes_away_in_the_middle_has_the_row_taken_again(world: World) -> None:
    world.lookup.error = TrackerUnavailable("it starts anew")
    mirror = world.tracker.add()
    world.mirroring.knock()
    eventually(lambda: world.lookup.asked, what="the first try")
    world.lookup.error = None
    eventually(lambda: not world.queue.taken, what="the mirror to be let go of")
    world.mirroring.knock()
    world.state_of(mirror, "done")


def test_what_is_unfinished_at_the_end_stays_in_the_queue(world: World) -> None:
    mirror = world.tracker.add("*")
    world.mirroring.knock()
    eventually(lambda: len(world.fetcher.known) == 3, what="three fetches")
    world.life.stop.set()
    for want in world.fetcher.known.values():
        want.end(BlobState.FAILED, FetchFailed("the seeder ends"))
    world.end()
    world.mirroring.step()
    assert world.tracker.mirrors_[mirror].state.is_open


def test_the_machines_of_the_lan_hear_of_big_blobs_until_others_can_have_them(world: World) -> None:
    world.tracker.add("*")
    world.mirroring.knock()
    eventually(lambda: len(world.fetcher.known) == 3, what="three fetches")
    big = world.fetcher.known[FILES["a.bin"].etag]
    big.state = BlobState.RUNNING
    body = eventually(lambda: next((one for one in world.told if one["fetching"]), None), what="word of a fetch")
    assert body["unlimited"] is True
    assert {one["etag"] for one in body["wants"]} == {FILES["a.bin"].etag.value, FILES["b/c.bin"].etag.value}
    for want in world.fetcher.known.values():
        want.state = BlobState.DONE
    eventually(lambda: not world.fetcher.known, what="the end of the mirror")
    assert not any(one["ended"] for one in world.told)
    world.here.update(file.etag for file in FILES.values())

    def ended() -> set[str]:
        return {one["etag"] for body in world.told for one in body["ended"] if one["outcome"] == "published"}

    eventually(lambda: len(ended()) == 2, timeout_s=5, what="the end of both leases")


@pytest.mark.parametrize(
    ("include", "paths"),
    [
        (("*",), {"a.bin", "b/c.bin", "d.json"}),
        (("b/",), {"b/c.bin"}),
        (("a[.]bin",), {"a.bin"}),
        (("*.json", "a*"), {"a.bin", "d.json"}),
    ],
)
def test_patterns_are_the_librarys(include: tuple[str, ...], paths: set[str]) -> None:
    mirror = Mirror(1, MirrorAsk(ORG, "main", include), MirrorReport(MirrorState.QUEUED), NOW, NOW)
    assert set(chosen(mirror, FILES)) == paths


def cancel(world: World, mirror: int) -> None:
    world.tracker.cancelled.add(mirror)
    said = replace(world.tracker.mirrors_[mirror].report, state=MirrorState.CANCELLED)
    world.tracker.mirrors_[mirror] = replace(world.tracker.mirrors_[mirror], report=said)


def test_what_an_operator_cancels_is_let_go_at_a_knock_also_while_nothing_moves(world: World) -> None:
    mirror = world.tracker.add("a.bin", revision=COMMIT)
    world.mirroring.knock()
    eventually(lambda: FILES["a.bin"].etag in world.fetcher.known, what="the fetch")
    cancel(world, mirror)
    world.mirroring.knock()
    eventually(lambda: world.fetcher.released == [FILES["a.bin"].etag], what="the fetch to be let go")
    assert world.queue.taken == frozenset()
    assert world.tracker.mirrors_[mirror].state is MirrorState.CANCELLED


def test_a_report_that_is_refused_lets_a_cancelled_mirror_go_without_a_knock(world: World) -> None:
    mirror = world.tracker.add("a.bin", revision=COMMIT)
    world.mirroring.knock()
    want = eventually(lambda: world.fetcher.known.get(FILES["a.bin"].etag), what="the fetch")
    cancel(world, mirror)
    want.state = BlobState.RUNNING
    eventually(lambda: world.fetcher.released == [FILES["a.bin"].etag], what="the fetch to be let go")
    asked = world.fetcher.asked
    world.mirroring.knock()
    eventually(lambda: world.queue.taken == frozenset(), what="the queue to be empty")
    assert world.fetcher.asked == asked


def test_what_is_pinned_is_known_before_anything_is_taken_and_nothing_is_taken_without(world: World) -> None:
    world.tracker.pinned = {RepoRef(ORG.type, ORG.id.upper())}
    world.tracker.add("a.bin", revision=COMMIT)
    world.mirroring.knock()
    eventually(lambda: world.fetcher.known, what="the fetch")
    assert set(world.fetcher.pinned) == set(world.shelf.pinned) == {ORG}
