"""Requests that wait: how often it is looked for them, how many may, and what becomes of them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmpt_tracker.errors import TooManyWait
from llmpt_tracker.waiting import Waiting
from tests.support.waiting import eventually


def test_what_is_seen_is_returned_to_all_that_wait_for_it_and_looked_for_once() -> None:
    waiting, looks, there = Waiting(), [], threading.Event()

    def look() -> str | None:
        looks.append(threading.current_thread().name)
        return "it" if there.is_set() else None

    with ThreadPoolExecutor(30) as pool:
        found = [pool.submit(waiting.until, "key", look, within_s=10, poll_s=0.02) for _ in range(30)]
        eventually(lambda: waiting.count == 30, what="all to wait")
        there.set()
        assert {one.result() for one in found} == {"it"}
    assert set(looks) == {"waiting"}, "one thread looks for all"
    assert waiting.count == 0


def test_a_no_is_something_that_was_seen() -> None:
    assert Waiting().until("key", lambda: False, within_s=10, poll_s=0.01) is False


def test_what_never_comes_is_waited_for_no_longer_than_was_said() -> None:
    began = time.monotonic()
    assert Waiting().until("key", lambda: None, within_s=0.1, poll_s=0.01) is None
    assert 0.1 <= time.monotonic() - began < 2


def test_an_error_of_a_look_is_raised_where_it_is_waited_for_and_ends_no_other_wait() -> None:
    waiting, there = Waiting(), threading.Event()

    def fail() -> None:
        raise KeyError("bug")

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(waiting.until, "other", lambda: there.is_set() or None, within_s=10, poll_s=0.01)
        eventually(lambda: waiting.count == 1)
        with pytest.raises(KeyError):
            waiting.until("key", fail, within_s=10, poll_s=0.01)
        there.set()
        assert other.result() is True


def test_one_more_than_may_wait_is_told_so_at_once() -> None:
    reached: list[str] = []
    waiting, there = Waiting(most=1, on_full=lambda: reached.append("full")), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(waiting.until, "key", lambda: there.is_set() or None, within_s=10, poll_s=0.01)
        eventually(lambda: waiting.count == 1, what="the first to wait")
        with pytest.raises(TooManyWait):
            waiting.until("key", lambda: True, within_s=10, poll_s=0.01)
        assert reached == ["full"]
        there.set()
        assert first.result() is True
    assert waiting.until("key", lambda: True, within_s=10, poll_s=0.01) is True


def test_it_is_not_waited_for_a_client_that_has_gone() -> None:
    gone = threading.Event()
    waiting = Waiting(is_gone=gone.is_set)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(waiting.until, "key", lambda: None, within_s=60, poll_s=0.01)
        eventually(lambda: waiting.count == 1)
        gone.set()
        assert waits.result(timeout=10) is None
    assert waiting.count == 0


def test_with_many_things_to_look_at_each_is_looked_at_less_often() -> None:
    waiting, looks = Waiting(polls_per_s=100), []
    with ThreadPoolExecutor(20) as pool:
        for key in range(20):
            pool.submit(waiting.until, key, lambda: looks.append(1), within_s=0.6, poll_s=0.001)
    assert len(looks) <= 100, "20 things every millisecond would be 12,000 looks"


def test_the_thread_that_looks_ends_and_is_there_again() -> None:
    waiting = Waiting()
    for _ in range(2):
        assert waiting.until("key", lambda: True, within_s=5, poll_s=0.01) is True
        eventually(lambda: "waiting" not in {thread.name for thread in threading.enumerate()}, what="the thread to end")
