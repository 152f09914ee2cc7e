"""Waiting for what the LAN does not have, and fetching it for all, against a tracker and a library that do as told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmpt.agent.sharing.leases import Leases
from llmpt.agent.transfer.jobs import Jobs
from llmpt.agent.transfer.parts import JobParts
from llmpt.agent.transfer.shared_fetch import ForAll
from llmpt.agent.transfer.timings import JobTimings
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerUnavailable
from llmpt.core.files import FileId
from llmpt.core.leases import Grant, LeaseAnswer, LeaseRole, Poll
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.disk.inventory import BlobOrigin
from llmpt.link.answers import Done, Failed, Progress, Refused
from llmpt.link.requests import FetchRequest
from llmpt.swarm import Download, Source, Totals
from tests.support.waiting import eventually

CONTENT = b"0123456789" * 20_000
ETAG = Etag(hashlib.sha256(CONTENT).hexdigest())
REPO = RepoRef("model", "org/m")
IMPATIENT = JobTimings(stall_s=0.4, progress_s=0.02, keep_alive_s=0.02, growth_s=0.02)

FETCH, WAIT, HERE = LeaseRole.FETCH, LeaseRole.WAIT, LeaseRole.HERE

Answer = Done | Refused | Failed


class World:
    """Tracker, catalogue, engine and seeds at once: `say` is the tracker's answer; `published`, `ended` and so on what came."""

    def __init__(self, folder: Path, timings: JobTimings) -> None:
        self.folder = folder
        self.lease = Grant(ETAG, WAIT, "bob", 0, 1)
        self.ended: list[tuple[Etag, str]] = []
        self.fetched: list[int] = []
        self.published: list[Metainfo] = []
        self.seeded: list[Path] = []
        self.origins: list[tuple[Etag, BlobOrigin]] = []
        self.lookups = 0
        self.is_here: Callable[[], bool] = lambda: False
        self.metainfo = Metainfo(ETAG, len(CONTENT), bytes(32), bytes(32 * 4))
        self.reason = ""
        self.refusal: Exception | None = None
        self.tracker_error: TrackerUnavailable | None = None
        self.says_nothing = False
        self.came_at = 0.0
        self.gone = threading.Event()
        self.heard: list[Progress] = []
        self.left_over: list[Path] = []
        world: Any = self
        self.leases = Leases(self._ask, stall_timeout_s=0.4)
        self.leases.start()
        self.for_all = ForAll(self.leases, SimpleNamespace(why_not=lambda _request: self.reason), world)  # type: ignore[arg-type]
        self.jobs = Jobs(JobParts(world, world, world, self.for_all, timings=timings), world)
        self._files = 0

    # What a program does

    def asking(self, *, ordinary_rate_bytes_s: int = 0) -> FetchRequest:
        self._files += 1
        final = self.folder / str(ETAG)
        path = self.folder / f"{ETAG}.0000000{self._files}.incomplete"
        path.touch()
        return FetchRequest(
            tracker="http://t", etag=ETAG, size=len(CONTENT), repo=REPO, revision="main", filename=RepoPath("f"), path=path,
            file=FileId.of(path.stat()), destination=final, replace=False, ordinary_rate_bytes_s=ordinary_rate_bytes_s,
            stem=final,
        )  # fmt: skip

    def wait(self, request: FetchRequest | None = None) -> Answer:
        return self.jobs.fetch(request or self.asking(), self.heard.append, self.gone.is_set)

    def told_to_fetch(self) -> None:
        self.say(FETCH)
        answer = self.wait()
        assert isinstance(answer, Refused)
        assert answer.fetch, answer

    def watching(self) -> threading.Thread:
        ready, stem = threading.Event(), self.folder / str(ETAG)
        thread = threading.Thread(target=lambda: self.jobs.watch(ETAG, stem, self.gone.is_set, ready=ready.set), daemon=True)
        thread.start()
        assert ready.wait(10)
        return thread

    def land(self, path: Path, content: bytes = CONTENT) -> None:
        path.write_bytes(content)
        finish = self.jobs.landed(ETAG, path)
        assert finish is not None
        finish()

    # What the tracker says

    def _ask(self, poll: Poll) -> LeaseAnswer:
        if self.tracker_error is not None:
            raise self.tracker_error
        if self.says_nothing:
            return LeaseAnswer((), 0.05)
        self.ended += [(one.etag, one.outcome.value) for one in poll.ended]
        self.fetched += [one.bytes for one in poll.fetching]
        return LeaseAnswer(tuple(self.lease for _ in poll.wants), 0.05)

    def say(self, role: LeaseRole, *, fetcher: str | None = None, fetched_bytes: int = 0) -> None:
        self.lease = Grant(ETAG, role, fetcher, fetched_bytes, 1)

    def outcome(self) -> str:
        etag, outcome = eventually(lambda: self.ended[-1] if self.ended else None, what="the end of the lease")
        assert etag == ETAG
        return outcome

    def lookup(self, _etag: Etag) -> Any:
        self.lookups += 1
        peers = (("127.0.0.1", 1), ("127.0.0.1", 2)) if self.is_here() else ()
        return SimpleNamespace(
            metainfo=self.metainfo if peers else None, peers=peers, leechers=0, announce_url="", announce_key=""
        )

    def alive(self, peers: Any) -> Any:
        return peers

    def blob_url(self, _etag: Etag) -> None: ...

    def publish(self, metainfo: Metainfo) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.published.append(metainfo)

    # What the engine and the seeds do

    @property
    def downloads(self) -> World:
        return self

    def begin(self, source: Source, path: Path, *, resume: bool) -> Download:
        path.write_bytes(CONTENT)
        download = Download(source.metainfo, path)
        download.checking, download.peers = False, 1
        download.finish()
        return download

    def totals(self) -> Totals:
        return Totals()

    def flush(self, _etag: Etag) -> None: ...

    def withdraw(self, _etag: Etag) -> None: ...

    def move(self, _etag: Etag, destination: Path) -> None:
        next(self.folder.glob("*.incomplete")).rename(destination)

    def add(self, _metainfo: Metainfo, path: Path, **_more: Any) -> None:
        self.seeded.append(path)

    def find(self, _etag: Etag) -> None: ...

    def expect(self, *_: Any) -> None: ...

    def comes_from(self, etag: Etag, origin: BlobOrigin) -> None:
        self.origins.append((etag, origin))

    def asked(self, *_: Any) -> None: ...

    def done(self, *_: Any) -> None: ...

    def left(self, path: Path) -> None:
        self.left_over.append(path)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def world(**timings: float) -> World:
        made.append(World(tmp_path, replace(IMPATIENT, **timings)))  # type: ignore[arg-type]
        return made[-1]

    yield world
    for one in made:
        one.gone.set()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


