"""What a program raises into our frames goes through, wherever it comes: real signal handlers, in the main thread."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import llmpt
from llmpt.core import errand
from llmpt.core.errors import Abandoned
from llmpt.link.answers import Progress, Refused
from llmpt.link.client import FetchResult
from llmpt.link.requests import FetchRequest
from tests.unit.client.hook.patch.world import ETAG, Agent, Download

OURS, STDLIB = str(Path(llmpt.__file__).parent), str(Path(threading.__file__).parent)


class TimeLimit(Exception):
    """As RQ's, Celery's, and timeout-decorator's are."""


class Cancelled(Exception):
    """As a program raises it in its progress bar."""


@contextmanager
def handling(error: Exception) -> Iterator[None]:
    """A program whose signal handler raises."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        raise error

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGUSR1, before)


def is_below_ours(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename.startswith(STDLIB):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(OURS)


def signal_at(place: int) -> Callable[[], int]:
    """Send the signal when this thread comes to that place; return what counts them.

    Python calls signal handlers where a function begins, and where a call returns: in ours, and in what these call.
    """
    seen = 0

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal seen
        if event in ("call", "c_return") and is_below_ours(frame):
            seen += 1
            if seen == place:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGUSR1)

    sys.setprofile(profile)
    return lambda: seen


@pytest.mark.parametrize("kind", [TimeLimit, TimeoutError])
@pytest.mark.parametrize("answer", ["serve", "refuse", "break_off"])
def test_a_time_limit_goes_through_at_every_step(
    download: Download, agent: Agent, answer: str, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    agent.answer = getattr(agent, answer)
    download().unlink()  # what is done once is done
    swallowed = []
    place = 0
    while True:
        place += 1
        with handling(kind("the job's time is up")):
            count = signal_at(place)
            raised = False
            try:
                download()
            except kind:
                raised = True
            sys.setprofile(None)
        if count() < place:
            break
        if not raised:
            swallowed.append(place)
        caplog.clear()
        for left in (*Path(agent.fetches[-1].destination).parent.iterdir(),) if agent.fetches else ():
            left.unlink()
    assert place > 60
    assert swallowed == []
    assert download().exists()
    assert "a bug of llmpt" not in caplog.text


def test_a_program_that_is_interrupted_goes_on_at_once_and_the_transfer_ends(download: Download, agent: Agent) -> None:
    ended = threading.Event()

    def hang(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        request.path.write_bytes(b"what has come")
        hung_up = threading.Event()
        try:
            with errand.ending(hung_up.set):
                hung_up.wait(20)
                errand.check()
        except Abandoned:
            ended.set()
            raise
        return Refused("never interrupted")

    agent.answer = hang
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    with handling(TimeoutError("the job's")), pytest.raises(TimeoutError, match="the job's"):
        download()
    assert ended.is_set()
    assert agent.fetches[0].path.read_bytes() == b"what has come"
    agent.answer = agent.serve  # and it can be tried again at once
    download()
    assert agent.fetches[1].path == agent.fetches[0].path


def test_what_another_thread_sets_into_a_waiting_one_comes_up_though_nothing_is_told(download: Download, agent: Agent) -> None:
    waits, came = threading.Event(), threading.Event()

    def silent(_request: FetchRequest, _on_progress: Callable[[Progress], None]) -> FetchResult:
        waits.set()
        came.wait(10)
        return Refused("never cancelled")

    def job() -> None:
        try:
            download()
        except TimeLimit:
            came.set()

    agent.answer = silent
    thread = threading.Thread(target=job)
    thread.start()
    assert waits.wait(10)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeLimit))
    assert came.wait(5)
    thread.join(10)


def test_a_step_that_does_not_end_holds_nobody_up_and_nothing_is_pulled_away_from_it(
    download: Download, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errand, "LETTING_GO_S", 0.01)
    go_on, closed = threading.Event(), threading.Event()

    def deaf(request: FetchRequest, _on_progress: Callable[[Progress], None]) -> FetchResult:
        (descriptor,) = (int(fd.name) for fd in Path("/proc/self/fd").iterdir() if fd.resolve() == request.path)
        os.kill(os.getpid(), signal.SIGUSR1)
        go_on.wait(20)
        os.pwrite(descriptor, b"still open", 0)
        closed.set()
        return Refused("too late")

    agent.answer = deaf
    with handling(TimeLimit()), pytest.raises(TimeLimit):
        download()
    assert not closed.is_set()
    go_on.set()
    assert closed.wait(10)


@pytest.mark.parametrize("error", [Cancelled(), RuntimeError("cancelled"), TimeoutError("cancelled")], ids=repr)
def test_what_a_progress_bar_raises_goes_through(download: Download, library: Any, agent: Agent, error: Exception) -> None:
    def update(_bar: object, _n: float) -> None:
        raise error

    def slow(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        request.path.write_bytes(b"half")
        started = time.monotonic()
        while time.monotonic() < started + 20:
            on_progress(Progress(4, 1, 1))
        return Refused("never cancelled")

    library.tqdm.update = update
    agent.answer = slow
    with pytest.raises(type(error)):
        download()
    assert agent.fetches[0].path.read_bytes() == b"half"
    assert library.fetched == []


def test_so_does_what_it_raises_when_it_is_closed(
    download: Download, library: Any, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    def close(*_: object) -> None:
        raise ValueError("no such bar")

    def broken_off(_request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        on_progress(Progress(4, 1, 1))
        return Refused("not any more")

    library.tqdm.close = library.tqdm.__exit__ = close
    agent.answer = broken_off
    with pytest.raises(ValueError, match="no such bar"):
        download()
    assert "a bug of llmpt" not in caplog.text


def test_a_bar_that_meets_a_bug_of_ours_costs_no_download(
    download: Download, library: Any, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        on_progress(Progress(4, 1, 1))
        return agent.serve(request, on_progress)

    del library.tqdm  # a library that makes its bars in a way which we do not know
    agent.answer = answer
    download()
    assert library.fetched == []
    assert caplog.text.count("a bug of llmpt") == 1


def test_a_process_without_a_thread_left_has_its_file_all_the_same(
    download: Download, library: Any, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(errand, "start_new_thread", none_left)
    download()
    assert library.fetched == []


@pytest.mark.parametrize("on_the_main_thread", [True, False])
def test_a_small_file_costs_no_thread_where_no_signal_handler_runs(
    download: Download, library: Any, monkeypatch: pytest.MonkeyPatch, *, on_the_main_thread: bool
) -> None:
    library.metadata = ("http://hub/f", ETAG, "c" * 40, 2000, None, None)
    threads: list[object] = []

    def start(*wanted: Any) -> int:
        threads.append(wanted)
        return start_new_thread(*wanted)

    monkeypatch.setattr(errand, "start_new_thread", start)
    if on_the_main_thread:
        download()
    else:
        thread = threading.Thread(target=download)
        thread.start()
        thread.join(10)
    assert len(library.fetched) == 1
    assert bool(threads) == on_the_main_thread
