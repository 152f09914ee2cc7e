"""Waiting for what nobody of the LAN has, and fetching it for all, against a tracker and a library that do as told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmpt.agent.sharing import fetches as fetches_module
from llmpt.agent.sharing.fetches import Fetches
from llmpt.agent.sharing.leases import Leases
from llmpt.agent.transfer import misses as module
from llmpt.agent.transfer import pace
from llmpt.agent.transfer.meter import Meter
from llmpt.agent.transfer.misses import Misses
from llmpt.agent.transfer.refusals import Refused, TryAgain, Yours
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerUnavailable
from llmpt.core.files import FileId
from llmpt.core.leases import Grant, LeaseAnswer, LeaseRole, Poll
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.link.answers import Progress
from llmpt.link.requests import FetchRequest
from tests.support.waiting import eventually

FETCH, HERE, WAIT = LeaseRole.FETCH, LeaseRole.HERE, LeaseRole.WAIT
CONTENT = b"0123456789" * 20_000
ETAG = Etag(hashlib.sha256(CONTENT).hexdigest())


class World:
    """Tracker, catalogue and seeds at once: `say` is the tracker's answer; `published`, `seeded` and `ended` what came of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lease: tuple[LeaseRole, str | None, int, int] = (WAIT, "bob", 0, 1)
        self.ended: list[tuple[str, str]] = []
        self.fetched: list[int] = []
        self.published: list[Metainfo] = []
        self.seeded: list[Path] = []
        self.why_not = ""
        self.refusal: Exception | None = None
        self.gone = threading.Event()
        self.heard: list[Progress] = []
        world: Any = self
        self.leases = Leases(self._ask, stall_timeout_s=0.4)
        self.leases.start()
        self.fetches = Fetches(self.leases, world, SimpleNamespace(add=self._seed))  # type: ignore[arg-type]
        permission: Any = SimpleNamespace(why_not=lambda _request: self.why_not)
        self.misses = Misses(self.leases, self.fetches, permission, stall_timeout_s=0.4)
        self.request = self.asking()

    def asking(self, *, ordinary_rate_bytes_s: int = 0) -> FetchRequest:
        final = self.folder / str(ETAG)
        return FetchRequest("http://t", ETAG, len(CONTENT), RepoRef("model", "org/m"), "main", RepoPath("f"),
                            final.with_name(f"{final.name}.01234567.incomplete"), FileId(1, 2), final, False,
                            ordinary_rate_bytes_s, stem=final)  # fmt: skip

    def _ask(self, poll: Poll) -> LeaseAnswer:
        self.ended += [(one.etag.value, one.outcome.value) for one in poll.ended]
        self.fetched += [one.bytes for one in poll.fetching]
        return LeaseAnswer(tuple(Grant(want.etag, *self.lease) for want in poll.wants), 0.05)

    def say(self, role: LeaseRole, *, fetcher: str | None = None, fetched_bytes: int = 0) -> None:
        self.lease = (role, fetcher, fetched_bytes, 1)

    def publish(self, metainfo: Metainfo) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.published.append(metainfo)

    def _seed(self, _metainfo: Metainfo, path: Path) -> None:
        self.seeded.append(path)

    def wait(self, look: Callable[[], Any] = lambda: "found", request: FetchRequest | None = None) -> Any:
        return self.misses.wait(request or self.request, Meter(len(CONTENT)), look, self.heard.append, self.gone.is_set)

    def watching(self) -> threading.Thread:
        ready, stem = threading.Event(), self.folder / str(ETAG)
        thread = threading.Thread(target=lambda: self.fetches.watch(ETAG, stem, self.gone.is_set, ready=ready.set), daemon=True)
        thread.start()
        assert ready.wait(10)
        return thread

    def outcome(self) -> str:
        etag, outcome = eventually(lambda: self.ended[-1] if self.ended else None, what="the end of the lease")
        assert etag == str(ETAG)
        return outcome


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(fetches_module, "LOOK_INTERVAL_S", 0.02)
    world = World(tmp_path)
    yield world
    world.gone.set()


def shown(world: World) -> list[int]:
    return [report.done_bytes for report in world.heard if report.waiting]