def shown(world: World) -> list[int]:
    return [progress.done_bytes for progress in list(world.heard) if progress.waiting]


def test_who_waits_sees_half_of_what_the_fetcher_has_and_leeches_when_it_is_there(world: World) -> None:
    def tracker() -> None:
        for part in (1, 2, 4):
            world.say(WAIT, fetcher="bob", fetched_bytes=len(CONTENT) * part // 4)
            eventually(lambda part=part: shown(world)[-1:] == [len(CONTENT) * part // 8], what="the bar")  # type: ignore[misc]
        world.is_here = lambda: True
        world.say(HERE)

    thread = threading.Thread(target=tracker)
    thread.start()
    assert isinstance(world.wait(), Done)
    thread.join(10)
    assert shown(world) == sorted(shown(world))
    assert (world.folder / str(ETAG)).read_bytes() == CONTENT


def test_what_is_said_to_be_there_and_is_not_is_looked_for_a_while_only(world: World) -> None:
    world.say(HERE)
    world.is_here = lambda: world.lookups > 3
    assert isinstance(world.wait(), Done)
    (world.folder / str(ETAG)).unlink()
    world.is_here = lambda: False
    answer = world.wait()
    assert isinstance(answer, Refused)
    assert "was there, and is gone" in answer.reason


def test_a_fetcher_much_slower_than_the_hub_is_not_waited_for(make: Callable[..., World]) -> None:
    world = make(window_s=0.3)
    world.say(WAIT, fetcher="bob", fetched_bytes=5)
    answer = world.wait(world.asking(ordinary_rate_bytes_s=1_000_000))
    assert isinstance(answer, Refused)
    assert "bob fetches it much slower than the Hub has been here" in answer.reason


def test_who_hangs_up_leaves_the_queue(world: World) -> None:
    world.gone.set()
    assert not isinstance(world.wait(), Done)
    eventually(lambda: not world.leases._awaited, what="the queue to be left")


@pytest.mark.parametrize("came", [True, False])
def test_what_a_program_leaves_goes_at_once_when_the_file_has_come_another_way(world: World, came: bool) -> None:
    request = world.asking()
    if came:
        request.destination.write_bytes(CONTENT)
    world.gone.set()
    world.wait(request)
    assert world.left_over == ([request.path] if came else [])


def test_what_may_not_be_shared_is_not_asked_for(world: World) -> None:
    world.reason = "gated on the Hub"
    answer = world.wait()
    assert isinstance(answer, Refused)
    assert "gated on the Hub" in answer.reason
    assert world.leases._awaited == {}


def test_without_the_tracker_everybody_fetches(world: World) -> None:
    world.tracker_error = TrackerUnavailable("gone")
    answer = world.wait()
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.fetch) == ("gone", False)


def fetch(world: World, *, content: bytes = CONTENT) -> None:
    """Be the hook: told to fetch, it downloads and says where."""
    world.told_to_fetch()
    thread = world.watching()
    growing = world.folder / f"{ETAG}.89abcdef.incomplete"
    growing.write_bytes(content[: len(content) // 2])
    eventually(lambda: len(CONTENT) // 2 in world.fetched, what="progress to be reported")
    growing.unlink()
    world.land(world.folder / str(ETAG), content)
    world.gone.set()
    thread.join(10)
    assert not thread.is_alive()


def test_what_this_machine_fetches_is_watched_verified_published_and_seeded(world: World) -> None:
    fetch(world)
    assert world.outcome() == "published"
    assert [metainfo.etag for metainfo in world.published] == [ETAG]
    assert world.seeded == [world.folder / str(ETAG)]
    assert world.origins == [(ETAG, BlobOrigin(REPO, ""))], "it is known for when that repo is private"
    assert world.jobs.fetching() == []
    assert world.jobs.landed(ETAG, world.folder / str(ETAG)) is None, "a second time it is none of ours"


def test_what_is_not_its_etags_content_is_not_published(world: World) -> None:
    fetch(world, content=CONTENT[:-1] + b"?")
    assert world.outcome() == "failed"
    assert (world.published, world.seeded) == ([], [])


def waiting_beside(world: World) -> tuple[threading.Thread, list[Answer], FetchRequest]:
    """Another program of this machine that wants the same."""
    request, answers = world.asking(), list[Answer]()
    thread = threading.Thread(target=lambda: answers.append(world.wait(request)), daemon=True)
    thread.start()
    eventually(lambda: len(world.jobs.records) > 1, what="it to ask")
    return thread, answers, request


def test_what_the_tracker_does_not_take_is_not_seeded_and_others_of_this_machine_get_it(world: World) -> None:
    world.refusal = TrackerUnavailable("gone")
    world.told_to_fetch()
    thread, answers, request = waiting_beside(world)
    world.land(world.folder / "final")
    thread.join(10)
    assert [type(answer) for answer in answers] == [Done]
    assert request.path.read_bytes() == CONTENT
    assert world.outcome() == "failed"
    assert world.seeded == []


def test_a_file_that_goes_before_it_is_copied_is_an_answer_too(world: World) -> None:
    final = world.folder / "final"

    class Gone(TrackerUnavailable):
        def __init__(self) -> None:
            final.unlink()
            super().__init__("gone")

    world.told_to_fetch()
    thread, answers, _ = waiting_beside(world)
    world.publish = lambda _metainfo: _raise(Gone())  # type: ignore[method-assign, assignment]
    world.land(final)
    thread.join(10)
    (answer,) = answers
    assert isinstance(answer, Failed)
    assert "what was fetched for all is gone" in answer.reason


def _raise(error: Exception) -> None:
    raise error


def test_a_download_that_breaks_off_gives_the_lease_back(world: World) -> None:
    world.told_to_fetch()
    thread = world.watching()
    eventually(lambda: world.fetched, what="the first report")
    world.gone.set()
    thread.join(10)
    assert world.outcome() == "failed"


def test_a_program_that_is_told_to_fetch_and_does_not_begin_gives_it_back_too(make: Callable[..., World]) -> None:
    world = make(begin_s=0.1)
    world.told_to_fetch()
    assert world.outcome() == "failed"
    eventually(lambda: not world.jobs.fetching(), what="the job to end")
    world.watching().join(10)  # too late: returns at once


def test_another_program_of_this_machine_waits_with_it(world: World) -> None:
    world.told_to_fetch()
    watched = world.watching()
    (world.folder / f"{ETAG}.89abcdef.incomplete").write_bytes(CONTENT[: len(CONTENT) // 2])
    thread, answers, request = waiting_beside(world)
    eventually(lambda: len(CONTENT) // 4 in shown(world), what="the other one's bar")
    world.land(world.folder / "final")
    thread.join(10)
    watched.join(10)
    assert [type(answer) for answer in answers] == [Done]
    assert request.path.read_bytes() == CONTENT


def test_when_the_one_that_fetches_breaks_off_the_next_program_of_this_machine_is_told_to(world: World) -> None:
    world.told_to_fetch()
    watched = world.watching()
    gone, world.gone = world.gone, threading.Event()
    thread, answers, _ = waiting_beside(world)
    gone.set()
    thread.join(10)
    watched.join(10)
    (answer,) = answers
    assert isinstance(answer, Refused)
    assert answer.fetch


def test_a_program_that_waits_for_another_one_may_hang_up(world: World) -> None:
    world.told_to_fetch()
    watched = world.watching()
    holder, world.gone = world.gone, threading.Event()
    thread, answers, _ = waiting_beside(world)
    world.gone.set()
    thread.join(10)
    assert [answer.reason for answer in answers if not isinstance(answer, Done)] == ["cancelled"]
    assert world.jobs.fetching(), "the other one goes on"
    holder.set()
    watched.join(10)


def test_one_more_file_of_a_repo_that_the_lan_did_not_have_needs_no_look_up_first(world: World) -> None:
    world.told_to_fetch()
    assert world.lookups == 1
    world.land(world.folder / "final")
    world.told_to_fetch()
    assert world.lookups == 1, "the second one needs none"
    world.land(world.folder / "final")
    world.is_here = lambda: True
    world.say(HERE)
    assert isinstance(world.wait(), Done)
    assert not world.for_all.lacks(REPO), "the LAN has them now"


def test_a_tracker_that_answers_and_passes_it_over_is_not_asked_for_long(make: Callable[..., World]) -> None:
    world = make(passed_over_s=0.2)
    world.says_nothing = True
    answer = world.wait()
    assert isinstance(answer, Refused)
    assert "does not say who fetches it" in answer.reason
