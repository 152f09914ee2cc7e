"""Which agent is used, and when an older one is replaced: agents that answer as told, and commands that note their start."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.breaker import Breaker
from llmpt.core.errors import AgentUnavailable
from llmpt.link import lock, paths, protocol, versions
from llmpt.link.protocol import LineReader
from llmpt.link.starter import RETRY_START, Starter
from llmpt.link.timings import TIMINGS, LinkTimings

OWN = versions.own_version()


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    folder = tempfile.mkdtemp(prefix="llmpt-")  # short enough for a socket's path
    yield {"XDG_RUNTIME_DIR": folder, "PATH": ""}
    shutil.rmtree(folder)


@contextmanager
def agent(environ: dict[str, str], *, version: str | None, busy: bool = False) -> Iterator[list[str]]:
    """An agent of `version` (None: one that knows of none); yields the operations that it was asked for."""
    asked: list[str] = []
    closing = threading.Event()
    path = paths.socket_path(environ)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(0.02)

        def serve() -> None:
            while not closing.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    request = LineReader(connection).read(timeout_s=5)
                    op = request["op"] if request else "nothing"
                    asked.append(op)
                    reply: dict[str, Any] = {"event": "hello" if op == "hello" else "refused" if busy else "retiring"}
                    if version is None:
                        reply = {"event": "refused", "reason": "not something this agent can do", "version": ""}
                    connection.sendall(protocol.encode({"version": version, "min_blob_bytes": 4096, **reply}))
                    if reply["event"] == "retiring":
                        listener.close()
                        path.unlink()
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            closing.set()
            thread.join(timeout=10)


def noting(environ: dict[str, str], timings: LinkTimings = TIMINGS) -> tuple[Starter, Path]:
    """A starter whose command notes that it ran."""
    notes = Path(environ["XDG_RUNTIME_DIR"]) / "starts"
    command = [sys.executable, "-S", "-c", "import sys; open(sys.argv[1], 'a').write('x')", str(notes)]
    return Starter("http://t:1", environ=environ, command=command, timings=timings), notes


@pytest.mark.parametrize("version", [OWN, "99.0"])
def test_an_agent_that_is_no_older_is_used_and_asked_only_once(environ: dict[str, str], version: str) -> None:
    made, notes = noting(environ)
    with agent(environ, version=version) as asked:
        for _ in range(3):
            made.ensure()
    assert asked == ["hello"]
    assert not notes.exists()


def test_an_agent_tells_from_which_size_on_files_have_a_swarm(environ: dict[str, str]) -> None:
    made, _ = noting(environ)
    assert made.min_blob_bytes is None
    with agent(environ, version=OWN):
        made.ensure()
    assert made.min_blob_bytes == 4096


def test_an_agent_that_runs_is_heard_without_starting_one(environ: dict[str, str]) -> None:
    made, notes = noting(environ)
    made.meet()
    assert made.min_blob_bytes != 4096
    with agent(environ, version=OWN) as asked:
        for _ in range(3):
            made.meet()
    assert asked == ["hello"]
    assert made.min_blob_bytes == 4096
    assert not notes.exists()


def test_where_no_socket_can_be_there_is_nothing_to_hear(environ: dict[str, str]) -> None:
    environ["XDG_RUNTIME_DIR"] += "/" + "x" * 120
    made, notes = noting(environ)
    made.meet()
    assert made.min_blob_bytes is None
    assert not notes.exists()


def test_an_agent_that_says_nothing_costs_its_silence_once(environ: dict[str, str]) -> None:
    made, _ = noting(environ, LinkTimings(hello_s=0.05))
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(paths.socket_path(environ)))
        hung.listen()
        hung.settimeout(0.01)
        for _ in range(3):
            made.meet()
        hung.accept()[0].close()
        with pytest.raises(TimeoutError):
            hung.accept()


def test_an_agent_that_was_just_started_is_asked_the_next_time(environ: dict[str, str]) -> None:
    made, _ = noting(environ)
    made.ensure()
    with agent(environ, version=OWN) as asked:
        made.ensure()
    assert asked == ["hello"]
    assert made.min_blob_bytes == 4096


def test_an_older_agent_makes_room(environ: dict[str, str]) -> None:
    made, notes = noting(environ)
    with agent(environ, version="0.0.1") as asked:
        made.ensure()
    assert asked == ["hello", "hello", "retire"]  # once more when it is our turn: others may have been quicker
    assert notes.read_text() == "x"


def test_an_older_agent_that_is_busy_is_used_and_asked_again(environ: dict[str, str]) -> None:
    made, notes = noting(environ)
    with agent(environ, version="0.0.1", busy=True) as asked:
        made.ensure()
        made.ensure()
    assert asked.count("retire") == 2
    assert not notes.exists()


def test_an_agent_from_before_there_were_versions_is_used_if_it_knows_no_retiring(environ: dict[str, str]) -> None:
    made, notes = noting(environ)
    with agent(environ, version=None) as asked:
        made.ensure()
    assert asked == ["hello", "hello", "retire"]
    assert not notes.exists()


def test_who_could_only_start_another_environments_agent_replaces_none(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no libtorrent here
    with agent(environ, version="0.0.1") as asked:
        Starter("http://t:1", environ=environ).ensure()
    assert asked == ["hello"]


def test_a_socket_that_a_killed_agent_has_left_is_in_nobodys_way(environ: dict[str, str]) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(paths.socket_path(environ)))
    made, notes = noting(environ)
    made.ensure()
    assert notes.read_text() == "x"


def test_an_agent_that_says_nothing_is_given_up(environ: dict[str, str]) -> None:
    made, notes = noting(environ, LinkTimings(hello_s=0.05))
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(paths.socket_path(environ)))
        hung.listen()
        with pytest.raises(AgentUnavailable, match="silent"):
            made.ensure()
    assert not notes.exists()


def test_one_that_is_ending_is_waited_for(environ: dict[str, str]) -> None:
    held, let_go = threading.Event(), threading.Event()

    def end() -> None:
        with lock.held(environ):
            held.set()
            let_go.wait(10)

    ending = threading.Thread(target=end)
    ending.start()
    assert held.wait(10)
    assert lock.is_held(environ)
    threading.Timer(0.1, let_go.set).start()
    with lock.held(environ):
        assert let_go.is_set()
    ending.join(timeout=10)
    assert not lock.is_held(environ)


def test_after_a_failed_start_another_is_tried_in_a_moment_and_then_ever_later(environ: dict[str, str]) -> None:
    now = [0.0]
    breaker = Breaker(RETRY_START, clock=lambda: now[0], chance=lambda: 0.0)
    starting = Starter("http://t:1", environ=environ, command=["/nowhere/to/be/found"], breaker=breaker)
    tried_at = []
    while now[0] < 100:
        with pytest.raises(AgentUnavailable) as raised:
            starting.ensure()
        if "cannot be run" in str(raised.value):
            tried_at.append(now[0])
        now[0] += 1
    assert tried_at == [0, 5, 15, 35, 65, 95]


def test_a_machine_without_a_place_for_a_socket_says_so_once(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    environ["XDG_RUNTIME_DIR"] += "/" + "x" * 200
    starter, notes = noting(environ)
    for _ in range(3):
        with pytest.raises(AgentUnavailable, match="too long"):
            starter.ensure()
    assert [record.getMessage().count("files come over HTTP") for record in caplog.records] == [1]
    assert not notes.exists()


def test_a_folder_in_which_nothing_can_be_made_is_told_once(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    starter, notes = noting(environ)
    paths.start_lock_path(environ).mkdir()  # as on a full disk, it cannot be opened as a file
    for _ in range(3):
        with pytest.raises(AgentUnavailable):
            starter.ensure()
    assert [record.getMessage().count("cannot be used: Is a directory; files come over HTTP") for record in caplog.records] == [1]
    assert not notes.exists()
