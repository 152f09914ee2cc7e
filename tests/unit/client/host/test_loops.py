"""What is done again and again goes on whatever a step raises, and says so when it does not work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from llmpt.core.breaker import Pauses
from llmpt.core.errors import StateUnavailable, TrackerUnavailable
from llmpt.host.loops import Boundary, Health, Rhythm, Trouble, loop, start
from tests.support.waiting import eventually

AT_ONCE = Rhythm(interval_s=0, pauses=Pauses(first_s=0))
GONE = TrackerUnavailable("no answer")


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


class Steps:
    """Does one after the other of `outcomes` (an exception is raised), then says stop."""

    def __init__(self, stop: threading.Event, *outcomes: Exception | float | None) -> None:
        self.stop, self.outcomes, self.done = stop, list(outcomes), 0

    def __call__(self) -> float | None:
        outcome = self.outcomes[self.done]
        self.done += 1
        if self.done == len(self.outcomes):
            self.stop.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Waits:
    """Waits for nothing, and notes for how long it should have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def test_a_step_is_done_at_once_and_again_after_each_interval_until_the_stop(stop: threading.Event) -> None:
    steps, waits = Steps(stop, None, None, None), Waits()
    loop("watch", steps, Rhythm(interval_s=15), stop=stop, health=Health(), wait=waits)
    assert (steps.done, waits.seconds) == (3, [15, 15, 15])


def test_a_step_may_say_when_it_is_to_be_done_again(stop: threading.Event) -> None:
    waits = Waits()
    loop("watch", Steps(stop, 0.0, 7, None), Rhythm(interval_s=15), stop=stop, health=Health(), wait=waits)
    assert waits.seconds == [0, 7, 15]


def test_nothing_is_done_after_the_stop(stop: threading.Event) -> None:
    stop.set()
    steps = Steps(stop, None)
    loop("watch", steps, stop=stop, health=Health())
    assert steps.done == 0


@pytest.mark.parametrize(
    "error", [GONE, OSError("disk"), StateUnavailable("full"), KeyError("bug"), RecursionError(), MemoryError()]
)
def test_whatever_a_step_raises_the_loop_goes_on(stop: threading.Event, error: Exception) -> None:
    steps = Steps(stop, error, None, error, None)
    loop("watch", steps, AT_ONCE, stop=stop, health=Health())
    assert steps.done == 4


def test_a_loop_of_a_thread_ends_with_the_stop_also_while_it_pauses(stop: threading.Event) -> None:
    begun = threading.Event()

    def step() -> None:
        begun.set()
        raise GONE

    thread = start("watch", step, Rhythm(pauses=Pauses(first_s=3600, longest_s=3600)), stop=stop, health=Health())
    assert (thread.name, thread.daemon) == ("watch", True)
    assert begun.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_loop_that_goes_on_failing_is_a_trouble_until_it_works_again(stop: threading.Event) -> None:
    health, outcome = Health(), [GONE]

    def step() -> None:
        if outcome:
            raise outcome[0]

    start("watch", step, AT_ONCE, stop=stop, health=health)
    eventually(lambda: [(trouble.name, trouble.error) for trouble in health.troubles()] == [("watch", "no answer")], timeout_s=10)
    outcome.clear()
    eventually(lambda: health.troubles() == [], timeout_s=10)


class Failing:
    """A boundary with its own time, and chance that takes nothing away."""

    def __init__(self, rhythm: Rhythm) -> None:
        self.now, self.health = 1000.0, Health()
        self.boundary = Boundary("watch", rhythm, self.health, clock=lambda: self.now, chance=lambda: 0.0)

    def fails(self, error: Exception = GONE) -> float:
        return self.boundary.failed(error)


def test_the_pauses_grow_with_the_failures_in_a_row() -> None:
    watch = Failing(Rhythm(pauses=Pauses(first_s=1, longest_s=5)))
    assert [watch.fails() for _ in range(4)] == [1, 2, 4, 5]
    watch.boundary.succeeded()
    assert watch.fails() == 1


def test_so_many_failures_in_a_row_are_a_trouble_and_fewer_are_not() -> None:
    watch = Failing(Rhythm(bad_failures=3, bad_s=1e9))
    watch.fails()
    watch.now = 1001.0
    watch.fails()
    assert watch.health.troubles() == []
    watch.fails(OSError("the disk is full"))
    assert watch.health.troubles() == [Trouble("watch", "the disk is full", since=1000.0)]
    assert watch.health.troubles()[0].as_json() == {"name": "watch", "error": "the disk is full", "since": 1000.0}
    watch.boundary.succeeded()
    assert watch.health.troubles() == []
    watch.fails()
    assert watch.health.troubles() == []


def test_failures_for_so_long_are_a_trouble_however_few() -> None:
    watch = Failing(Rhythm(bad_failures=100, bad_s=30))
    watch.fails()
    watch.now += 29
    watch.fails()
    assert watch.health.troubles() == []
    watch.now += 1
    watch.fails()
    assert [trouble.since for trouble in watch.health.troubles()] == [1000.0]


def test_an_error_without_words_has_the_name_of_its_kind() -> None:
    watch = Failing(Rhythm(bad_failures=1))
    watch.fails(RecursionError())
    assert watch.health.troubles()[0].error == "RecursionError"


def test_the_troubles_of_several_loops_stand_side_by_side() -> None:
    health = Health()
    for name in ("b", "a"):
        health.is_bad(Trouble(name, "broken", since=1.0))
    health.is_good("nothing")
    assert [trouble.name for trouble in health.troubles()] == ["a", "b"]


@pytest.mark.parametrize("error", [GONE, OSError("no answer"), StateUnavailable("no answer")])
def test_what_networks_and_disks_do_is_one_line(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    Failing(Rhythm()).fails(error)
    (said,) = caplog.records
    assert (said.levelno, said.getMessage(), said.exc_info) == (logging.WARNING, "watch: no answer; it is tried again", None)


def test_our_bug_comes_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    Failing(Rhythm()).fails(KeyError("etag"))
    (said,) = caplog.records
    assert (said.levelno, said.getMessage()) == (logging.ERROR, "a bug of llmpt in watch")
    assert said.exc_info is not None
    assert said.exc_info[0] is KeyError


def test_the_same_failure_is_said_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    watch = Failing(Rhythm())
    caplog.set_level(logging.INFO)
    said: Callable[[], list[str]] = lambda: [record.getMessage() for record in caplog.records]  # noqa: E731
    for error in (GONE, GONE, KeyError("etag"), KeyError("etag"), GONE):
        watch.fails(error)
    assert said() == ["watch: no answer; it is tried again", "a bug of llmpt in watch", "watch: no answer; it is tried again"]
    watch.boundary.succeeded()
    watch.boundary.succeeded()
    assert said()[3:] == ["watch works again"]
    watch.fails()
    assert said()[4:] == ["watch: no answer; it is tried again"]
