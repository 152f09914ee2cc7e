"""How fast the clients of the blob server are sent to."""

from __future__ import annotations

from datetime import time

import pytest

from llmpt.core.rates import RateLimit
from llmpt_seeder.blobs.pace import FREE_BYTES, Pace


class Hours:
    """A clock that only moves when somebody sleeps."""

    def __init__(self, limit: str) -> None:
        self.now, self.hour = 100.0, time(9)
        self.pace = Pace(RateLimit.parse(limit), clock=lambda: self.now, hour=lambda: self.hour, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def send(self, count: int) -> float:
        """Send `count` bytes; return the seconds that took."""
        began = self.now
        while count:
            count -= self.pace.take(count)
        return self.now - began


def test_without_a_limit_nobody_waits() -> None:
    hours = Hours("0")
    assert hours.pace.take(1 << 40) == FREE_BYTES
    assert hours.send(10 * FREE_BYTES) == 0


@pytest.mark.parametrize("limit", ["1M", "10M", "1000M", "20K"])
def test_a_limit_holds(limit: str) -> None:
    rate = RateLimit.parse(limit).at(time(9))
    assert Hours(limit).send(10 * rate) == pytest.approx(10, rel=0.05)


def test_a_pause_saves_up_next_to_nothing() -> None:
    hours = Hours("1M")
    hours.send(1 << 20)
    hours.now += 3600
    assert hours.send(1 << 20) == pytest.approx(1, rel=0.15)


def test_the_limit_follows_the_hours_of_the_day() -> None:
    hours = Hours("1M@08:00-18:00,0")
    assert hours.send(5 << 20) > 4
    hours.hour = time(19)
    assert hours.send(5 << 20) == 0
