"""The agent's socket: who is answered, and how an agent makes room without losing anybody's request."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from llmpt.agent import messages
from llmpt.agent.messages import FetchRequest, LineReader, Message
from llmpt.agent.offers import Offers
from llmpt.agent.server import Server

REQUEST = FetchRequest("http://t:1", "a" * 64, 5, "model", "org/m", "main", "f", "/p", 1, 2, "/d", False)


class World:
    """A server whose downloads last until they are let go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun, self.go_on, self.stopped = threading.Event(), threading.Event(), threading.Event()
        self.users: list[int] = []
        self.server = Server(
            path,
            tracker="http://t:1",
            fetch=self._fetch,
            landed=lambda etag, path: None,
            offers=cast(Offers, None),
            status=lambda: {"pid": os.getpid()},
            used_by=self.users.append,
            stop=self.stopped.set,
        )

    def _fetch(self, request: FetchRequest, emit: Callable[[Message], None], cancelled: Callable[[], bool]) -> Message:
        self.begun.set()
        self.go_on.wait(10)
        return {"event": messages.REFUSED, "reason": "let go"}

    @contextmanager
    def asked(self, message: dict[str, Any]) -> Iterator[LineReader]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            connection.sendall(messages.encode(message))
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
        assert reply["version"] == messages.own_version()
        assert reply["event"] == {"stop": "stopping"}.get(op, op)


def test_a_request_of_another_version_is_refused_saying_what_to_update(world: World) -> None:
    reply = world.answer({**REQUEST.message(), "v": 0, "version": "0.0.1"})
    assert reply is not None
    assert reply["event"] == "refused"
    assert "update llmpt 0.0.1" in reply["reason"]


def test_an_agent_does_not_make_room_while_something_is_under_way(world: World) -> None:
    with world.asked(REQUEST.message()) as reader:
        assert world.begun.wait(10)
        reply = world.answer({"op": "retire"})
        assert reply is not None
        assert (reply["event"], reply["reason"]) == ("refused", "something is under way")
        assert not world.stopped.is_set()
        world.go_on.set()
        done = reader.read(timeout_s=10)
        assert done is not None
        assert done["reason"] == "let go"


def test_an_idle_agent_makes_room_at_once(world: World) -> None:
    with ExitStack() as stack:
        late = stack.enter_context(socket.socket(socket.AF_UNIX))
        late.connect(str(world.path))  # found it just before it left
        reply = world.answer({"op": "retire"})
        assert reply is not None
        assert reply["event"] == "retiring"
        assert world.stopped.is_set()
        assert not world.path.exists()
        late.sendall(messages.encode(REQUEST.message()))
        assert LineReader(late).read(timeout_s=10) is None  # not a refusal: its successor is asked


def test_who_has_something_fetched_is_noted_by_process(world: World) -> None:
    world.go_on.set()
    world.answer(REQUEST.message())
    world.answer({"op": "status"})
    assert world.users == [os.getpid()]


def test_a_socket_of_somebody_else_in_its_place_is_left_alone(world: World) -> None:
    world.path.unlink()
    world.path.touch()
    assert not world.server.in_place()
    assert world.server.retire()
    assert world.path.exists()
