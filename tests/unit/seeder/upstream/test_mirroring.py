"""The queue at work, among fakes: what is taken, what is told, and what the LAN's machines hear of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerRefused, TrackerUnavailable
from llmpt.core.leases import LeaseAnswer, Poll
from llmpt.core.repo import RepoRef
from llmpt.hub.visibility import HubUnreachable
from llmpt_seeder.cache.listing import ListedFile, Listing
from llmpt_seeder.hub.tree import HubRefused
from llmpt_seeder.upstream.fetcher import Want
from llmpt_seeder.upstream.growing import Growths
from llmpt_seeder.upstream.jobs import UNREACHABLE, Row
from llmpt_seeder.upstream.leases import LeaseReports
from llmpt_seeder.upstream.mirroring import Mirroring
from llmpt_seeder.upstream.process import FetchFailed, Place
from tests.support.waiting import eventually

COMMIT = "c" * 40
ORG = RepoRef("model", "org/name")
FILES = {
    "a.bin": ListedFile(Etag("a" * 64), 10),
    "b/c.bin": ListedFile(Etag("b" * 64), 20),
    "d.json": ListedFile(Etag("d" * 40), 3),
}


class FakeTracker:
    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.said: list[tuple[int, dict[str, Any]]] = []
        self.away = False

    def add(self, *include: str, revision: str = "main", repo_id: str = "org/name") -> int:
        number = len(self.rows) + 1
        row = {"id": number, "repo_type": "model", "repo_id": repo_id, "revision": revision, "include": list(include)}
        self.rows[number] = {**row, "state": "queued"}
        return number

    def mirrors(self, states: str) -> list[dict[str, Any]]:
        if self.away:
            raise TrackerUnavailable("no answer")
        return [row for row in self.rows.values() if row["state"] in states]

    def report_mirror(self, mirror_id: int, body: Mapping[str, Any]) -> None:
        if self.away:
            raise TrackerUnavailable("no answer")
        self.said.append((mirror_id, dict(body)))
        self.rows[mirror_id] |= body


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
        self.known: dict[Etag, Want] = {}
        self.released: list[Etag] = []
        self.asked = 0

    def start(self) -> None:
        pass

    def join(self, timeout_s: float) -> None:
        pass

    def want(self, file: ListedFile, place: Place) -> Want:
        self.asked += 1
        return self.known.setdefault(file.etag, Want(file, place))

    def release(self, want: Want) -> None:
        self.released.append(want.file.etag)
        self.known.pop(want.file.etag, None)

    def wants(self) -> list[Want]:
        return list(self.known.values())


class World:
    def __init__(self) -> None:
        self.tracker, self.lookup, self.fetcher, self.stop = FakeTracker(), FakeLookup(), FakeFetcher(), threading.Event()
        self.here: set[Etag] = set()
        self.told: list[Mapping[str, Any]] = []
        self.mirroring = Mirroring(
            connect=lambda: self.tracker,
            lookup=self.lookup,  # type: ignore[arg-type]
            fetcher=self.fetcher,  # type: ignore[arg-type]
            growths=Growths(),
            shelf=Shelfless(),  # type: ignore[arg-type]
            leases=LeaseReports(self.hear, published=self.here.__contains__, min_blob_bytes=5),
            has=self.here.__contains__,
            beat=lambda: None,
            stop=self.stop,
        )
        self.thread = threading.Thread(target=self.mirroring.run, daemon=True)

    def hear(self, poll: Poll) -> LeaseAnswer:
        self.told.append(poll.as_json())
        return LeaseAnswer((), 0.5)

    def state_of(self, row: int, state: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            return self.tracker.rows[row] if self.tracker.rows[row]["state"] == state else None

        return eventually(look, what=f"row {row} to be {state}")

    def end(self) -> None:
        self.stop.set()
        self.mirroring.hurry()
        self.thread.join(5)


class Shelfless:
    def keep(self) -> None:
        pass


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.thread.start()
    yield made
    made.end()


def test_a_listing_is_done_when_the_catalogue_has_it(world: World) -> None:
    row = world.tracker.add()
    world.mirroring.knock()
    assert world.state_of(row, "done")["commit"] == COMMIT
    assert world.lookup.asked == [("learn", "main")]
    assert world.fetcher.known == {}


def test_a_listing_that_takes_its_time_is_seen_to_be_looked_up(world: World) -> None:
    world.lookup.go_on.clear()
    row = world.tracker.add()
    world.mirroring.knock()
    world.state_of(row, "running")
    world.lookup.go_on.set()
    world.state_of(row, "done")


def test_the_files_that_are_named_and_not_here_are_fetched_and_reported_on(world: World) -> None:
    world.here.add(FILES["a.bin"].etag)
    row = world.tracker.add("*.bin", revision=COMMIT)
    world.mirroring.knock()
    want = eventually(lambda: world.fetcher.known.get(FILES["b/c.bin"].etag), what="the fetch")
    assert set(world.fetcher.known) == {FILES["b/c.bin"].etag}
    want.state = "running"
    said = world.state_of(row, "running")
    assert (said["files_total"], said["files_done"], said["bytes_total"], said["bytes_done"]) == (2, 1, 30, 10)
    want.state, want.error = "waiting", FetchFailed("slowly", status=429, retry_after_s=9)
    assert world.state_of(row, "queued")["error"] == {"message": "slowly", "status": 429, "code": None, "retry_after_s": 9}
    want.state, want.error = "done", None
    world.mirroring.hurry()
    said = world.state_of(row, "done")
    assert (said["files_done"], said["bytes_done"], said.get("error")) != (1, 10, None)
    assert world.fetcher.released == [want.file.etag]


def test_two_paths_of_one_content_are_one_fetch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "copy.bin", FILES["a.bin"])
    row = world.tracker.add("a.bin", "copy.bin")
    world.mirroring.knock()
    eventually(lambda: world.fetcher.known, what="the fetch")
    for one in world.fetcher.wants():
        one.state = "done"
    assert world.state_of(row, "done")["files_done"] == 2
    assert world.fetcher.asked == 1


def test_one_file_that_fails_fails_the_row_when_the_others_are_there(world: World) -> None:
    row = world.tracker.add("*")
    world.mirroring.knock()
    eventually(lambda: len(world.fetcher.known) == 3, what="three fetches")
    wants = list(world.fetcher.known.values())
    wants[0].state, wants[0].error = "failed", FetchFailed("gone", status=404, code="EntryNotFound")
    wants[1].state = wants[2].state = "done"
    said = world.state_of(row, "failed")
    assert said["error"] == {"message": "gone", "status": 404, "code": "EntryNotFound", "retry_after_s": None}
    assert said["files_done"] == 2


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (HubRefused(403, "GatedRepo", "Ask its owner.", None), 403, "Ask its owner."),
        (HubRefused(429, "", "slowly", 30), 429, "slowly"),
        (HubRefused(503, "", "busy", None), None, "it answered 503, busy"),
        (HubUnreachable("no route"), None, "upstream cannot be reached: no route"),
        (TrackerRefused("a conflict", status=422, code="manifest_conflict"), None, "does not take its listing"),
        (ZeroDivisionError(), None, "ZeroDivisionError"),
    ],
)
def test_why_something_cannot_be_looked_up_is_told(world: World, error: Exception, status: int | None, words: str) -> None:
    world.lookup.error = error
    row = world.tracker.add()
    world.mirroring.knock()
    said = world.state_of(row, "failed")["error"]
    assert said["status"] == status
    assert words in said["message"]
    assert (said["code"] == UNREACHABLE) == words.startswith(("it answered 503", "upstream cannot be reached"))


def test_a_pattern_that_fits_nothing_is_no_success(world: World) -> None:
    row = world.tracker.add("*.gguf")
    world.mirroring.knock()
    assert world.state_of(row, "failed")["error"]["code"] == "EntryNotFound"


def test_a_tracker_that_goes_away_in_the_middle_has_the_row_taken_again(world: World) -> None:
    world.lookup.error = TrackerUnavailable("it starts anew")
    row = world.tracker.add()
    world.mirroring.knock()
    eventually(lambda: world.lookup.asked, what="the first try")
    world.lookup.error = None
    eventually(lambda: not world.mirroring._taken, what="the row to be let go of")
    world.mirroring.knock()
    world.state_of(row, "done")


def test_what_is_unfinished_at_the_end_stays_in_the_queue(world: World) -> None:
    row = world.tracker.add("*")
    world.mirroring.knock()
    eventually(lambda: len(world.fetcher.known) == 3, what="three fetches")
    world.stop.set()
    for want in world.fetcher.known.values():
        want.state, want.error = "failed", FetchFailed("the seeder ends")
    world.end()
    assert world.tracker.rows[row]["state"] in ("queued", "running")


def test_the_machines_of_the_lan_hear_of_big_blobs_until_others_can_have_them(world: World) -> None:
    world.tracker.add("*")
    world.mirroring.knock()
    eventually(lambda: len(world.fetcher.known) == 3, what="three fetches")
    big = world.fetcher.known[FILES["a.bin"].etag]
    big.state = "running"
    body = eventually(lambda: next((one for one in world.told if one["fetching"]), None), what="word of a fetch")
    assert body["unlimited"] is True
    assert {one["etag"] for one in body["wants"]} == {FILES["a.bin"].etag.value, FILES["b/c.bin"].etag.value}
    for want in world.fetcher.known.values():
        want.state = "done"
    eventually(lambda: not world.fetcher.known, what="the end of the row")
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
    assert set(Row(1, ORG, "main", include).chosen(FILES)) == paths


def test_a_row_that_makes_no_sense_does_not_hold_up_the_others(world: World) -> None:
    odd = world.tracker.add(repo_id="../x")
    row = world.tracker.add()
    world.mirroring.knock()
    world.state_of(row, "done")
    assert world.tracker.rows[odd]["state"] == "queued"
