"""Fetching: each blob once, verified as it comes, tried again where that may help."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.breaker import Pauses
from llmpt.core.errors import ContentMismatch
from llmpt.core.repo import RepoRef
from llmpt_seeder.blobs.sources import FileState
from llmpt_seeder.cache.listing import ListedFile
from llmpt_seeder.life import Life
from llmpt_seeder.state import SeederState
from llmpt_seeder.upstream.blob import BlobState, WantedBlob
from llmpt_seeder.upstream.fetcher import Fetcher, FetchTimings
from llmpt_seeder.upstream.growing import GrowingBlob, GrowingBlobs
from llmpt_seeder.upstream.process import Download, Place
from llmpt_seeder.upstream.shelf import Shelf
from tests.support.cache_builder import lfs_sha256
from tests.support.waiting import eventually

ORG = RepoRef("model", "org/name")
CONTENT = bytes(range(256)) * 1000
FILE = ListedFile(Etag(lfs_sha256(CONTENT)), len(CONTENT))


class FakeProcess:
    """Does what `script` says for each fetch: a dict is a failure's answer, bytes come, None hangs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.script: list[Any] = []
        self.places: list[Place] = []
        self.tokens: list[str | None] = []
        self.pending: list[Download] = []
        self.cancelled: list[Download] = []
        self.ended = 0

    def fetch(self, place: Place, token: str | None) -> Download:
        self.places.append(place)
        self.tokens.append(token)
        fetch, what = Download(), self.script.pop(0) if self.script else CONTENT
        if isinstance(what, bytes):
            blob = self.root / place.repo.folder / "blobs" / lfs_sha256(CONTENT)
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(what)
            fetch.end({"event": "done", "file": str(blob)})
        elif what is None:
            self.pending.append(fetch)
        else:
            fetch.end({"event": "failed", **what})
        return fetch

    def cancel(self, download: Download) -> None:
        self.cancelled.append(download)

    def end_when_idle(self) -> None:
        pass

    def end(self) -> None:
        self.ended += 1
        for fetch in self.pending:
            fetch.end({"event": "failed", "message": "the process that fetches has ended"})


class World:
    def __init__(self, root: Path, state: SeederState, timings: FetchTimings) -> None:
        self.process, self.life = FakeProcess(root), Life(root.with_name("seeder.alive"))
        self.shelf = Shelf(root, quota_bytes=0, memory=state, clock=time.time)
        self.shelf.prepare()
        self.over: list[WantedBlob] = []
        self.fetcher = Fetcher(
            self.shelf,
            self.process,
            token=lambda place: "secret" if place.repo.id == "org/named" else None,
            on_fetched=self.over.append,
            life=self.life,
            timings=timings,
        )

    def ended(self, want: WantedBlob) -> WantedBlob:
        eventually(lambda: want in self.over, what="the end of a fetch")
        return want

    def blob(self) -> Path:
        return self.process.root / ORG.folder / "blobs" / FILE.etag.value


@pytest.fixture
def world(tmp_path: Path, state: SeederState) -> Iterator[World]:
    with running(tmp_path, state, QUICK) as made:
        yield made


QUICK = FetchTimings(stall_s=0.3, pauses=Pauses(first_s=0.02, longest_s=0.02))


@contextmanager
def running(tmp_path: Path, state: SeederState, timings: FetchTimings) -> Iterator[World]:
    made = World(tmp_path / "mirror", state, timings)
    made.fetcher.start()
    yield made
    made.life.stop.set()
    made.process.end()
    made.fetcher.join(5)


def place(path: str = "a.bin", repo: RepoRef = ORG) -> Place:
    return Place(repo, "c" * 40, path)


def test_a_blob_comes_once_whoever_wants_it_from_wherever(world: World) -> None:
    world.process.script = [None]
    first = world.fetcher.want(FILE, place())
    eventually(lambda: world.process.places, what="the fetch")
    assert world.fetcher.want(FILE, place("b.bin", RepoRef("dataset", "org/other"))) is first
    world.process.pending.pop().end({"event": "failed", "message": "broke off"})
    assert world.ended(first).state is BlobState.DONE
    assert [at.path for at in world.process.places] == ["a.bin", "a.bin"]
    opened = world.shelf.growing.open(FILE.etag)
    assert opened is not None
    assert (opened.state, opened.available(), opened.size) == (FileState.WHOLE, FILE.size, FILE.size)
    opened.close()


def test_only_a_named_repo_is_fetched_with_the_servers_token(world: World) -> None:
    first = world.ended(world.fetcher.want(FILE, place()))
    world.fetcher.release(first)
    world.ended(world.fetcher.want(FILE, place(repo=RepoRef("model", "org/named"))))
    assert world.process.tokens == [None, "secret"]


