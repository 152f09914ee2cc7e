"""For how long the agent of a job stays."""

from __future__ import annotations

import subprocess
import sys

from tests.integration.agent.life import SLOW_REPO, downloading, ended, fetch, get
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually


def rank(machine: Machine, number: int) -> subprocess.Popen[str]:
    """A program that has downloaded a file, and goes on until it is sent a line."""
    program = get(f"{number}.bin", folder=f"rank{number}") + "; import sys; sys.stdin.readline()"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=machine.environ,
        cwd=machine.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def test_an_agent_of_a_job_ends_with_the_processes_it_was_started_for(lan: Lan) -> None:
    with lan.machine("job", LLMPT_AGENT="job") as machine:
        starter, other = rank(machine, 0), rank(machine, 1)
        pid = machine.status()["pid"]
        assert machine.status()["mode"] == "job"
        starter.communicate("\n", timeout=20)
        fetch(machine, "2.bin", LLMPT_AGENT="stay")  # the other one is still there, and so is its agent
        assert machine.status()["pid"] == pid
        other.communicate("\n", timeout=20)
        eventually(lambda: ended(machine, pid), timeout_s=20, what="the agent's end")
        assert "the job is over" in machine.agent_log()


def test_a_job_whose_starter_was_killed_is_over_when_its_downloads_are(lan: Lan) -> None:
    with lan.machine("job", LLMPT_AGENT="job", LLMPT_DOWNLOAD_LIMIT="2M") as machine:
        process = machine.start("-c", get("slow.bin", repo=SLOW_REPO))
        eventually(lambda: downloading(machine), timeout_s=30, what="bytes to flow")
        pid = machine.status()["pid"]
        process.kill()
        process.communicate(timeout=20)
        eventually(lambda: ended(machine, pid), timeout_s=20, what="the agent's end")
