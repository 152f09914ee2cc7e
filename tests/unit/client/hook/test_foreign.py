"""Whose an exception is."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from functools import partial

import pytest

from llmpt.core.errors import TrackerSlow
from llmpt.hook.foreign import is_foreign


class JobTimeout(Exception):
    """What a program has for its time limit."""


def of_module(module: str) -> Exception:
    return type("Failed", (Exception,), {"__module__": module})()  # type: ignore[no-any-return]


def raised(step: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        step()
    return caught.value


@pytest.mark.parametrize(
    "module", ["requests.exceptions", "httpx._exceptions", "httpx2._exceptions", "httpcore2", "filelock._error"]
)
def test_what_the_library_calls_for_a_download_raises_no_error_of_the_programs(module: str) -> None:
    assert not is_foreign(of_module(module))


def test_our_own_is_ours() -> None:
    assert not is_foreign(TrackerSlow("the answer took too long"))
    assert not is_foreign(OSError("disk"))


@pytest.mark.parametrize("error", [JobTimeout(), KeyboardInterrupt(), SystemExit(1), of_module("rq.timeouts")])
def test_an_error_of_the_programs_classes_is_the_programs(error: BaseException) -> None:
    assert is_foreign(error)


class Limit:
    def out_of_time(self, *what: object) -> None:
        del what
        raise TimeoutError("the job's time is over")


def out_of_time(_number: int, frame: object) -> None:
    raise TimeoutError("the job's time is over")


class Over:
    def __call__(self, *what: object) -> None:
        del what
        raise TimeoutError("the job's time is over")


def of_a_job(_job: str, _number: int, frame: object) -> None:
    del frame
    raise TimeoutError("the job's time is over")


@pytest.mark.parametrize("handler", [out_of_time, Limit().out_of_time, Over(), partial(of_a_job, "job")])
def test_an_ordinary_error_out_of_a_signal_handler_is_the_programs(handler: Callable[..., None]) -> None:
    before = signal.signal(signal.SIGALRM, handler)
    try:
        assert is_foreign(raised(lambda: signal.raise_signal(signal.SIGALRM)))
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_ordinary_error_of_a_callback_is_the_programs_where_its_code_is_called() -> None:
    def update() -> None:
        raise ValueError("no such bar")

    assert is_foreign(raised(update), of_a_callback=True)
    assert not is_foreign(raised(update))


def test_so_is_what_comes_out_of_a_library_that_a_callback_calls() -> None:
    def update() -> None:
        json.loads("no such bar")

    assert is_foreign(raised(update), of_a_callback=True)
    assert not is_foreign(raised(update))
