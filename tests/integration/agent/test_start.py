"""Who may start an agent: ranks whose launcher has gone, a shell over SSH, a container."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.agent.life import FILES, agents, fetch, get
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.namespaces import python_with
from tests.support.waiting import eventually

FAN_OUT = """
import os, sys
code = sys.argv[1]
for rank in range(8):
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", code.replace("RANK", str(rank))])
"""


def test_ranks_whose_launcher_has_gone_share_one_agent(ann: Machine) -> None:
    code = get("0.bin", folder="rankRANK") + "; open('doneRANK', 'w').close()"
    ann.run("-c", FAN_OUT, code)
    eventually(lambda: len(list(ann.root.glob("done*"))) == 8, timeout_s=60, what="eight ranks to finish")
    assert all((ann.root / f"rank{rank}" / "0.bin").read_bytes() == FILES["0.bin"] for rank in range(8))
    assert agents(ann) == 1
    assert ann.status()["mode"] == "stay"


def test_an_agent_started_over_ssh_outlives_the_terminal(lan: Lan, ann: Machine) -> None:
    """No XDG_RUNTIME_DIR, a terminal that goes away, and SIGHUP for all that belong to it."""
    runtime = ann.root / "run" / "llmpt"
    runtime.mkdir(mode=0o700)
    ann.python = python_with(f"mkdir -p -m 700 /tmp/llmpt-0\nmount --bind {runtime} /tmp/llmpt-$(id -u)", ann.root / "python")
    del ann.environ["XDG_RUNTIME_DIR"]
    master, slave = os.openpty()
    program = get("0.bin") + "; import time; time.sleep(60)"
    process = subprocess.Popen(
        ["setsid", "--ctty", str(ann.python), "-c", program],
        env=ann.environ, cwd=ann.root, stdin=slave, stdout=subprocess.PIPE, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    assert process.stdout is not None
    assert process.stdout.readline().strip().endswith(b"0.bin")
    os.close(master)
    assert process.wait(timeout=30) == -signal.SIGHUP
    process.stdout.close()
    os.kill(ann.status()["pid"], signal.SIGHUP)
    fetch(ann, "1.bin")
    assert agents(ann) == 1
    assert len(ann.status()["seeding"]) == 2


def test_a_container_without_home_and_runtime_dir_has_an_agent_that_ends_with_it(lan: Lan, ann: Machine) -> None:
    runtime = ann.root / "run" / "llmpt"
    runtime.mkdir(mode=0o700)
    setup = f"mkdir -p -m 700 /tmp/llmpt-0\nmount --bind {runtime} /tmp/llmpt-$(id -u)\nmount -t tmpfs none /var/tmp"
    outside = ann.python
    ann.python = python_with(setup, ann.root / "python", processes=True)
    runtime_dir = ann.environ.pop("XDG_RUNTIME_DIR")
    program = f"{get('0.bin')}; import os; print(os.listdir('/var/tmp/llmpt-' + str(os.getuid())))"
    assert "agent.db" in ann.script(program, HOME="/proc/nowhere", XDG_CONFIG_HOME=str(ann.root)).splitlines()[-1]
    assert agents(ann) == 1
    ann.python, ann.environ["XDG_RUNTIME_DIR"] = outside, runtime_dir
    assert ann.status() == {}
    fetch(ann, "0.bin")  # and what it left behind is in nobody's way
    assert agents(ann) == 2


@pytest.fixture
def sessions(ann: Machine) -> Iterator[dict[str, dict[str, str]]]:
    """Sessions of one user: two have a runtime folder each; one has none, as cron's."""
    shared = ann.root / "shared"
    shared.mkdir(mode=0o700)
    ann.python = python_with(f"mkdir -p -m 700 /tmp/llmpt-0\nmount --bind {shared} /tmp/llmpt-$(id -u)", ann.root / "python")
    ann.environ.pop("XDG_RUNTIME_DIR")
    found = {
        "login": {"XDG_RUNTIME_DIR": str(ann.root / "run")},
        "other": {"XDG_RUNTIME_DIR": str(ann.root / "other")},
        "none": {},
    }
    yield found
    for pid in pids(ann):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        await_end(pid)
    ann.environ |= found["login"]


def pids(ann: Machine) -> list[int]:
    """The agents that have ever run in any session."""
    logs = [*ann.root.glob("*/llmpt/agent.log"), *ann.root.glob("shared/agent.log")]
    return [int(pid) for log in logs for pid in re.findall(r"agent (\d+) ready at", log.read_text())]


def await_end(pid: int) -> None:
    eventually(lambda: not Path(f"/proc/{pid}").exists(), what="the agent's end")


@pytest.mark.parametrize(("first", "second"), [("none", "login"), ("login", "none"), ("login", "other")])
def test_a_session_uses_and_ends_the_agent_of_another(
    ann: Machine, sessions: dict[str, dict[str, str]], first: str, second: str
) -> None:
    ann.script(get("0.bin"), **sessions[first])
    ann.script(get("1.bin"), **sessions[second])
    (pid,) = pids(ann)
    assert "stopped" in ann.run("-m", "llmpt", "agent", "stop", check=True, **sessions[second]).stdout
    await_end(pid)


def test_sessions_that_begin_at_the_same_moment_have_one_agent(ann: Machine, sessions: dict[str, dict[str, str]]) -> None:
    running = [ann.start("-c", get("0.bin", folder=name), **sessions[name]) for name in ("login", "other")]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
    assert len(pids(ann)) == 1
