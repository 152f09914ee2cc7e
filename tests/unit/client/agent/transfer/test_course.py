"""How long a silent download is borne with, and what comes in a window of time."""

from __future__ import annotations

from llmpt.agent.transfer.course import Silence, Windows
from llmpt.agent.transfer.sight import Window


def test_the_time_in_which_the_session_did_not_run_does_not_count() -> None:
    silence = Silence(100.0, longest_step_s=1.0)
    silence.look(now=101.0, seen_at=101.0, has_come=True)
    silence.look(now=109.0, seen_at=101.1, has_come=False)
    assert round(silence.silent_s, 3) == 0.1, "what came in the other 7.9 s is not known"
    assert silence.still_s == 8.0
    silence.look(now=110.0, seen_at=110.0, has_come=False)
    assert round(silence.silent_s, 3) == 1.1, "what has come meanwhile is looked at now"
    for moment in range(111, 116):
        silence.look(now=float(moment), seen_at=float(moment), has_come=False)
    assert silence.silent_s > 5.0


def test_a_byte_ends_the_silence() -> None:
    silence = Silence(100.0, longest_step_s=1.0)
    for moment in range(101, 104):
        silence.look(now=float(moment), seen_at=float(moment), has_come=False)
    assert (silence.silent_s, silence.still_s, silence.ran_s) == (3.0, 3.0, 3.0)
    silence.look(now=104.0, seen_at=104.0, has_come=True)
    assert (silence.silent_s, silence.still_s, silence.ran_s) == (0.0, 0.0, 4.0)


def test_a_session_that_is_looked_at_twice_without_having_run_is_counted_once() -> None:
    silence = Silence(100.0, longest_step_s=1.0)
    for now in (100.5, 100.6, 100.7):
        silence.look(now=now, seen_at=100.5, has_come=False)
    assert silence.ran_s == 0.5


def test_a_window_is_shown_whole_once_and_the_next_begins_where_it_ended() -> None:
    windows = Windows(50, 0.0, window_s=10.0)
    assert windows.look(150, 9.0) == Window(9.0, 100)
    assert windows.look(160, 11.0) == Window(11.0, 110)
    assert windows.look(170, 12.0) == Window(1.0, 10)


def test_what_was_before_a_restart_does_not_count() -> None:
    windows = Windows(0, 0.0, window_s=10.0)
    windows.look(100, 9.0)
    windows.restart(500, 9.5)
    assert windows.look(510, 10.5) == Window(1.0, 10)
