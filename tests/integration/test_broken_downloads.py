"""Plugs pulled in the middle of a file, and how many bytes that costs: the LAN's and the Hub's are counted."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.errors import AgentUnavailable
from llmpt.core.metainfo import piece_length_for
from llmpt.link.client import AgentClient
from llmpt.settings import ClientSettings
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually

SIZE = 64 << 20
OPEN_PIECES = 64 * piece_length_for(SIZE)


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """A LAN whose seeder gives 16 MiB/s: time enough to pull plugs."""
    with Lan(tmp_path_factory.mktemp("lan") / "lan", LLMPT_UPLOAD_LIMIT="16M") as running:
        yield running


@pytest.fixture(scope="module")
def content(lan: Lan) -> bytes:
    content = os.urandom(SIZE)
    lan.hub.add("org/big", {"big.bin": content})
    lan.mirror("org/big")
    lan.seeded("org/big")
    return content


@pytest.fixture(autouse=True)
def in_order(lan: Lan) -> Iterator[None]:
    lan.hub.forget()
    yield
    lan.hub.mode.refuse_bytes_over = None
    if not lan.seeder.running:
        lan.seeder.start()


@pytest.fixture
def ann(lan: Lan) -> Iterator[Machine]:
    with lan.machine("ann", LLMPT_STALL_TIMEOUT="3") as machine:
        yield machine


def last_row(machine: Machine) -> dict[str, Any]:
    """The agent's record of the last request; nothing while there is no agent."""
    link = AgentClient(ClientSettings.read(machine.environ), environ=machine.environ)
    try:
        rows = link.status()["downloads"]
    except AgentUnavailable:
        return {}
    return dict(rows[-1]) if rows else {}


def await_bytes(machine: Machine, count: int) -> None:
    def enough() -> bool:
        row = last_row(machine)
        assert row.get("outcome", "running") == "running", f"{row}\n{machine.agent_log()}"
        return bool(row.get("bytes_from_lan", 0) >= count)

    eventually(enough, timeout_s=40, what=f"{count} bytes from the LAN")


def result_of(process: subprocess.Popen[str]) -> bytes:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    return (Path(out.strip().splitlines()[-1]) / "big.bin").read_bytes()


def kill_agent(machine: Machine) -> None:
    link = AgentClient(ClientSettings.read(machine.environ), environ=machine.environ)
    pid = link.status()["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), what="the agent's end")


def test_a_file_whose_only_peer_dies_at_60_percent_costs_the_hub_the_rest(lan: Lan, ann: Machine, content: bytes) -> None:
    lan.seeded("org/big")
    process = ann.start_download("org/big")
    await_bytes(ann, SIZE * 60 // 100)
    lan.seeder.kill()
    assert result_of(process) == content
    assert 0 < lan.hub.bytes_sent <= SIZE // 2  # the rest, and islands that would be a 33rd request
    assert not list(ann.cache.rglob("*.incomplete"))
    lan.hub.mode.refuse_bytes_over = 1 << 20
    eventually(lambda: ann.status()["seeding"], timeout_s=20, what="the agent to seed what it has now")
    with lan.machine("bob") as bob:
        assert result_of(bob.start_download("org/big")) == content


@pytest.mark.parametrize("victim", ["process", "agent", "both"])
def test_after_kill_9_only_the_open_pieces_are_fetched_again(lan: Lan, ann: Machine, content: bytes, victim: str) -> None:
    lan.seeded("org/big")
    lan.hub.mode.refuse_bytes_over = 1 << 20
    process = ann.start_download("org/big")
    await_bytes(ann, SIZE * 40 // 100)
    if victim != "agent":
        process.kill()
        process.communicate(timeout=20)
    had = last_row(ann)["bytes_from_lan"]
    if victim != "process":
        kill_agent(ann)
    if victim == "agent":  # the same call goes on with another agent
        assert result_of(process) == content
    else:
        assert result_of(ann.start_download("org/big")) == content
    row = last_row(ann)
    assert row["outcome"] == "done"
    assert row["bytes_from_lan"] <= SIZE - had + OPEN_PIECES
    assert row["resumed_bytes"] >= had - OPEN_PIECES
    assert lan.hub.gets("big.bin") == 0


def test_a_killed_download_goes_on_in_another_lan(lan: Lan, content: bytes, tmp_path: Path) -> None:
    lan.seeded("org/big")
    lan.hub.mode.refuse_bytes_over = 1 << 20
    with Lan(tmp_path / "other") as other, lan.machine("ann") as ann:
        other.hub.add("org/big", {"big.bin": content})
        other.mirror("org/big")
        process = ann.start_download("org/big")
        await_bytes(ann, SIZE * 40 // 100)
        process.kill()
        process.communicate(timeout=20)
        had = last_row(ann)["bytes_from_lan"]
        kill_agent(ann)
        ann.environ["LLMPT_TRACKER"] = other.tracker.url
        other.seeded("org/big")
        assert result_of(ann.start_download("org/big")) == content
        row = last_row(ann)
        assert row["bytes_from_lan"] <= SIZE - had + OPEN_PIECES
        assert lan.hub.gets("big.bin") == 0


def test_ctrl_c_in_one_program_leaves_the_other_its_download(lan: Lan, content: bytes) -> None:
    with lan.machine("ann", LLMPT_STALL_TIMEOUT="3", LLMPT_DOWNLOAD_LIMIT="4M") as ann:  # time for two programs to start
        lan.seeded("org/big")
        lan.hub.mode.refuse_bytes_over = 1 << 20
        first = ann.start_download("org/big")
        await_bytes(ann, SIZE * 10 // 100)
        code = "from huggingface_hub import snapshot_download; print(snapshot_download('org/big', cache_dir='other'))"
        second = ann.start("-c", code)
        eventually(lambda: len(ann.status()["downloads"]) == 2, what="the second to follow")
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=20)
        assert "KeyboardInterrupt" in err
        out, err = second.communicate(timeout=60)
        assert second.returncode == 0, err
        assert (ann.root / out.strip().splitlines()[-1] / "big.bin").read_bytes() == content
        assert lan.hub.gets("big.bin") == 0
        rows = ann.status()["downloads"]
        assert sum(row["bytes_from_lan"] for row in rows) <= SIZE + OPEN_PIECES


def test_what_nobody_asked_for_in_a_week_goes_and_the_rest_stays(lan: Lan, ann: Machine, content: bytes) -> None:
    lan.seeded("org/big")
    process = ann.start_download("org/big")
    await_bytes(ann, SIZE * 5 // 100)
    process.kill()
    process.communicate(timeout=20)
    (partial,) = ann.cache.rglob("*.incomplete")
    for days, there in ((6, True), (8, False)):
        ann.stop_agent()
        (database,) = ann.root.rglob("agent.db")
        with closing(sqlite3.connect(database)) as sql, sql:
            sql.execute("UPDATE partials SET asked_at = ?", (time.time() - days * 86400,))
        ann.llmpt("agent", "start")
        if there:
            assert partial.exists()
        else:
            eventually(lambda: not partial.exists(), what="the removal")
