"""The figures of leases, as docs/protocols/leases.md and the agents go by them."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from llmpt.core.leases import Poll
from llmpt_tracker.announcer.leases.terms import LeaseTerms
from tests.unit.tracker.announcer.lan_of_agents import files


def test_these_figures_change_only_with_intent() -> None:
    assert asdict(LeaseTerms()) == {
        "leases_per_repo": 8, "settling_s": 1.5, "starting_s": 30.0, "returning_s": 6.0,
        "rush_s": 0.5, "turn_s": 0.5, "asking_s": 10.0, "present_s": 3.0,
        "let_go_s": 10.0, "in_vain": 0.6, "published_s": 5.0, "finishing_bytes_s": 52_428_800, "judged_s": 5.0,
        "fetched_bytes_s": 1_250_000_000,
        "times_faster": 8.0, "worth_moving_s": 60.0, "max_moves": 2, "forgotten_s": 60.0, "min_patience_s": 1.0,
        "max_patience_s": 60.0, "min_pause_s": 0.5, "max_pause_s": 2.0, "soonest_s": 0.05, "polls_per_second": 100,
        "max_machines": 2048, "max_lives": 16, "max_wants": 256, "max_held": 64, "max_unlimited": 2000,
        "max_leases": 50_000, "max_remembered": 10_000,
    }  # fmt: skip


@pytest.mark.parametrize(("unlimited", "count"), [(False, 2), (True, 3)])
def test_only_so_many_wants_of_a_poll_can_get_a_lease(unlimited: bool, count: int) -> None:
    terms = replace(LeaseTerms(), max_wants=2, max_unlimited=3)
    wants = tuple(files(4, 5))
    assert terms.considered(Poll("m", wants=wants, unlimited=unlimited)) == wants[:count]


@pytest.mark.parametrize(("stall_timeout_s", "patience_s"), [(0.1, 1.0), (1.0, 1.0), (5.0, 5.0), (60.0, 60.0), (99.0, 60.0)])
def test_a_machines_own_stall_time_out_counts_within_bounds(stall_timeout_s: float, patience_s: float) -> None:
    assert LeaseTerms().patience_s(stall_timeout_s) == patience_s


@pytest.mark.parametrize(("machines", "share"), [(0, 8), (1, 8), (2, 4), (3, 2), (4, 2), (5, 1), (8, 1), (100, 1)])
def test_the_share_of_a_machine(machines: int, share: int) -> None:
    assert LeaseTerms().share(machines) == share


@pytest.mark.parametrize(("machines", "pause_s"), [(1, 0.5), (50, 0.5), (100, 1.0), (1000, 2.0)])
def test_many_machines_ask_less_often(machines: int, pause_s: float) -> None:
    assert LeaseTerms().pause_s(machines) == pause_s
