"""Look-ups that are wanted together are one question, and metainfo comes once."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Mapping

import pytest

from llmpt.core import merkle
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerRefused, TrackerSlow
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import Commit, RepoCommit, RepoRef
from llmpt.tracker.looked_up import Beside, Lookup
from llmpt.tracker.lookups import Lookups
from llmpt.tracker.told_beside import KEPT_S, ToldBeside
from tests.support.waiting import eventually

SIZE = 9 << 20
OF = RepoCommit(RepoRef("model", "org/name"), Commit("c" * 40))


def etag(number: int) -> Etag:
    return Etag(f"{number:064x}")


def blob(number: int, size: int = SIZE) -> Metainfo:
    return Metainfo.from_leaves(etag(number), size, bytes(32) * merkle.leaf_count(size))


class Tracker:
    """Has every blob; answers one question after `go_on` is set, with `error` if there is one. `files` are a commit's."""

    def __init__(self, *files: Etag) -> None:
        self.files = files
        self.asked_beside: list[Beside | None] = []
        self.peers: tuple[tuple[str, int], ...] = (("10.0.0.7", 6881),)
        self.room = 1000
        self.questions: list[tuple[int, int]] = []  # how many etags, and of how many the metainfo is known
        self.single = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.error: TrackerError | None = None

    def lookup(self, wanted: Etag) -> Lookup:
        self.single += 1
        return Lookup(blob(int(wanted.value, 16)), (), "", "b")

    def lookup_all(
        self, etags: tuple[Etag, ...], known: Mapping[Etag, Metainfo], beside: Beside | None = None
    ) -> dict[Etag, Lookup]:
        self.questions.append((len(etags), len(known)))
        self.asked_beside.append(beside)
        assert self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        found = {one: Lookup(known.get(one) or blob(int(one.value, 16)), (), "", "b") for one in etags}
        if beside is not None:
            others = [one for one in self.files if one not in {*etags, *beside.but}]
            found |= {one: Lookup(blob(int(one.value, 16)), self.peers, "", "b") for one in others[: self.room]}
        return found


def ask_together(tracker: Tracker, lookups: Lookups, count: int, of: RepoCommit | None = None) -> list[object]:
    """Ask for so many blobs, the first of them before all others; return what each was told."""
    told: list[object] = []
    tracker.go_on.clear()

    def ask(number: int) -> None:
        try:
            found = lookups.ask(etag(number), of)
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


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def snapshot(tracker: Tracker, lookups: Lookups, files: Iterable[Etag]) -> list[int]:
    """Look the files of a commit up as a machine's directory does, one after the other; return which of them took a question."""
    asked = []
    for number, one in enumerate(files):
        before = len(tracker.questions)
        found = lookups.told(one) or lookups.ask(one, OF)
        assert found.metainfo is not None
        assert found.metainfo.etag == one
        asked += [number] * (len(tracker.questions) - before)
    return asked


def test_thirty_files_of_a_commit_are_one_question_whenever_they_are_wanted() -> None:
    files = tuple(map(etag, range(30)))
    tracker = Tracker(*files)
    assert snapshot(tracker, Lookups(tracker), files) == [0]
    assert tracker.asked_beside == [Beside(OF)]


def test_thirty_files_of_a_commit_that_are_wanted_together_are_one_question_too() -> None:
    tracker = Tracker(*map(etag, range(30)))
    assert ask_together(tracker, Lookups(tracker), 30, OF) == [True] * 30
    assert tracker.questions == [(1, 0)]


def test_what_has_no_room_in_one_answer_comes_with_the_next_question() -> None:
    files = tuple(map(etag, range(30)))
    tracker = Tracker(*files)
    tracker.room = 12
    assert snapshot(tracker, Lookups(tracker), files) == [0, 13, 26]
    assert tracker.asked_beside[1] == Beside(OF, files[:13])


def test_what_was_told_beside_serves_once_and_for_a_moment() -> None:
    files = tuple(map(etag, range(4)))
    tracker, clock = Tracker(*files), Clock()
    lookups = Lookups(tracker, beside=ToldBeside(clock=clock))
    assert snapshot(tracker, lookups, [*files[:2], files[1]]) == [0, 2], "who asks again wants to know what has changed"
    clock.now += KEPT_S
    assert snapshot(tracker, lookups, files[2:]) == [0], "and the rest is told anew"
    assert tracker.asked_beside[-1] == Beside(OF, files[:2])


def test_a_question_without_a_commit_is_asked_whatever_was_told() -> None:
    tracker = Tracker(etag(0), etag(1))
    lookups = Lookups(tracker)
    snapshot(tracker, lookups, [etag(0)])
    lookups.ask(etag(1))
    assert tracker.questions == [(1, 0)] * 2


def test_what_nobody_has_is_asked_for_when_it_is_wanted() -> None:
    files = tuple(map(etag, range(3)))
    tracker = Tracker(*files)
    tracker.peers = ()
    assert snapshot(tracker, Lookups(tracker), files) == [0, 1, 2], "it may be here by then"
    assert tracker.asked_beside == [Beside(OF), Beside(OF, files), None], "which is told once"


def test_an_older_tracker_is_not_asked_for_what_is_beside_until_it_has_another_life() -> None:
    files = tuple(map(etag, range(3)))
    tracker = OlderTracker(*files)
    lookups = Lookups(tracker)
    assert snapshot(tracker, lookups, files[:2]) == [0, 0, 1], "it refuses the first question, and that is remembered"
    tracker.knows_better, tracker.boot_id = True, "c"
    lookups.ask(files[1])
    assert snapshot(tracker, lookups, files) == [0]


class OlderTracker(Tracker):
    """Knows no `beside`, unless it knows better."""

    knows_better, boot_id = False, "b"

    def lookup_all(
        self, etags: tuple[Etag, ...], known: Mapping[Etag, Metainfo], beside: Beside | None = None
    ) -> dict[Etag, Lookup]:
        self.error = None if beside is None or self.knows_better else TrackerRefused("extra", status=400, code="bad_request")
        found = super().lookup_all(etags, known, beside)
        return {one: dataclasses.replace(lookup, boot_id=self.boot_id) for one, lookup in found.items()}


def test_what_is_told_beside_takes_no_more_memory_than_it_may() -> None:
    files = tuple(map(etag, range(20)))
    tracker, told = Tracker(*files), ToldBeside(kept_bytes=3 * len(blob(0).layer))
    snapshot(tracker, Lookups(tracker, beside=told), files[:1])
    assert [told.take(one) is not None for one in files] == [False] * 17 + [True] * 3
    for number in range(40):
        of = RepoCommit(OF.repo, Commit(f"{number:040x}"))
        asked = told.question(of)
        assert asked is not None
        told.keep(asked, {etag(number): Lookup(blob(number), tracker.peers, "", "b")}, ())
    assert len(told._commits) <= 16
    assert told._bytes <= 3 * len(blob(0).layer)
