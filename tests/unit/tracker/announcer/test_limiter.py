"""Buckets that fill at a steady rate."""

from __future__ import annotations

import pytest

from llmpt_tracker.announcer.limiter import Limiter


def test_a_burst_and_then_a_steady_pace() -> None:
    one = Limiter()
    taken = [now / 100 for now in range(1000) if one.take("x", per_s=5, burst=10, now=now / 100) == 0]
    assert len([moment for moment in taken if moment < 0.1]) == 10
    assert len(taken) == pytest.approx(10 + 5 * 10, abs=1)


def test_a_pause_fills_the_bucket_and_no_more() -> None:
    one = Limiter()
    for now in (0.0, 1000.0):
        assert [one.take("x", per_s=1, burst=2, now=now) for _ in range(3)] == [0, 0, 1]


def test_there_are_only_so_many_buckets() -> None:
    one = Limiter(max_buckets=3)
    for name in "abcd":
        one.take(name, per_s=1, burst=1, now=0)
    assert one.take("d", per_s=1, burst=1, now=0) > 0
    assert one.take("a", per_s=1, burst=1, now=0) == 0  # forgotten
