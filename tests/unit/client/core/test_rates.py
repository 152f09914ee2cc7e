"""Limits of rates, and their hours."""

from __future__ import annotations

from datetime import time

import pytest

from llmpt.core.errors import InvalidInput
from llmpt.core.rates import NO_LIMIT, RateLimit

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "at", "bytes_s"),
    [
        ("0", time(12), 0),
        ("50M", time(12), 50 * MIB),
        ("1.5M", time(12), 3 * MIB // 2),
        ("10M@08:00-18:00,0", time(7, 59, 59), 0),
        ("10M@08:00-18:00,0", time(8), 10 * MIB),
        ("10M@08:00-18:00,0", time(17, 59, 59), 10 * MIB),
        ("10M@08:00-18:00,0", time(18), 0),
        ("10M@8:00-18:00, 100M", time(20), 100 * MIB),
        ("5M@22:00-06:00,1M", time(23), 5 * MIB),
        ("5M@22:00-06:00,1M", time(5), 5 * MIB),
        ("5M@22:00-06:00,1M", time(6), MIB),
        ("5M@12:00-24:00,1M", time(23, 59, 59), 5 * MIB),
        ("1M@08:00-18:00,2M@17:00-20:00", time(17, 30), MIB),
        ("1M@08:00-18:00,2M@17:00-20:00", time(19), 2 * MIB),
        ("1M@08:00-18:00", time(19), 0),
    ],
)
def test_the_first_entry_that_holds_counts(text: str, at: time, bytes_s: int) -> None:
    assert RateLimit.parse(text).at(at) == bytes_s


def test_no_limit_is_none_at_any_hour() -> None:
    assert NO_LIMIT.at(time(3)) == 0


@pytest.mark.parametrize(
    "text", ["", "fast", "10M@", "10M@8-18", "10M@08:00", "10M@25:00-26:00", "10M@08:60-09:00", "1M,,2M", "-1"]
)
def test_what_is_no_limit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="10M@08:00-18:00,0"):
        RateLimit.parse(text)
