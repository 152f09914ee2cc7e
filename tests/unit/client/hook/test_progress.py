"""How the library's bars are driven, with each shape that its factory has had."""

from __future__ import annotations

import logging
import subprocess
import sys
import types
from typing import Any

import pytest

from llmpt.hook.progress import LibraryBar


class Recorded:
    """A bar that remembers. Like snapshot_download's, making one with a total adds to a total that all share."""

    made: list[Recorded]
    shared_total = 0

    def __init__(self, **looks: Any) -> None:
        self.looks, self.n, self.transferred, self.closed = looks, looks.get("initial") or 0, 0, False
        type(self).shared_total += looks.get("total") or 0
        self.made.append(self)

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def update(self, n: float | None = 1) -> None:
        self.n += int(n or 0)

    def update_transfer(self, n: float | None = 1) -> None:
        self.transferred += int(n or 0)


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    return type("Bars", (Recorded,), {"made": []})


def since_1_1(default: type[Recorded]) -> types.ModuleType:
    def factory(*, desc: str, log_level: int, total: int, initial: int, name: str, tqdm_class: Any = None) -> Recorded:
        return (tqdm_class or default)(desc=desc, total=total, initial=initial, log_level=log_level, name=name)

    return _library(_get_progress_bar_context=factory)


def since_0_30(default: type[Recorded]) -> types.ModuleType:
    def factory(*, desc: str, log_level: int, total: int, initial: int, name: str) -> Recorded:
        return default(desc=desc, total=total, initial=initial, log_level=log_level, name=name)

    return _library(_get_progress_bar_context=factory)


def since_0_23(default: type[Recorded]) -> types.ModuleType:
    return _library(tqdm=default)


def _library(**names: Any) -> types.ModuleType:
    library = types.ModuleType("file_download")
    library.__dict__.update(names, logger=logging.getLogger("huggingface_hub.file_download"))
    return library


@pytest.mark.parametrize("library", [since_0_23, since_0_30, since_1_1])
def test_a_bar_is_made_when_bytes_flow_and_ends_full(library: Any, bars: type[Recorded]) -> None:
    bar = LibraryBar(library(bars), filename="a" * 30 + "/model.safetensors", total=100, tqdm_class=bars)
    assert not bars.made
    for done in (10, 50, 30, 90):
        bar.show(done)
    (made,) = bars.made
    assert made.n == made.transferred == 90
    assert (made.looks["desc"], made.looks["total"]) == ("(…)" + ("a" * 30 + "/model.safetensors")[-40:], 100)
    bar.finish()
    assert (made.n, made.closed) == (100, True)


@pytest.mark.parametrize("library", [since_0_23, since_0_30])
def test_where_the_library_makes_its_own_bar_ours_goes_back_to_zero(library: Any, bars: type[Recorded]) -> None:
    bar = LibraryBar(library(bars), filename="f", total=100)
    bar.show(40)
    assert bar.hand_over(keep=False) is None
    assert (bars.made[0].n, bars.made[0].closed) == (0, True)


def test_the_library_goes_on_with_the_same_bar_and_no_total_doubles(bars: type[Recorded]) -> None:
    library = since_1_1(bars)
    bar = LibraryBar(library, filename="f", total=100, tqdm_class=bars)
    bar.show(40)
    continued = bar.hand_over(keep=True)
    assert continued is not None
    made = bars.made[0]
    assert (made.n, made.transferred, made.closed) == (0, 0, False)
    with continued(total=100, initial=0, desc="f", disable=None, name="x") as theirs:
        theirs.update(70)
        theirs.update_transfer(70)
        again = continued(total=100, initial=70)  # as some versions do when they resume
        again.update(30)
        again.update_transfer(30)
    assert (made.n, made.transferred, made.closed) == (100, 100, True)
    assert (len(bars.made), bars.shared_total) == (1, 100)


def test_a_library_that_resumes_its_own_file_starts_where_it_says(bars: type[Recorded]) -> None:
    bar = LibraryBar(since_1_1(bars), filename="f", total=100, tqdm_class=bars)
    bar.show(40)
    continued = bar.hand_over(keep=True)
    assert continued is not None
    continued(total=100, initial=25).update(75)
    assert bars.made[0].n == 100


def test_no_bar_is_handed_over_when_none_was_shown(bars: type[Recorded]) -> None:
    bar = LibraryBar(since_1_1(bars), filename="f", total=100, tqdm_class=bars)
    assert bar.hand_over(keep=True) is None
    bar.close()
    assert not bars.made


def test_a_bar_that_can_only_update_is_enough() -> None:
    class Silent:
        def __enter__(self) -> Silent:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, n: float | None = 1) -> None: ...

    def factory(*, desc: str, log_level: int, total: int, initial: int, name: str, tqdm_class: Any = None) -> Any:
        return Silent()

    bar = LibraryBar(_library(_get_progress_bar_context=factory), filename="f", total=100, tqdm_class=Silent)
    bar.show(1)
    bar.finish()


FORK_WHILE_A_BAR_IS_DRAWN = """
import os, signal, threading
import llmpt.hook.progress
from BARS import tqdm
drawing, forked = threading.Event(), threading.Event()

def draw():
    with tqdm.get_lock():
        drawing.set()
        forked.wait()

thread = threading.Thread(target=draw)
thread.start()
drawing.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    tqdm(total=1, file=open(os.devnull, "w")).close()
    os._exit(0)
forked.set()
thread.join()
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("bars", ["tqdm.auto", "huggingface_hub.utils"])
def test_a_child_forked_while_a_bar_is_drawn_draws_its_own(bars: str) -> None:
    code = FORK_WHILE_A_BAR_IS_DRAWN.replace("BARS", bars)
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False)
    assert ran.returncode == 0