def test_what_is_not_its_etag_is_removed_and_not_tried_again(world: World) -> None:
    world.process.script = [CONTENT[:-1] + b"x"]
    want = world.ended(world.fetcher.want(FILE, place()))
    assert want.state is BlobState.FAILED
    assert "not what its etag says" in str(want.error)
    assert not world.blob().exists()
    assert world.shelf.growing.open(FILE.etag) is None
    assert len(world.process.places) == 1


@pytest.mark.parametrize(
    "failure", [{"message": "gone", "status": 404, "code": "EntryNotFound"}, {"message": "full", "final": True}]
)
def test_a_no_is_a_no(world: World, failure: dict[str, Any]) -> None:
    world.process.script = [failure]
    want = world.ended(world.fetcher.want(FILE, place()))
    assert (want.state, str(want.error)) == (BlobState.FAILED, failure["message"])
    assert len(world.process.places) == 1


def test_what_may_pass_is_tried_again_a_few_times(world: World) -> None:
    world.process.script = [{"message": "broke off"}, {"message": "busy", "status": 503}]
    assert world.ended(world.fetcher.want(FILE, place())).state is BlobState.DONE
    world.over.clear()
    world.process.script = [{"message": f"broke off {n}"} for n in range(9)]
    other = ListedFile(Etag("ab" * 32), 5)
    want = world.ended(world.fetcher.want(other, place()))
    assert (want.state, str(want.error)) == (BlobState.FAILED, "broke off 4")


def test_all_wait_when_upstream_asks_to(world: World) -> None:
    world.process.script = [{"message": "slowly", "status": 429, "retry_after_s": 1}]
    started = time.monotonic()
    first = world.fetcher.want(FILE, place())
    eventually(lambda: first.state is BlobState.WAITING, what="a fetch that waits")
    assert first.error is not None
    assert (first.error.status, first.error.retry_after_s) == (429, 1)
    world.fetcher.want(ListedFile(Etag("ab" * 32), 5), place("b.bin"))
    assert world.ended(first).state is BlobState.DONE
    assert time.monotonic() - started >= 1
    assert len(world.process.places) >= 2


def test_nothing_is_put_off_for_days(tmp_path: Path, state: SeederState) -> None:
    with running(tmp_path, state, FetchTimings(pauses=Pauses(longest_asked_s=0.1))) as world:
        world.process.script = [{"message": "not today", "status": 429, "retry_after_s": 999_999}]
        assert world.ended(world.fetcher.want(FILE, place())).state is BlobState.DONE


def test_what_hangs_is_ended_and_tried_again(world: World) -> None:
    world.process.script = [None]
    assert world.ended(world.fetcher.want(FILE, place())).state is BlobState.DONE
    assert world.process.ended >= 1


