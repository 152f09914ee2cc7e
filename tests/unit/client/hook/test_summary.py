"""The line at the end: when it is said, and what it says."""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from llmpt.hook.summary import Summary, human_bytes, write_to_stderr
from llmpt.link.counted import Counted
from tests.support.waiting import eventually


@contextmanager
def downloading(summary: Summary) -> Iterator[None]:
    summary.begin()
    yield
    summary.end()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_says_how_much_came_from_where() -> None:
    said: list[str] = []
    clock = Clock()
    summary = Summary(said.append, clock=clock)
    with downloading(summary):
        with summary.lan_transfer():
            clock.now += 2
        clock.now += 60  # the rate is that of the transfer, not of the program
        summary.from_lan(91_300_000, machines=1)
        summary.from_hub(700_000)
    summary.close()
    assert said == ["llmpt: 91.3 MB from the LAN (1 machine, 45.6 MB/s), 700 kB from the Hub"]


def test_concurrent_transfers_share_their_time() -> None:
    said: list[str] = []
    clock = Clock()
    summary = Summary(said.append, clock=clock)
    with summary.lan_transfer(), summary.lan_transfer():
        clock.now += 2
    summary.from_lan(1000, machines=2)
    summary.from_lan(1000, machines=3)
    summary.close()
    assert said == ["llmpt: 2.0 kB from the LAN (3 machines, 1.0 kB/s)"]


def test_what_this_machines_own_agent_had_is_not_from_the_lan() -> None:
    said: list[str] = []
    summary = Summary(said.append)
    summary.from_here(2000)
    summary.flush()
    with summary.lan_transfer():
        summary.from_lan(1000, machines=0)
        summary.from_here(500)
    summary.close()
    assert [line.partition(" (")[0].partition(",")[0] for line in said] == [
        "llmpt: 2.0 kB from this machine",
        "llmpt: 1.0 kB from the LAN",
    ]
    assert said[1].endswith(", 500 B from this machine")


def test_nothing_is_said_of_what_came_from_the_hub_alone() -> None:
    said: list[str] = []
    summary = Summary(said.append)
    summary.from_hub(10**9)
    summary.flush()
    summary.from_lan(1000, machines=0)
    summary.close()
    assert said == ["llmpt: 1.0 kB from the LAN"], "and what was passed over in silence is not counted later"


def test_what_is_read_in_streams_is_said_at_the_end_and_questions_are_noted() -> None:
    said: list[str] = []
    noted: list[Counted] = []
    summary = Summary(said.append, note=noted.append)
    summary.streamed(4_000_000)
    summary.streamed(1_000_000)
    for hub in (True, False, False):
        summary.asked(hub=hub)
    summary.close()
    assert said == ["llmpt: 5.0 MB read from the LAN in streams, 1 request to the Hub instead of 3"]
    assert noted == [Counted(2, 1, 5_000_000)]


def test_a_transfer_that_broke_off_is_told() -> None:
    said: list[str] = []
    summary = Summary(said.append)
    summary.from_hub(5, after_lan=True)
    summary.close()
    assert said == ["llmpt: 5 B from the Hub, the LAN broke off in the middle of a file"]


def test_it_is_said_once_a_moment_after_the_last_download() -> None:
    said: list[str] = []
    summary = Summary(said.append, moment_s=0.05)
    with downloading(summary):
        with downloading(summary):
            summary.from_lan(1000, machines=1)
        assert not said
    eventually(lambda: said, what="the line")
    summary.close()
    assert len(said) == 1


def test_the_next_download_in_time_holds_it_back() -> None:
    before = len(sys._current_frames())
    said: list[str] = []
    summary = Summary(said.append, moment_s=0.2)
    for _ in range(3):
        with downloading(summary):
            summary.from_lan(1000, machines=1)
    assert len(sys._current_frames()) <= before + 1  # one thread waits, however many downloads have ended
    assert not said
    eventually(lambda: said, what="the line")
    summary.close()
    assert len(said) == 1
    assert "3.0 kB" in said[0]


def test_nothing_is_written_where_there_is_no_stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("tqdm")  # it would take stdout
    monkeypatch.setattr(sys, "stderr", None)
    write_to_stderr("llmpt: 1 GB from the LAN")
    assert capsys.readouterr().out == ""


def test_a_forked_child_does_not_say_what_its_parent_downloaded() -> None:
    said: list[str] = []
    summary = Summary(said.append)
    summary.from_lan(1000, machines=1)
    with summary._lock:  # as if another thread of the parent were in the middle of it
        child = os.fork()
        if child == 0:
            summary.flush()
            os._exit(1 if said else 0)
    assert os.waitpid(child, 0)[1] == 0
    summary.close()
    assert len(said) == 1


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_940, "99.9 kB"), (99_960, "100 kB"), (999_600, "1.0 MB"),
     (91_300_000, "91.3 MB"), (210e6, "210 MB"), (70e9, "70.0 GB"), (5e15, "5000 TB")],
)  # fmt: skip
def test_sizes_are_written_as_the_bars_do(count: float, text: str) -> None:
    assert human_bytes(count) == text


def test_bars_on_the_screen_are_not_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, object]] = []
    tqdm = types.SimpleNamespace(tqdm=types.SimpleNamespace(write=lambda line, file: written.append((line, file))))
    monkeypatch.setitem(sys.modules, "tqdm", tqdm)
    write_to_stderr("hello")
    assert written == [("hello", sys.stderr)]


@pytest.mark.parametrize("stream", ["none", "closed"])
def test_without_a_stderr_nothing_happens(monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    if stream == "none":
        monkeypatch.setattr(sys, "stderr", None)
    else:
        reader, writer = os.pipe()
        closed = os.fdopen(writer, "w")
        closed.close()
        os.close(reader)
        monkeypatch.setattr(sys, "stderr", closed)
    write_to_stderr("hello")
