"""A LAN that has what these tests download, one for each module, and a machine on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.agent.life import FILES, REPO, SLOW_FILE, SLOW_REPO
from tests.support.hub import Mode
from tests.support.installation import install_as
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan") / "lan") as lan:
        for repo, files in ((REPO, FILES), (SLOW_REPO, {"slow.bin": SLOW_FILE})):
            lan.hub.add(repo, files)
            lan.mirror(repo)
            lan.seeded(repo)
        lan.hub.mode = Mode(refuse_bytes_over=BIG)  # what arrives here came from the LAN
        yield lan


@pytest.fixture
def ann(lan: Lan) -> Iterator[Machine]:
    with lan.machine("ann") as machine:
        yield machine


@pytest.fixture
def newer(ann: Machine) -> str:
    return install_as("99.1.0", ann.root / "newer")
