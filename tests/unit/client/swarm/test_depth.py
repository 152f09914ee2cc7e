"""How many requests a peer may make: fewer where a torrent has many peers, and all of them again when those have gone."""

from __future__ import annotations

import pytest

from llmpt.swarm.depth import EXPECTED_S, IN_FLIGHT, LEAST, MOST, Depth

ONE, OTHER = b"1" * 32, b"2" * 32


class Crowd:
    """What was applied, and a clock."""

    def __init__(self) -> None:
        self.applied: list[int] = []
        self.now = 0.0
        self.depth = Depth(self.applied.append, clock=lambda: self.now)

    def comes(self, key: bytes, count: int) -> None:
        for port in range(count):
            self.depth.came(key, ("10.0.0.1", port))
        self.depth.judge()

    def goes(self, key: bytes, count: int) -> None:
        for port in range(count):
            self.depth.went(key, ("10.0.0.1", port))
        self.depth.judge()


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


def test_the_busiest_torrent_says_how_many(crowd: Crowd) -> None:
    crowd.comes(ONE, 1)
    assert crowd.applied == []
    crowd.comes(OTHER, 4)
    assert crowd.applied == [IN_FLIGHT // 4]
    crowd.comes(OTHER, 40)
    assert crowd.applied[-1] == LEAST
    crowd.goes(OTHER, 40)
    assert crowd.applied[-1] == MOST


def test_a_torrent_that_is_gone_counts_no_more_and_its_late_alerts_count_nothing(crowd: Crowd) -> None:
    crowd.comes(ONE, 8)
    crowd.depth.forget(ONE)
    crowd.depth.judge()
    crowd.goes(ONE, 8)
    crowd.comes(b"", 8)
    assert crowd.applied == [LEAST, MOST]


def test_who_was_told_is_expected_for_a_while(crowd: Crowd) -> None:
    crowd.depth.expect(ONE, 20)
    assert crowd.applied == [LEAST]
    crowd.now = EXPECTED_S
    crowd.depth.judge()
    assert crowd.applied == [LEAST, MOST]


def test_going_without_having_come_is_nothing(crowd: Crowd) -> None:
    crowd.goes(ONE, 3)
    assert crowd.applied == []
