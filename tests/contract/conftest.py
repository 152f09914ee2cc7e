"""The hook's contract is held against these versions of huggingface_hub, each in an environment of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.environments import environment
from tests.support.hub import FakeHub
from tests.support.workstation import Workstation

HUB_VERSIONS = ("0.23.5", "2.4.0")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture(params=HUB_VERSIONS)
def workstation(request: pytest.FixtureRequest, hub: FakeHub) -> Iterator[Workstation]:
    workstation = Workstation(environment(request.param), hub)
    yield workstation
    workstation.close()