def growing(folder: Path, etag: Etag = FILE.etag) -> Callable[[bytes], None]:
    """Return what adds bytes to a file that huggingface_hub downloads."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{etag}.0a1b2c3d.incomplete"
    path.touch()

    def write(data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data)

    return write


def test_a_file_is_followed_from_before_its_first_byte_to_its_last(tmp_path: Path) -> None:
    blobs, growing_blob = GrowingBlobs(), GrowingBlob(FILE.etag, FILE.size, tmp_path)
    blobs.begin(growing_blob)
    opened = blobs.open(FILE.etag)
    assert opened is not None
    assert (opened.state, opened.size, opened.available()) == (FileState.GROWING, FILE.size, 0)
    write = growing(tmp_path)
    write(CONTENT[:1000])
    assert growing_blob.look() == 1000
    assert opened.available() == 1000
    write(CONTENT[1000:])
    assert growing_blob.look() == FILE.size
    (tmp_path / f"{FILE.etag}.0a1b2c3d.incomplete").rename(tmp_path / FILE.etag.value)
    growing_blob.finish(tmp_path / FILE.etag.value)
    assert (opened.state, opened.available()) == (FileState.WHOLE, FILE.size)
    opened.close()
    blobs.forget(lambda etag: False)
    assert blobs.of(FILE.etag) is growing_blob
    blobs.forget(lambda etag: True)
    assert blobs.of(FILE.etag) is None


def test_whoever_reads_what_turns_out_wrong_is_told(tmp_path: Path) -> None:
    blobs, growing_blob = GrowingBlobs(), GrowingBlob(FILE.etag, FILE.size, tmp_path)
    blobs.begin(growing_blob)
    growing(tmp_path)(b"x" * FILE.size)
    growing_blob.look()
    opened = blobs.open(FILE.etag)
    assert opened is not None
    with pytest.raises(ContentMismatch):
        growing_blob.finish(tmp_path / f"{FILE.etag}.0a1b2c3d.incomplete")
    assert opened.state is FileState.FAILED
    opened.close()
    assert blobs.open(FILE.etag) is None


def test_another_try_ends_the_readers_of_the_last(tmp_path: Path) -> None:
    blobs, growing_blob = GrowingBlobs(), GrowingBlob(FILE.etag, FILE.size, tmp_path)
    blobs.begin(growing_blob)
    opened = blobs.open(FILE.etag)
    blobs.begin(GrowingBlob(FILE.etag, FILE.size, tmp_path))
    assert opened is not None
    assert opened.state is FileState.FAILED
    opened.close()


def test_a_whole_file_that_was_changed_since_is_not_given(tmp_path: Path) -> None:
    blobs, growing_blob = GrowingBlobs(), GrowingBlob(FILE.etag, FILE.size, tmp_path)
    blobs.begin(growing_blob)
    blob = tmp_path / FILE.etag.value
    blob.write_bytes(CONTENT)
    growing_blob.finish(blob)
    blob.write_bytes(CONTENT[:-1] + b"x")
    assert blobs.open(FILE.etag) is None


def test_what_one_asked_much_of_does_not_hold_up_another(tmp_path: Path, state: SeederState) -> None:
    with running(tmp_path, state, FetchTimings(slots=1, stall_s=5)) as world:
        files = [ListedFile(Etag(f"{number:064x}"), 5) for number in range(4)]
        world.process.script = [None] * 4
        world.fetcher.want(files[0], place("0"), ["eve"])
        eventually(lambda: world.process.pending, what="the first to be fetched")
        wants = [world.fetcher.want(file, place(file.etag.value), ["eve"]) for file in files[1:3]]
        other = world.fetcher.want(files[3], place("other"), ["ann"])
        assert world.fetcher._fairest(world.fetcher._ready()) is other
        assert wants[0].state is BlobState.QUEUED


def test_a_fetch_that_nobody_wants_any_more_is_broken_off_and_its_slot_is_free(tmp_path: Path, state: SeederState) -> None:
    with running(tmp_path, state, FetchTimings(slots=1, stall_s=30)) as world:
        world.process.script = [None, CONTENT]
        want = world.fetcher.want(FILE, place())
        eventually(lambda: world.process.pending, what="the first to be fetched")
        world.fetcher.release(want)
        again = world.fetcher.want(FILE, place())  # before its slot has let go
        assert world.ended(want).state is BlobState.FAILED
        assert world.ended(again).state is BlobState.DONE
        assert world.process.cancelled == world.process.pending
        assert world.process.ended == 0  # whatever else comes goes on
        world.fetcher.release(again)
        assert world.fetcher.wanted() == []


def test_what_waits_for_its_turn_or_for_its_next_try_is_let_go_at_once(tmp_path: Path, state: SeederState) -> None:
    with running(tmp_path, state, FetchTimings(slots=1, stall_s=30, pauses=Pauses(first_s=60, longest_s=60))) as world:
        world.process.script = [{"message": "broken off"}]
        tried = world.fetcher.want(FILE, place())
        eventually(lambda: tried.state is BlobState.WAITING, what="the pause before the next try")
        queued = world.fetcher.want(ListedFile(Etag("ab" * 32), 5), place("other"))
        world.fetcher.release(queued)
        world.fetcher.release(tried)
        world.ended(tried)
        assert world.fetcher.wanted() == []
        assert (queued.state, len(world.process.places)) == (BlobState.FAILED, 1)


def test_what_two_mirrors_want_goes_on_when_one_lets_go(world: World) -> None:
    world.process.script = [None]
    want = world.fetcher.want(FILE, place())
    assert world.fetcher.want(FILE, place()) is want
    eventually(lambda: world.process.pending, what="it to be fetched")
    world.fetcher.release(want)
    world.process.pending[0].end({"event": "failed", "message": "no", "status": 404})
    assert str(world.ended(want).error) == "no"
    assert world.process.cancelled == []


def test_files_of_a_pinned_repo_are_fetched_first(tmp_path: Path, state: SeederState) -> None:
    with running(tmp_path, state, FetchTimings(slots=1, stall_s=30)) as world:
        world.fetcher.pinned = {RepoRef("model", "org/pinned")}
        world.process.script = [None]
        world.fetcher.want(ListedFile(Etag(f"{0:064x}"), 5), place("first"))
        eventually(lambda: world.process.pending, what="the first to be fetched")
        world.fetcher.want(ListedFile(Etag(f"{1:064x}"), 5), place("second"))
        later = world.fetcher.want(ListedFile(Etag(f"{2:064x}"), 5), place("third", RepoRef("model", "Org/Pinned")))
        assert world.fetcher._fairest(world.fetcher._ready()) is later


def test_letting_go_of_many_costs_each_as_much_as_of_one(tmp_path: Path, state: SeederState) -> None:
    with running(tmp_path, state, FetchTimings(slots=0)) as world:
        many = [world.fetcher.want(ListedFile(Etag(f"{number:064x}"), 5), place(f"{number}")) for number in range(3000)]
        compared = 0

        def same(self: WantedBlob, other: object) -> bool:
            nonlocal compared
            compared += 1
            return self is other

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WantedBlob, "__eq__", same)
            for one in reversed(many):
                world.fetcher.release(one)
        assert world.fetcher.wanted() == []
        assert compared == 0
