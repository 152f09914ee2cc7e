"""The model of many machines, and the bounds that the bench of filling a LAN holds its figures against."""

from __future__ import annotations

import pytest

from tests.bench.filling.model import Lan, fill
from tests.bench.filling.scenarios import Scenario


@pytest.mark.parametrize("lan", [Lan(1), Lan(9), Lan(20, named=5), Lan(12, seeders=2), Lan(12, subnet=4, near=1.0)])
def test_each_machine_of_the_model_gets_all_and_none_sooner_than_its_cable_allows(lan: Lan) -> None:
    found = fill(lan)

    assert len(found.times) == lan.machines
    assert all(1 - lan.jitter / 2 <= time < lan.machines + 1 for time in found.times)
    assert found.sent >= 1


def test_the_same_seed_gives_the_same_swarm() -> None:
    assert fill(Lan(8), seed=3) == fill(Lan(8), seed=3) != fill(Lan(8), seed=4)


def test_a_slow_uplink_holds_the_models_subnets_behind_it() -> None:
    wide, narrow = fill(Lan(12, subnet=4, uplink=8)), fill(Lan(12, subnet=4, uplink=1))

    assert narrow.last > wide.last
    assert narrow.crossed >= 1


@pytest.mark.parametrize(
    ("scenario", "bounds"),
    [
        (Scenario("", "", 4, 100, 100), [1.0] * 4),
        (Scenario("", "", 4, 50, 500), [2.0] * 4),
        (Scenario("", "", 4, 100, 100, slow_mbit=25), [4.0, 400 / 425, 400 / 425, 400 / 425]),
        (Scenario("", "", 3, 100, 100, apart=0.5), [1.0] * 3),
    ],
)
def test_the_bound_is_the_fluid_one(scenario: Scenario, bounds: list[float]) -> None:
    one_s = scenario.total_bytes * 8 / 1e6 / 100  # F over 100 Mbit/s

    assert scenario.bounds_s(1.0) == pytest.approx([max(bound, 1.0) * one_s for bound in bounds], rel=1e-6)
