"""What a machine says to the tracker about what it wants and fetches, against a tracker that answers as told."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from llmpt.agent.sharing.leases import Leases, PollTimings
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerRefused, TrackerSlow, TrackerUnavailable
from llmpt.core.leases import Grant, LeaseAnswer, LeaseOutcome, LeaseRole, Poll
from llmpt.core.repo import RepoRef
from tests.support.waiting import eventually

FETCH, HERE, WAIT = LeaseRole.FETCH, LeaseRole.HERE, LeaseRole.WAIT
A, B = Etag("a" * 64), Etag("b" * 64)
REPO = RepoRef("model", "org/name")


class Tracker:
    """Answers `roles` by etag; `asked` are the bodies."""

    def __init__(self) -> None:
        self.roles: dict[Etag, LeaseRole] = {}
        self.asked: list[Mapping[str, Any]] = []
        self.error: Exception | None = None
        self.now = 100.0
        self.go_on = threading.Event()
        self.go_on.set()

    def ask(self, poll: Poll) -> LeaseAnswer:
        self.asked.append(poll.as_json())
        self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        grants = tuple(Grant(want.etag, self.roles.get(want.etag, WAIT), "bob", 5, 3) for want in poll.wants)
        return LeaseAnswer(grants, 0.25, "b")

    def leases(self) -> Leases:
        return Leases(self.ask, stall_timeout_s=5.0, clock=lambda: self.now)


@pytest.fixture
def tracker() -> Tracker:
    return Tracker()


def test_everything_that_is_wanted_is_asked_in_one_question_and_answered_each_its_own(tracker: Tracker) -> None:
    leases, tracker.roles = tracker.leases(), {A: FETCH, B: HERE}
    with leases.want(A, 7, REPO) as one, leases.want(B, 8, REPO) as other:
        leases.poll()
        assert (one.lease and one.lease.role, other.lease and other.lease.role) == (FETCH, HERE)
        assert one.lease is not None
        assert (one.lease.fetcher, one.lease.bytes, one.lease.rate_bytes_s) == ("bob", 5, 3)
    (body,) = tracker.asked
    wants = [{"etag": A.value, "size": 7, "repo_type": "model", "repo_id": "org/name"}]
    wants.append({"etag": B.value, "size": 8, "repo_type": "model", "repo_id": "org/name"})
    assert (body["wants"], body["fetching"], body["ended"], body["stall_timeout_s"]) == (wants, [], [], 5.0)


def test_what_is_fetched_is_told_with_its_progress_and_its_end_once(tracker: Tracker) -> None:
    leases, tracker.roles = tracker.leases(), {A: FETCH}
    with leases.want(A, 7, REPO):
        leases.poll()
        leases.hold(A)
    leases.report(A, 3, 2)
    leases.poll()
    leases.end(A, LeaseOutcome.PUBLISHED)
    for _ in range(2):
        leases.poll()
    said = [(body["fetching"], body["ended"]) for body in tracker.asked[1:]]
    assert said == [
        ([{"etag": A.value, "bytes": 3, "rate_bytes_s": 2}], []),
        ([], [{"etag": A.value, "outcome": "published"}]),
        ([], []),
    ]


def test_a_lease_that_is_not_taken_up_goes_back(tracker: Tracker) -> None:
    leases, tracker.roles = tracker.leases(), {A: FETCH}
    with leases.want(A, 7, REPO):
        leases.poll()
    leases.poll()
    assert tracker.asked[-1]["ended"] == [{"etag": A.value, "outcome": "failed"}]


def test_a_lease_for_somebody_who_has_gone_meanwhile_goes_back(tracker: Tracker) -> None:
    leases, tracker.roles = tracker.leases(), {A: FETCH}
    tracker.go_on.clear()
    with ExitStack() as stack:
        stack.enter_context(leases.want(A, 7, REPO))
        polling = threading.Thread(target=leases.poll)
        polling.start()
        eventually(lambda: tracker.asked, what="the question")
    tracker.go_on.set()
    polling.join(10)
    leases.poll()
    assert tracker.asked[-1]["ended"] == [{"etag": A.value, "outcome": "failed"}]


@pytest.mark.parametrize("error", [TrackerUnavailable("connection refused"), TrackerUnavailable("status 500")])
def test_one_question_without_an_answer_does_not_send_a_machine_past_the_lease(tracker: Tracker, error: Exception) -> None:
    leases, tracker.error = tracker.leases(), error
    with leases.want(A, 7, REPO) as want:
        leases.poll()
        assert want.error is None
        with leases.want(B, 7, REPO) as other:
            tracker.error, tracker.roles = None, {A: FETCH}
            tracker.now += 1
            leases.poll()
            assert want.lease is not None
            assert want.lease.role is FETCH
            assert (other.error, other.answers) == (None, 1)


def test_a_tracker_that_does_not_answer_for_the_stall_time_out_is_not_waited_for_and_left_alone(tracker: Tracker) -> None:
    leases, tracker.error = tracker.leases(), TrackerUnavailable("gone")
    with leases.want(A, 7, REPO) as want:
        leases.poll()
        tracker.now += 5.1
        leases.poll()
        assert want.error is tracker.error
    with pytest.raises(TrackerUnavailable), leases.want(B, 7, REPO):
        raise AssertionError
    tracker.now += 60
    with leases.want(B, 7, REPO) as want:
        assert want.error is None
        leases.poll()
        assert want.error is tracker.error, "it has been gone for longer than the stall time-out"


def test_a_tracker_that_has_too_much_to_do_for_a_moment_is_waited_for(tracker: Tracker) -> None:
    leases, tracker.error = tracker.leases(), TrackerRefused("too often", status=429, code="slow_down", retry_after_s=2)
    with leases.want(A, 7, REPO) as want:
        leases.poll()
        assert want.error is None
    tracker.error = TrackerRefused("too often", status=429, code="slow_down", retry_after_s=60)
    with leases.want(A, 7, REPO) as want:
        leases.poll()
        assert want.error is tracker.error


def test_machines_do_not_come_back_in_step_after_a_failure(tracker: Tracker) -> None:
    due = []
    for chance in (0.0, 0.5, 0.9):
        leases = Leases(tracker.ask, stall_timeout_s=5.0, clock=lambda: tracker.now, chance=lambda chance=chance: chance)  # type: ignore[misc]
        tracker.error = TrackerUnavailable("restarting")
        with leases.want(A, 7, REPO):
            leases.poll()
            due.append(leases._due_in_s())
    assert due == sorted(set(due), reverse=True)
    assert max(due) <= 0.5


@pytest.mark.parametrize(("role", "patience_s"), [(HERE, 5.0), (WAIT, PollTimings().told_s)])
def test_in_the_middle_of_waiting_questions_may_stay_without_an_answer_and_longer_while_another_one_fetches(
    tracker: Tracker, role: LeaseRole, patience_s: float
) -> None:
    leases, tracker.roles = tracker.leases(), {A: role}
    with leases.want(A, 7, REPO) as want:
        leases.poll()
        tracker.error = TrackerUnavailable("restarting")
        leases.poll()
        assert want.error is None
        tracker.error = None
        leases.poll()
        tracker.error = TrackerUnavailable("gone")
        leases.poll()
        tracker.now += patience_s - 0.1
        leases.poll()
        assert want.error is None
        tracker.now += 0.2
        leases.poll()
        assert want.error is tracker.error


def test_a_tracker_that_has_too_much_to_do_is_waited_for_as_long_and_others_may_ask_it(tracker: Tracker) -> None:
    leases, tracker.error = tracker.leases(), TrackerSlow("busy")
    with leases.want(A, 7, REPO) as want:
        leases.poll()
        assert want.error is None
        with leases.want(B, 7, REPO) as other:
            assert other.error is None
        tracker.now += 5
        leases.poll()
        assert want.error is tracker.error
    with pytest.raises(TrackerUnavailable), leases.want(B, 7, REPO):
        raise AssertionError


def test_a_tracker_that_refuses_is_believed_at_once_for_as_long_as_it_says(tracker: Tracker) -> None:
    leases = tracker.leases()
    with leases.want(A, 7, REPO) as want:
        leases.poll()
        tracker.error = TrackerRefused("too often", status=429, code="slow_down", retry_after_s=20)
        leases.poll()
        assert want.error is tracker.error
    tracker.now += 19
    with pytest.raises(TrackerRefused), leases.want(A, 7, REPO):
        raise AssertionError


def test_a_bug_in_a_question_does_not_end_the_asking(tracker: Tracker) -> None:
    tracker.error = ZeroDivisionError("a bug")
    leases = Leases(tracker.ask, stall_timeout_s=5.0, timings=PollTimings(poll_s=0.01))
    leases.start()
    with leases.want(A, 7, REPO) as want:
        eventually(lambda: tracker.asked, what="the first question")
        tracker.error = None
        eventually(lambda: want.answers, what="an answer after the bug")


def test_the_thread_asks_at_once_and_again_as_long_as_there_is_something_to_say(tracker: Tracker) -> None:
    leases = Leases(tracker.ask, stall_timeout_s=5.0)
    leases.start()
    with leases.want(A, 7, REPO) as want:
        leases.await_answer(want, 0, 5.0)
        assert want.answers >= 1
        leases.await_answer(want, want.answers, 5.0)
        assert want.answers >= 2
    asked = len(tracker.asked)
    threading.Event().wait(0.6)  # two of the tracker's intervals: that nothing is asked has no event
    assert len(tracker.asked) <= asked + 1


def test_the_hubs_rate_is_told_to_a_tracker_that_asks_for_it_and_to_no_other(tracker: Tracker) -> None:
    asks = [False, True, True]

    def ask(poll: Poll) -> LeaseAnswer:
        tracker.ask(poll)
        return LeaseAnswer((), 0.25, "b", asks_hub_rate=asks.pop(0))

    leases = Leases(ask, stall_timeout_s=5.0, clock=lambda: tracker.now, hub_rate_bytes_s=lambda: 7)
    with leases.want(A, 7, REPO):
        for _ in range(3):
            leases.poll()
        tracker.error = TrackerRefused("hub_rate_bytes_s: not a field of it", status=400, code="bad_request")
        for _ in range(2):
            leases.poll()
    assert [body.get("hub_rate_bytes_s") for body in tracker.asked] == [None, None, 7, 7, None]