def test_who_waits_sees_half_of_what_the_fetcher_has_and_leeches_when_it_is_there(world: World) -> None:
    def tracker() -> None:
        for part in (1, 2, 4):
            world.say(WAIT, fetcher="bob", fetched_bytes=len(CONTENT) * part // 4)
            eventually(lambda part=part: shown(world)[-1:] == [len(CONTENT) * part // 8], what="the bar")  # type: ignore[misc]
        world.say(HERE)

    thread = threading.Thread(target=tracker)
    thread.start()
    assert world.wait() == "found"
    thread.join(10)
    assert shown(world) == sorted(shown(world))


def test_what_is_said_to_be_there_and_is_not_is_looked_for_a_while_only(world: World) -> None:
    world.say(HERE)
    looks = iter((None, None, "found"))
    assert world.wait(lambda: next(looks)) == "found"
    with pytest.raises(Refused, match="was there, and is gone"):
        world.wait(lambda: None)


def test_a_fetcher_much_slower_than_the_hub_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "WINDOW_S", 0.3)
    world.say(WAIT, fetcher="bob", fetched_bytes=5)
    with pytest.raises(Refused, match="bob fetches it much slower than the Hub has been here"):
        world.wait(request=world.asking(ordinary_rate_bytes_s=1_000_000))


def test_who_hangs_up_leaves_the_queue(world: World) -> None:
    world.gone.set()
    with pytest.raises(TryAgain):
        world.wait()
    assert not world.leases._awaited


def test_what_may_not_be_shared_is_not_asked_for(world: World) -> None:
    world.why_not = "gated on the Hub"
    with pytest.raises(Refused, match="gated on the Hub"):
        world.wait()
    assert world.leases._awaited == {}


def test_without_the_tracker_everybody_fetches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_poll: object) -> LeaseAnswer:
        raise TrackerUnavailable("gone")

    monkeypatch.setattr(world.leases, "_ask", ask)
    with pytest.raises(Refused, match="gone"):
        world.wait()


def fetch(world: World, *, path: Path | None = None, content: bytes = CONTENT) -> None:
    """Be the hook: told to fetch, it downloads and says where."""
    world.say(FETCH)
    with pytest.raises(Yours):
        world.wait()
    thread = world.watching()
    growing = world.folder / f"{ETAG}.89abcdef.incomplete"
    growing.write_bytes(content[: len(content) // 2])
    eventually(lambda: len(CONTENT) // 2 in world.fetched, what="progress to be reported")
    growing.write_bytes(content)
    final = path or world.folder / str(ETAG)
    growing.replace(final)
    assert world.fetches.landed(ETAG)
    world.fetches.finish(ETAG, final)
    world.gone.set()
    thread.join(10)


def test_what_this_machine_fetches_is_watched_verified_published_and_seeded(world: World) -> None:
    fetch(world)
    assert world.outcome() == "published"
    assert [metainfo.etag for metainfo in world.published] == [ETAG]
    assert world.seeded == [world.folder / str(ETAG)]
    assert world.fetches.running(ETAG) is None
    assert not world.fetches.landed(ETAG), "a second time it is none of ours"


def test_what_is_not_its_etags_content_is_not_published(world: World) -> None:
    fetch(world, content=CONTENT[:-1] + b"?")
    assert world.outcome() == "failed"
    assert (world.published, world.seeded) == ([], [])


def test_what_the_tracker_does_not_take_is_not_seeded_and_others_of_this_machine_get_it(world: World) -> None:
    world.refusal = TrackerUnavailable("gone")
    world.say(FETCH)
    with pytest.raises(Yours):
        world.wait()
    running = world.fetches.running(ETAG)
    assert running is not None
    (world.folder / "final").write_bytes(CONTENT)
    assert world.fetches.landed(ETAG)
    world.fetches.finish(ETAG, world.folder / "final")
    assert world.outcome() == "failed"
    assert world.seeded == []
    assert running.ended.is_set()
    assert running.path == world.folder / "final"


def test_a_download_that_breaks_off_gives_the_lease_back(world: World) -> None:
    world.say(FETCH)
    with pytest.raises(Yours):
        world.wait()
    thread = world.watching()
    eventually(lambda: world.fetched, what="the first report")
    world.gone.set()
    thread.join(10)
    assert world.outcome() == "failed"


def test_a_program_that_is_told_to_fetch_and_does_not_begin_gives_it_back_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetches_module, "BEGIN_TIMEOUT_S", 0.1)
    world.say(FETCH)
    with pytest.raises(Yours):
        world.wait()
    assert world.outcome() == "failed"
    world.fetches.watch(ETAG, world.folder / str(ETAG), lambda: False)  # too late: returns at once


def test_another_program_of_this_machine_waits_with_it(world: World) -> None:
    world.say(FETCH)
    with pytest.raises(Yours):
        world.wait()
    running = world.fetches.running(ETAG)
    assert running is not None
    running.done_bytes = len(CONTENT) // 2

    def land() -> None:
        eventually(lambda: shown(world), what="the other one's bar")
        (world.folder / "final").write_bytes(CONTENT)
        world.fetches.landed(ETAG)
        world.fetches.finish(ETAG, world.folder / "final")

    thread = threading.Thread(target=land)
    thread.start()
    world.misses.follow(running, Meter(len(CONTENT)), world.heard.append, world.gone.is_set)
    thread.join(10)
    assert len(CONTENT) // 4 in shown(world)
    assert running.path is not None
    world.gone.set()
    running.ended.clear()
    with pytest.raises(Refused, match="cancelled"):
        world.misses.follow(running, Meter(len(CONTENT)), world.heard.append, world.gone.is_set)


def test_one_more_file_of_a_repo_that_the_lan_did_not_have_needs_no_look_up_first(world: World) -> None:
    assert not world.misses.likely(world.request)
    world.say(FETCH)
    with pytest.raises(Yours):
        world.wait()
    assert world.misses.likely(world.request)
    world.say(HERE)
    world.wait()
    assert not world.misses.likely(world.request), "the LAN has them now"


def test_the_first_answer_is_not_waited_for_for_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_ANSWER_S", 0.2)
    monkeypatch.setattr(world.leases, "_ask", lambda _poll: LeaseAnswer((), 0.5))
    with pytest.raises(Refused, match="does not say who fetches it"):
        world.wait()
