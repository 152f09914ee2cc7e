"""The hook's contract is held against these versions of huggingface_hub, each in an environment of its own.

LLMPT_TEST_HUB_VERSIONS names others, e.g. `LLMPT_TEST_HUB_VERSIONS="0.36.2 1.33.0" pytest tests/contract -k hook`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.environments import environment
from tests.support.hub import FakeHub
from tests.support.workstation import Workstation

HUB_VERSIONS = tuple(os.environ.get("LLMPT_TEST_HUB_VERSIONS", "0.23.5 2.4.0").split())


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture(params=HUB_VERSIONS)
def workstation(request: pytest.FixtureRequest, hub: FakeHub) -> Iterator[Workstation]:
    workstation = Workstation(environment(request.param), hub)
    yield workstation
    workstation.close()
