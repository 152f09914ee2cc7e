"""The agent's socket: every request is answered, and an agent makes room without losing one."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmpt.agent.seeding.offers import Offers
from llmpt.agent.server import TIMINGS, Server, Services, SocketTimings
from llmpt.agent.transfer.jobs import Jobs
from llmpt.core.blob import Etag
from llmpt.core.files import FileId
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.link import answers, protocol, versions
from llmpt.link.answers import Done, Failed, Refused
from llmpt.link.fields import Message
from llmpt.link.protocol import LineReader
from llmpt.link.requests import FetchRequest
from tests.support.waiting import eventually

REQUEST = FetchRequest(
    "http://t:1", Etag("a" * 64), 5, RepoRef("model", "org/m"), "main", RepoPath("f"), Path("/p"), FileId(1, 2), Path("/d"), False
)


class World:
    """A server whose downloads last until they are let go."""

    def __init__(self, path: Path, timings: SocketTimings = TIMINGS, *, max_working: int = 256) -> None:
        self.path = path
        self.begun, self.go_on, self.stopped = threading.Event(), threading.Event(), threading.Event()
        self.users: list[int] = []
        self.landed: list[tuple[str, Path]] = []
        self.ours = True
        self.bug: Exception | None = None
        self.gone: Callable[[], bool] = lambda: False
        self.watched: list[Path] = []
        self.watch_over = threading.Event()
        self.min_blob_bytes: int | None = None
        services = Services(
            landed=lambda etag, path: self.landed.append(("landed", path)),
            jobs=cast(Jobs, SimpleNamespace(fetch=self._fetch, watch=self.watch, landed=self._landed)),
            offers=cast(Offers, None),
            status=lambda: {"pid": os.getpid()},
            used_by=self.users.append,
            stop=self.stopped.set,
            min_blob_bytes=lambda: self.min_blob_bytes,
        )
        self.server = Server(path, services, tracker="http://t:1", timings=timings, max_working=max_working)

    def _fetch(self, request: FetchRequest, emit: object, gone: Callable[[], bool]) -> Done | Refused | Failed:
        self.gone = gone
        self.begun.set()
        if self.bug is not None:
            raise self.bug
        self.go_on.wait(10)
        return Refused("let go")

    def watch(self, _etag: Etag, stem: Path, gone: Callable[[], bool], *, ready: Callable[[], None]) -> None:
        self.watched.append(stem)
        ready()
        eventually(gone, what="the hook to hang up")
        self.watch_over.set()

    def _landed(self, _etag: Etag, path: Path) -> Callable[[], None] | None:
        return (lambda: self.landed.append(("fetched", path))) if self.ours else None

    @contextmanager
    def asked(self, message: dict[str, Any]) -> Iterator[LineReader]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            connection.sendall(protocol.encode(message))
            yield LineReader(connection)

    def answer(self, message: dict[str, Any]) -> Message | None:
        with self.asked(message) as reader:
            return reader.read(timeout_s=10, any_version=True)


@pytest.fixture
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="llmpt-"))  # short enough for a socket's path
    world = World(folder / "agent.sock")
    with world.server:
        yield world
        world.go_on.set()
    shutil.rmtree(folder)


@pytest.mark.parametrize("v", [0, 1, 2])
def test_what_concerns_the_agent_itself_is_answered_in_every_version(world: World, v: int) -> None:
    for op in ("hello", "status", "stop"):
        reply = world.answer({"v": v, "op": op})
        assert reply is not None
        assert reply["version"] == versions.own_version()
        assert reply["event"] == {"stop": "stopping"}.get(op, op)


def test_what_the_tracker_says_of_small_files_is_told_and_holds_whatever_a_hook_thinks(world: World) -> None:
    world.go_on.set()
    assert "min_blob_bytes" not in (world.answer({"op": "hello"}) or {})
    world.min_blob_bytes = REQUEST.size + 1
    assert (world.answer({"op": "hello"}) or {})["min_blob_bytes"] == REQUEST.size + 1
    reply = world.answer(REQUEST.as_json()) or {}
    assert (reply["event"], world.begun.is_set()) == ("refused", False)
    assert f"less than {REQUEST.size + 1} bytes" in reply["reason"]
    world.min_blob_bytes = REQUEST.size
    assert (world.answer(REQUEST.as_json()) or {})["reason"] == "let go"


def test_a_request_of_another_version_is_refused_saying_what_to_update(world: World) -> None:
    reply = world.answer({**REQUEST.as_json(), "v": 0, "version": "0.0.1"})
    assert reply is not None
    assert reply["event"] == "refused"
    assert "update llmpt 0.0.1" in reply["reason"]


def test_an_agent_does_not_make_room_while_something_is_under_way(world: World) -> None:
    with world.asked(REQUEST.as_json()) as reader:
        assert world.begun.wait(10)
        reply = world.answer({"op": "retire"})
        assert reply is not None
        assert (reply["event"], reply["reason"]) == ("refused", "something is under way")
        assert not world.stopped.is_set()
        world.go_on.set()
        done = reader.read(timeout_s=10)
        assert done is not None
        assert done["reason"] == "let go"


def test_an_agent_with_too_much_to_do_says_so_and_still_answers_questions_about_itself() -> None:
    folder = Path(tempfile.mkdtemp(prefix="llmpt-"))
    world = World(folder / "agent.sock", max_working=1)
    with world.server, world.asked(REQUEST.as_json()):
        assert world.begun.wait(10)
        refused = world.answer(REQUEST.as_json())
        assert refused is not None
        assert (refused["event"], refused["reason"]) == ("refused", "the agent serves 1 requests already")
        status = world.answer({"op": "status"})
        assert status is not None
        assert status["event"] == "status"
        world.go_on.set()
    shutil.rmtree(folder)


def test_an_idle_agent_makes_room_at_once(world: World) -> None:
    with ExitStack() as stack:
        late = stack.enter_context(socket.socket(socket.AF_UNIX))
        late.connect(str(world.path))  # found it just before it left
        reply = world.answer({"op": "retire"})
        assert reply is not None
        assert reply["event"] == "retiring"
        assert world.stopped.is_set()
        assert not world.path.exists()
        late.sendall(protocol.encode(REQUEST.as_json()))
        reader = LineReader(late)
        said = reader.read(timeout_s=10)
        assert said is not None
        assert answers.parse(said) == answers.Ending()  # not a refusal: its successor is asked
        assert reader.read(timeout_s=10) is None  # which is what older hooks understand


def test_a_download_for_all_is_watched_as_long_as_the_connection_is_open(world: World) -> None:
    with world.asked({"op": "fetching", "etag": "a" * 64, "stem": "/cache/blob", "tracker": "http://t:1"}) as reader:
        said = reader.read(timeout_s=10)
        assert said is not None
        assert said["event"] == "ok"
        assert world.watched == [Path("/cache/blob")]
        assert world.answer({"op": "retire"}) is not None
        assert not world.stopped.is_set(), "the agent goes on while it watches"
        assert not world.watch_over.is_set()
    assert world.watch_over.wait(10)


@pytest.mark.parametrize(
    ("fetched", "ours", "taken"), [(True, True, "fetched"), (True, False, "landed"), (False, True, "landed")]
)
def test_what_landed_is_finished_as_it_was_fetched(world: World, fetched: bool, ours: bool, taken: str) -> None:
    world.ours = ours
    world.answer({"op": "landed", "etag": "a" * 64, "path": "/x", "tracker": "http://t:1", "fetched": fetched})
    assert eventually(lambda: world.landed, what="the file to be taken") == [(taken, Path("/x"))]


@pytest.mark.parametrize("bug", [RuntimeError("ours"), OSError("a disk"), TimeoutError("a lock"), RecursionError()])
def test_a_request_that_meets_a_bug_is_answered_and_logged(
    world: World, bug: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world.bug = bug
    reply = world.answer(REQUEST.as_json())
    assert reply is not None
    assert (reply["event"], reply["have"]) == ("failed", [])
    assert "a bug of llmpt" in reply["reason"]
    assert type(bug).__name__ in caplog.text
    status = world.answer({"op": "status"})
    assert status is not None, "the next request is served"


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"[1]\n", b'{"v":1,"op":["fetch"]}\n', b'{"v":1,"op":"dance"}\n', b'{"v":1,"op":"fetch"}\n']
)
def test_what_makes_no_sense_is_refused(world: World, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(world.path))
        connection.sendall(line)
        reply = LineReader(connection).read(timeout_s=10)
    assert reply is not None
    assert reply["event"] == "refused"
    assert reply["reason"]


def test_a_hook_that_hangs_up_is_noticed_with_more_than_a_thousand_descriptors(world: World) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = min(hard, 4096) if hard != resource.RLIM_INFINITY else 4096
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        while (taken := os.dup(0)) < 1100:
            stack.callback(os.close, taken)
        stack.callback(os.close, taken)
        stack.enter_context(world.asked(REQUEST.as_json()))  # has the descriptor that the agent waited with
        assert world.begun.wait(10)
        world.begun.clear()
        with world.asked(REQUEST.as_json()):
            assert world.begun.wait(10)
            assert not world.gone()
        eventually(world.gone, what="the agent to see that the hook has gone")


def test_without_a_descriptor_left_it_waits_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Path(tempfile.mkdtemp(prefix="llmpt-"))
    world = World(folder / "agent.sock", SocketTimings(full_s=0.01))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with world.server, socket.socket(socket.AF_UNIX) as connection:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (connection.fileno() + 1, before[1]))
            connection.connect(str(world.path))
            eventually(lambda: "takes nothing for a moment" in caplog.text, what="the agent to be out of descriptors")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        connection.sendall(protocol.encode({"op": "hello"}))
        reply = LineReader(connection).read(timeout_s=10)
        assert reply is not None
        assert reply["event"] == "hello"
    shutil.rmtree(folder)


def test_who_has_something_fetched_is_noted_by_process(world: World) -> None:
    world.go_on.set()
    world.answer(REQUEST.as_json())
    world.answer({"op": "status"})
    assert world.users == [os.getpid()]


def test_a_socket_of_somebody_else_in_its_place_is_left_alone(world: World) -> None:
    world.path.unlink()
    world.path.touch()
    assert not world.server.in_place()
    assert world.server.retire()
    assert world.path.exists()
