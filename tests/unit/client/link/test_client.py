"""The hook's side of the socket: what becomes of each thing that an agent may say, or not say."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import AgentUnavailable
from llmpt.core.files import FileId
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.link import paths, protocol, versions
from llmpt.link.answers import Done, Failed, Progress, Refused
from llmpt.link.client import AgentClient, FetchResult, NoAgent, Silent
from llmpt.link.fields import Message
from llmpt.link.protocol import LineReader
from llmpt.link.requests import FetchRequest, Landed, Stop
from llmpt.link.timings import TIMINGS, LinkTimings
from llmpt.settings import ClientSettings

REQUEST = FetchRequest(
    "http://t:1", Etag("a" * 64), 5, RepoRef("model", "org/m"), "main", RepoPath("f"), Path("/p"), FileId(1, 2), Path("/d"), False
)
Answer = Callable[[socket.socket], None]


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    folder = tempfile.mkdtemp(prefix="llmpt-")  # short enough for a socket's path
    yield {"XDG_RUNTIME_DIR": folder, "PATH": "", "XDG_CONFIG_HOME": folder, "LLMPT_STALL_TIMEOUT": "0.1"}
    shutil.rmtree(folder)


@contextmanager
def agent(environ: dict[str, str], answer: Answer) -> Iterator[list[Message | None]]:
    """Say hello to whoever does, and answer all else with `answer`; yields what was asked, without the versions."""
    asked: list[Message | None] = []
    closing = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths.socket_path(environ)))
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
                    if request is not None and request["op"] == "hello":
                        connection.sendall(protocol.encode({"event": "hello"}))
                        continue
                    asked.append(
                        request and {name: value for name, value in request.items() if name not in ("v", "version", "request")}
                    )
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        closing.set()
        thread.join(timeout=10)
        assert not thread.is_alive()


def saying(*lines: dict[str, object] | bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        for line in lines:
            connection.sendall(line if isinstance(line, bytes) else protocol.encode(line))

    return answer


def make_client(environ: dict[str, str], *, start: list[str] | None = None, timings: LinkTimings = TIMINGS) -> AgentClient:
    return AgentClient(ClientSettings.read(environ), environ=environ, start_command=start, timings=timings)


OWN = versions.own_version()
PROGRESS = {"event": "progress", "bytes": 3, "rate_bytes_s": 2, "peers": 1}


@pytest.mark.parametrize(
    ("lines", "result"),
    [
        ([{"event": "refused", "reason": "nobody has it"}], Refused("nobody has it")),
        ([{"event": "refused", "reason": "yours", "fetch": True}], Refused("yours", fetch=True)),
        ([PROGRESS, {"event": "failed", "reason": "gone"}], Failed("gone")),
        ([{"event": "failed"}], Failed("no reason given")),
        ([PROGRESS, {"event": "done", "moved": True, "bytes_from_lan": 5, "peers": 2}],
         Done(moved=True, bytes_from_lan=5, peers=2)),
        ([{"event": "done", "moved": "yes", "bytes_from_lan": -1, "peers": True}], Done(moved=False, peers=1)),
        ([PROGRESS, {"event": "of a later version"}, {"event": "refused", "reason": "x"}], Refused("x")),
        ([{"event": "ok"}], Failed("the agent has gone away")),
        ([], Failed("the agent has gone away")),
        ([PROGRESS], Failed("the agent has gone away")),
        ([b"\xff\n"], Failed("not a line of JSON")),
        ([b'{"v":9,"version":"9.1"}\n'],
         Failed(f"llmpt {OWN} is too old for llmpt 9.1 on this machine (version 9 of the agent's protocol, "
                f"where 1 is spoken): update llmpt {OWN}")),
    ],
)  # fmt: skip
def test_each_answer_has_its_result(environ: dict[str, str], lines: list[dict[str, object] | bytes], result: FetchResult) -> None:
    seen: list[Progress] = []
    with agent(environ, saying(*lines)) as asked:
        assert make_client(environ).fetch(REQUEST, on_progress=seen.append) == result
    asked_twice = result == Failed("the agent has gone away")  # its successor, if there is one
    assert asked == [REQUEST.as_json()] * (2 if asked_twice else 1)
    assert seen == [Progress(3, 2, 1)] * lines.count(PROGRESS) * len(asked)


@pytest.mark.parametrize(
    ("said", "have"),
    [
        ([[0, 4], [6, 10]], ((0, 4), (6, 10))),
        ([], ()),
        (None, ()),
        ("0-4", ()),
        ([[0, 4], [4, 10]], ()),  # they touch: no agent of ours says it so
        ([[4, 0]], ()),
        ([[6, 10], [0, 4]], ()),
        ([[0, 11]], ()),
        ([[-1, 4]], ()),
        ([[0, 4.0]], ()),
        ([[0, True]], ()),
        ([[0]], ()),
    ],
)
def test_what_is_on_disk_is_believed_only_where_it_makes_sense(
    environ: dict[str, str], said: object, have: tuple[tuple[int, int], ...]
) -> None:
    with agent(environ, saying({"event": "failed", "reason": "gone", "have": said})):
        assert make_client(environ).fetch(replace(REQUEST, size=10), on_progress=lambda _: None) == Failed("gone", have)


def test_a_silent_agent_is_given_up(environ: dict[str, str]) -> None:
    client = make_client(environ, timings=LinkTimings(silence_margin_s=0.1))
    released = threading.Event()

    def say_nothing(connection: socket.socket) -> None:
        released.wait(10)

    with agent(environ, say_nothing):
        assert client.fetch(REQUEST, on_progress=print) == Silent("the agent is silent")
        released.set()


def test_an_interrupted_fetch_closes_the_connection(environ: dict[str, str]) -> None:
    closed: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        connection.sendall(protocol.encode(PROGRESS))
        connection.settimeout(5)
        closed.append(connection.recv(1))

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with agent(environ, answer), pytest.raises(KeyboardInterrupt):
        make_client(environ).fetch(REQUEST, on_progress=interrupt)
    assert closed == [b""]


def test_an_agent_that_says_it_is_ending_has_a_successor_that_is_asked(environ: dict[str, str]) -> None:
    lines = iter([{"event": "ending", "reason": "the agent is ending"}, {"event": "refused", "reason": "said by the successor"}])

    def answer(connection: socket.socket) -> None:
        connection.sendall(protocol.encode(next(lines)))

    with agent(environ, answer) as asked:
        assert make_client(environ).fetch(REQUEST, on_progress=print) == Refused("said by the successor")
    assert asked == [REQUEST.as_json()] * 2


def test_a_request_that_an_ending_agent_gets_is_not_taken_for_done(environ: dict[str, str]) -> None:
    with agent(environ, saying({"event": "ending"})), pytest.raises(AgentUnavailable, match="ending"):
        make_client(environ).ask(Stop())


def test_an_agent_that_cannot_say_what_it_does_says_why(environ: dict[str, str]) -> None:
    with agent(environ, saying({"event": "refused", "reason": "a bug"})), pytest.raises(AgentUnavailable, match="a bug"):
        make_client(environ).status()


def test_a_request_has_one_reply(environ: dict[str, str]) -> None:
    with agent(environ, saying({"event": "status", "pid": 7})) as asked:
        assert make_client(environ).status()["pid"] == 7
    assert asked == [{"op": "status"}]


def test_asking_starts_no_agent(environ: dict[str, str]) -> None:
    with pytest.raises(AgentUnavailable, match="no agent is running"):
        make_client(environ, start=["/nowhere/to/be/found"]).status()


def test_telling_where_a_file_lies_raises_for_nobody(environ: dict[str, str]) -> None:
    make_client(environ).landed(Landed("http://t:1", Etag("a" * 64), Path("/x")))
    with agent(environ, saying({"event": "ok"})) as asked:
        make_client(environ).landed(Landed("http://t:1", Etag("a" * 64), Path("/x")))
    assert asked == [{"op": "landed", "etag": "a" * 64, "path": "/x", "tracker": "http://t:1", "fetched": False}]


def why_no_agent(client: AgentClient) -> str:
    result = client.fetch(REQUEST, on_progress=print)
    assert isinstance(result, NoAgent)
    return result.reason


def test_after_a_failed_start_there_is_no_other_for_a_while(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    client = make_client(environ, start=["/nowhere/to/be/found"])
    reasons = [why_no_agent(client) for _ in range(3)]
    assert reasons[0] == "/nowhere/to/be/found cannot be run: No such file or directory"
    assert set(reasons[1:]) == {"no agent is running, and the last try to start one failed"}
    assert len(caplog.records) == 1


def test_a_failure_noted_before_the_last_reboot_holds_nobody_back(environ: dict[str, str]) -> None:
    paths.start_lock_path(environ).write_text(f"{1e12:030.6f}")
    reason = why_no_agent(make_client(environ, start=["/nowhere/to/be/found"]))
    assert reason.startswith("/nowhere/to/be/found cannot be run")


def test_a_start_command_that_ends_badly_says_why(environ: dict[str, str]) -> None:
    command = [sys.executable, "-S", "-c", "import sys; sys.exit('first line\\nthe tracker is not set')"]
    assert why_no_agent(make_client(environ, start=command)) == "the tracker is not set"


def test_without_libtorrent_the_agent_of_another_environment_is_started(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    program = tmp_path / "llmpt"
    program.write_text('#!/bin/sh\necho "$@" for "$LLMPT_TRACKER" >&2\nexit 1\n')
    program.chmod(0o755)
    environ |= {"PATH": str(tmp_path), "LLMPT_TRACKER": "http://server:8000"}
    assert why_no_agent(make_client(environ)) == "agent start for http://server:8000"


def test_the_own_environment_is_passed_over_when_another_is_looked_for(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "llmpt").write_text(f"#!/bin/sh\necho {name} >&2\nexit 1\n")
        (tmp_path / name / "llmpt").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "own" / "python"))
    environ["PATH"] = f"{tmp_path / 'own'}:{tmp_path / 'other'}"
    assert why_no_agent(make_client(environ)) == "other"


def test_an_environment_without_libtorrent_cannot_start_its_own(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    environ["PATH"] = str(Path(sys.executable).parent)
    assert "this Python has no libtorrent" in why_no_agent(make_client(environ))


def test_a_runtime_folder_that_is_not_ours_is_the_ordinary_path(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ["HOME"] = "/proc/nowhere"
    monkeypatch.setattr(paths, "TEMPORARY", Path("/proc/nowhere"))
    (Path(environ["XDG_RUNTIME_DIR"]) / "llmpt").symlink_to(tmp_path)
    assert "not a folder of this user" in why_no_agent(make_client(environ))


def test_many_small_files_look_for_an_agent_once(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr("llmpt.link.starter.Starter.meet", lambda starter: looked.append(starter))
    asked = make_client(environ)
    assert len({asked.min_blob_bytes for _ in range(100)}) == 1
    assert len(looked) == 1
    anew = make_client(environ, timings=LinkTimings(looked_s=-1.0))
    assert {anew.min_blob_bytes for _ in range(3)} == {asked.min_blob_bytes}
    assert len(looked) == 4
