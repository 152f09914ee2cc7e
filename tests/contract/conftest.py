"""The hook's contract is held against these versions of huggingface_hub, each in an environment of its own.

LLMPT_TEST_HUB_VERSIONS names others, e.g. `LLMPT_TEST_HUB_VERSIONS="0.36.2 1.33.0" pytest tests/contract -k hook`, or
`all`, which `make matrix` does, or `others`: all but those that `make test` tries.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.environments import environment
from tests.support.hub import FakeHub
from tests.support.workstation import Workstation

# The ends of what is supported, and both sides of what changed in between: Xet (0.30), httpx (1.0), temporary files that are
# not found again (1.18), the shared store (1.32), httpx2 (2.0).
ALL_HUB_VERSIONS = ("0.23.5", "0.30.2", "0.36.2", "1.0.1", "1.18.0", "1.33.0", "2.0.0", "2.4.0")
NEWEST_HUB_VERSION = ALL_HUB_VERSIONS[-1]

_ENDS = (ALL_HUB_VERSIONS[0], NEWEST_HUB_VERSION)
_NAMED = {"": _ENDS, "all": ALL_HUB_VERSIONS, "others": tuple(one for one in ALL_HUB_VERSIONS if one not in _ENDS)}
_asked = os.environ.get("LLMPT_TEST_HUB_VERSIONS", "")
HUB_VERSIONS = _NAMED.get(_asked) or tuple(_asked.split())
IS_MATRIX = _asked in ("all", "others")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture(params=HUB_VERSIONS)
def workstation(request: pytest.FixtureRequest, hub: FakeHub) -> Iterator[Workstation]:
    workstation = Workstation(environment(request.param), hub)
    yield workstation
    workstation.close()
