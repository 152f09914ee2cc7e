"""The LAN that the tests of a module share, put in order again after each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.hub import Mode
from tests.support.lan import Lan
from tests.support.machine import Machine


@pytest.fixture(scope="module")
def shared_lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan") / "lan") as running:
        yield running


@pytest.fixture
def lan(shared_lan: Lan) -> Iterator[Lan]:
    """The LAN of this module: whatever a test does to its Hub and its seeder is undone."""
    yield shared_lan
    shared_lan.hub.mode = Mode()
    shared_lan.hub.forget()
    if not shared_lan.seeder.running:
        shared_lan.seeder.start()


@pytest.fixture
def repo(request: pytest.FixtureRequest) -> str:
    """A repo of this test's own."""
    return f"org/{re.sub(r'[^a-z0-9]+', '-', request.node.name).strip('-')[:80]}"


@pytest.fixture
def ann(lan: Lan) -> Iterator[Machine]:
    """A workstation of that LAN."""
    with lan.machine("ann") as machine:
        yield machine
