"""What each target has: its share of rubbish, and a bound for the memory that it takes."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from tests.fuzz.mutation import GROWTH_BYTES, SECONDS, Fuzz, memory_of


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> Iterator[Fuzz]:
    made = Fuzz(request.node.name)
    gc.collect()
    before = memory_of(os.getpid())
    yield made
    gc.collect()
    grown = memory_of(os.getpid()) - before
    assert grown < GROWTH_BYTES, f"{grown >> 20} MiB more after {made.rounds} rounds"
    print(f"{request.node.name}: {made.rounds} rounds, {grown >> 20} MiB")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/fuzz" in str(item.path):
            item.add_marker(pytest.mark.timeout(int(300 + SECONDS)))
