"""How long a silent download is borne."""

from __future__ import annotations

from llmpt.agent.transfer.patience import Patience


class Clock:
    came_at = 0.0


def test_the_time_in_which_the_session_did_not_run_does_not_count() -> None:
    patience = Patience(5.0, lambda: Clock.came_at, now=100.0)
    patience.look(now=101.0, seen_at=101.0, came=True)
    patience.look(now=109.0, seen_at=101.1, came=False)
    assert not patience.is_over(connected=False), "nobody knows what has come"
    patience.look(now=110.0, seen_at=110.0, came=False)
    assert not patience.is_over(connected=False), "what has come meanwhile is looked at now"
    for moment in range(111, 116):
        patience.look(now=float(moment), seen_at=float(moment), came=False)
    assert patience.is_over(connected=False)


def test_one_whose_peers_are_there_waits_while_others_get_on_but_not_for_ever() -> None:
    came_at = 100.0
    patience = Patience(5.0, lambda: came_at, now=100.0)
    for moment in range(100, 130):
        came_at = float(moment)
        patience.look(now=float(moment), seen_at=float(moment), came=False)
        assert not patience.is_over(connected=True)
    assert patience.is_over(connected=False)
    patience.look(now=130.5, seen_at=130.5, came=False)
    assert patience.is_over(connected=True)


def test_alone_it_is_over_after_the_time_out() -> None:
    patience = Patience(5.0, lambda: 100.0, now=100.0)
    for tenth in range(51):
        assert not patience.is_over(connected=True)
        patience.look(now=100 + tenth / 10, seen_at=100 + tenth / 10, came=False)
    patience.look(now=105.2, seen_at=105.2, came=False)
    assert patience.is_over(connected=True)
