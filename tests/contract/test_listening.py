"""A session that listens elsewhere from one moment to the next: a network came, or went."""

from __future__ import annotations

import socket
import sys

import pytest

from llmpt.core.networks import CidrSet
from llmpt.swarm import Engine, EngineSettings
from tests.support.waiting import eventually


def listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere 127.0.0.2 is nobody's address")
def test_an_engine_can_be_told_to_listen_elsewhere() -> None:
    settings = EngineSettings(listen=("127.0.0.1",), port=0, peer_cidrs=CidrSet.parse("127.0.0.0/8"))
    with Engine(settings) as engine:
        port = engine.port
        assert listens("127.0.0.1", port)
        engine.listen_on(("127.0.0.2",), None)
        eventually(lambda: listens("127.0.0.2", port), what="the new address")
        assert not listens("127.0.0.1", port)
        assert engine.port == port
