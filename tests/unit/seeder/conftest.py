"""What the seeder's tests share: a Hub cache, the seeder's memory, and a bench with fakes around the real service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt_seeder.state import SeederState
from tests.support.cache_builder import CacheBuilder
from tests.unit.seeder.fakes import Bench


@pytest.fixture
def cache(tmp_path: Path) -> CacheBuilder:
    return CacheBuilder(tmp_path / "hub")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SeederState]:
    with SeederState(tmp_path / "data" / "seeder.db") as state:
        yield state


@pytest.fixture
def bench(tmp_path: Path, cache: CacheBuilder) -> Iterator[Bench]:
    with Bench(tmp_path / "data" / "seeder.db", cache.root) as bench:
        yield bench
