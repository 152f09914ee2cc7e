"""Look-ups that are wanted together are one question, and metainfo comes once."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from llmpt.core import merkle
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerRefused, TrackerSlow
from llmpt.core.metainfo import Metainfo
from llmpt.tracker.looked_up import Lookup
from llmpt.tracker.lookups import Lookups
from tests.support.waiting import eventually

SIZE = 9 << 20


def etag(number: int) -> Etag:
    return Etag(f"{number:064x}")


def blob(number: int, size: int = SIZE) -> Metainfo:
    return Metainfo.from_leaves(etag(number), size, bytes(32) * merkle.leaf_count(size))


class Tracker:
    """Has every blob; answers one question after `go_on` is set, with `error` if there is one."""

    def __init__(self) -> None:
        self.questions: list[tuple[int, int]] = []  # how many etags, and of how many the metainfo is known
        self.single = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.error: TrackerError | None = None

    def lookup(self, wanted: Etag) -> Lookup:
        self.single += 1
        return Lookup(blob(int(wanted.value, 16)), (), "", "b")

    def lookup_all(self, etags: tuple[Etag, ...], known: Mapping[Etag, Metainfo]) -> dict[Etag, Lookup]:
        self.questions.append((len(etags), len(known)))
        assert self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        return {one: Lookup(known.get(one) or blob(int(one.value, 16)), (), "", "b") for one in etags}


def ask_together(tracker: Tracker, lookups: Lookups, count: int) -> list[object]:
    """Ask for so many blobs, the first of them before all others; return what each was told."""
    told: list[object] = []
    tracker.go_on.clear()

    def ask(number: int) -> None:
        try:
            found = lookups.ask(etag(number))
            assert found.metainfo is not None
            told.append(found.metainfo.etag == etag(number))
        except TrackerError as error:
            told.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    threads[0].start()
    eventually(lambda: tracker.questions, what="the first question")
    for thread in threads[1:]:
        thread.start()
    eventually(lambda: len(lookups._waiting) == count - 1, what="the others to wait")
    tracker.go_on.set()
    for thread in threads:
        thread.join(10)
    return told


def test_thirty_files_that_are_wanted_together_are_two_questions_and_each_gets_its_own_answer() -> None:
    tracker = Tracker()
    assert ask_together(tracker, Lookups(tracker), 30) == [True] * 30
    assert tracker.questions == [(1, 0), (29, 0)]


def test_metainfo_comes_once() -> None:
    tracker = Tracker()
    lookups = Lookups(tracker)
    assert lookups.ask(etag(1)).metainfo == lookups.ask(etag(1)).metainfo == blob(1)
    assert tracker.questions == [(1, 0), (1, 1)]


def test_no_more_metainfo_is_kept_than_has_room() -> None:
    each, tracker = len(blob(0).layer), Tracker()
    lookups = Lookups(tracker, kept_bytes=3 * each)
    for number in range(10):
        lookups.ask(etag(number))
    assert sum(len(one.layer) for one in lookups._kept.values()) == lookups._kept_bytes == 3 * each
    lookups.ask(etag(9))
    lookups.ask(etag(0))
    assert tracker.questions[-2:] == [(1, 1), (1, 0)], "the last ones are kept"


def test_what_waits_while_a_question_fails_fails_with_it() -> None:
    tracker = Tracker()
    tracker.error = TrackerSlow("the answer took too long")
    assert ask_together(tracker, Lookups(tracker), 9) == [tracker.error] * 9
    assert len(tracker.questions) == 1, "eight more time-outs"


def test_an_older_tracker_is_asked_one_by_one() -> None:
    tracker = Tracker()
    tracker.error = TrackerRefused("no such route", status=404, code="not_found")
    lookups = Lookups(tracker)
    for number in range(3):
        assert lookups.ask(etag(number)).metainfo == blob(number)
    assert (len(tracker.questions), tracker.single) == (1, 3)


def test_what_a_tracker_refuses_otherwise_is_refused() -> None:
    tracker = Tracker()
    tracker.error = TrackerRefused("too often", status=429, code="slow_down")
    with pytest.raises(TrackerRefused):
        Lookups(tracker).ask(etag(1))
