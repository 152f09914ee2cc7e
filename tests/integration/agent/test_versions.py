"""Two versions of llmpt on one machine."""

from __future__ import annotations

from pathlib import Path

from llmpt.link.versions import own_version
from tests.integration.agent.life import SLOW, SLOW_REPO, agents, downloading, fetch, get
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually


def test_a_newer_program_has_an_older_agent_make_room(ann: Machine, newer: str) -> None:
    fetch(ann, "0.bin")
    old = ann.status()
    fetch(ann, "1.bin", PYTHONPATH=newer)
    now = ann.status()
    assert (old["version"], now["version"]) == (own_version(), "99.1.0")
    eventually(lambda: not Path(f"/proc/{old['pid']}").exists(), what="the older one's end")
    assert len(now["seeding"]) == 2  # what the older one had is seeded on
    assert [row["outcome"] for row in now["downloads"]] == ["done"]


def test_an_older_program_works_with_a_newer_agent(ann: Machine, newer: str) -> None:
    fetch(ann, "0.bin", PYTHONPATH=newer)
    fetch(ann, "1.bin")
    assert agents(ann) == 1
    assert [row["outcome"] for row in ann.status()["downloads"]] == ["done", "done"]


def test_an_older_agent_is_left_alone_while_it_downloads(lan: Lan, newer: str, ann: Machine) -> None:
    ann.environ |= SLOW
    with ann.start("-c", get("slow.bin", repo=SLOW_REPO)) as process:
        eventually(lambda: downloading(ann), timeout_s=30, what="bytes to flow")
        old = ann.status()["pid"]
        fetch(ann, "0.bin", PYTHONPATH=newer)
        assert ann.status()["pid"] == old
        assert downloading(ann)
        process.kill()
    eventually(lambda: not downloading(ann), what="the agent to notice")
    fetch(ann, "1.bin", PYTHONPATH=newer)
    assert ann.status()["version"] == "99.1.0"
    assert agents(ann) == 2


def test_an_agent_of_another_protocol_is_replaced_or_refuses_saying_what_to_update(ann: Machine, newer: str) -> None:
    protocol = Path(newer) / "llmpt" / "link" / "protocol.py"
    protocol.write_text(protocol.read_text().replace("PROTOCOL_VERSION = 1", "PROTOCOL_VERSION = 2"))
    fetch(ann, "0.bin")
    fetch(ann, "1.bin", PYTHONPATH=newer)  # the newer one has replaced it
    assert agents(ann) == 2
    program = "import logging; logging.basicConfig(); logging.getLogger('llmpt').setLevel('DEBUG'); " + get("2.bin")
    refused = ann.run("-c", program, check=False)
    old = own_version()
    assert f"llmpt {old} is too old for llmpt 99.1.0 on this machine" in refused.stderr
    assert f"update llmpt {old}" in refused.stderr
    assert agents(ann) == 2
