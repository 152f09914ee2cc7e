"""What an agent costs, where it listens, and what it knows of that."""

from __future__ import annotations

from pathlib import Path

from tests.bench.agent import IdleAgent
from tests.integration.agent.life import fetch
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually


def test_an_idle_agent_with_a_thousand_blobs_is_small(lan: Lan) -> None:
    with lan.machine("idle", LLMPT_INTERFACE="lo") as machine, IdleAgent(machine, blobs=1000) as agent:
        assert len(machine.status()["seeding"]) == 1000
        assert agent.rss_mib() < 120
        eventually(
            lambda: agent.open_files() < 1000 + 64,
            timeout_s=60,
            what="a file for each blob, and few others",
        )


def test_each_machine_knows_whether_others_can_reach_it(ann: Machine) -> None:
    ann.llmpt("agent", "start")
    eventually(lambda: ann.status()["reachable"] is not None, timeout_s=20, what="the tracker's word")
    status = ann.status()
    assert (status["reachable"], status["address"]) == (True, "127.0.0.1")
    assert status["tracker_version"]


def test_the_agent_listens_on_the_chosen_network_only(lan: Lan) -> None:
    with lan.machine("lo", LLMPT_INTERFACE="127.0.0.1") as machine:
        fetch(machine, "0.bin")
        assert machine.status()["listen"] == ["127.0.0.1"]
        table = Path(f"/proc/{machine.status()['pid']}/net/tcp").read_text().splitlines()[1:]
        port = f":{machine.status()['port']:04X}"
        assert {row.split()[1] for row in table if row.split()[1].endswith(port) and row.split()[3] == "0A"} == {
            f"0100007F{port}"
        }


def test_a_network_that_is_not_there_is_said_at_the_start(lan: Lan) -> None:
    with lan.machine("lo", LLMPT_INTERFACE="nowhere0") as machine:
        said = machine.run("-m", "llmpt", "agent", "start", check=False)
        assert said.returncode == 1
        assert "LLMPT_INTERFACE=nowhere0: no interface of that name or address is up" in said.stderr
