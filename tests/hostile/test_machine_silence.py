"""A machine fills every port with connections on which nothing is said, while a seeder is silent: it goes on being handed out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from llmpt.host.listening import raise_descriptor_limit
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.torrents import Torrent
from tests.bench._attacker import Attack, attacking
from tests.support.cache_builder import CacheBuilder
from tests.support.hostile import ATTACKER
from tests.support.hub import FakeHub
from tests.support.machine import Machine
from tests.support.ports import free_ports
from tests.support.relay import Relay
from tests.support.seeder import SeederProcess
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
ON_EACH = 8000
GONE_S = 30.0  # without a sign of life a seeder counts as gone after so long


@pytest.mark.slow
@pytest.mark.alone
def test_a_seeder_whose_heartbeats_do_not_arrive_is_handed_out_while_every_port_is_full(tmp_path: Path) -> None:
    raise_descriptor_limit()
    repo = CacheBuilder(tmp_path / "cache").repo("org/name")
    repo.commit({"model.bin": os.urandom(3 << 20)}, lfs=["model.bin"])
    peers, blobs = free_ports(2)
    with ExitStack() as stack:
        hub = stack.enter_context(FakeHub(cache=tmp_path / "cache"))
        tracker = stack.enter_context(TrackerProcess(tmp_path / "data"))
        relay = stack.enter_context(Relay((tracker.host, tracker.http_port)))
        way, ports = f"http://127.0.0.1:{relay.port}", {"LLMPT_PEER_PORT": str(peers), "LLMPT_BLOB_PORT": str(blobs)}
        seeder = SeederProcess(tmp_path / "data", tmp_path / "cache", tracker=way, hub=hub.url, **ports)
        stack.enter_context(seeder)
        client = TrackerClient(tracker.url, timeout_s=30)

        def seeded() -> list[Torrent]:
            return [one for one in client.get_torrents(repo_id="org/name") or [] if one.seeders]

        eventually(seeded, timeout_s=30, what="the file to be seeded")
        relay.breaks("503")
        for port in (tracker.http_port, tracker.announce_port, peers, blobs):
            stack.enter_context(_filled(port))
        until = time.monotonic() + GONE_S + 15
        while time.monotonic() < until:
            assert seeded(), "it counts as gone"
            time.sleep(1)
        with Machine("ann", tracker=tracker.url, hub=hub.url) as ann:
            ann.download("org/name")
        assert hub.gets("model.bin") == 0


@contextmanager
def _filled(port: int) -> Iterator[None]:
    """Have another machine hold so many connections, and make another one for each that is ended."""
    attack = Attack([("127.0.0.1", port)], ON_EACH, source=ATTACKER)
    with attacking(attack) as did:
        yield
    assert did["connections"] >= ON_EACH
