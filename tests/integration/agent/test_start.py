"""Who may start an agent: ranks whose launcher has gone, a shell over SSH, a container."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.integration.agent.life import FILES, agents, ask, fetch, get
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
    assert ask(ann)["mode"] == "stay"


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
    os.kill(ask(ann)["pid"], signal.SIGHUP)
    fetch(ann, "1.bin")
    assert agents(ann) == 1
    assert len(ask(ann)["seeding"]) == 2


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
    assert ask(ann) == {}
    fetch(ann, "0.bin")  # and what it left behind is in nobody's way
    assert agents(ann) == 2


def test_a_session_with_a_runtime_dir_uses_the_agent_of_one_that_had_none(ann: Machine) -> None:
    """As cron, or a service, starts one, and then its user logs in."""
    shared = ann.root / "shared"
    shared.mkdir(mode=0o700)
    ann.python = python_with(f"mkdir -p -m 700 /tmp/llmpt-0\nmount --bind {shared} /tmp/llmpt-$(id -u)", ann.root / "python")
    runtime_dir = ann.environ.pop("XDG_RUNTIME_DIR")
    try:
        ann.script(get("0.bin"))
        ann.script(get("1.bin"), XDG_RUNTIME_DIR=runtime_dir)
        assert (shared / "agent.log").read_text().count("ready at") == 1
        assert agents(ann) == 0
        stop = ("-m", "llmpt", "agent", "stop")
        said = ann.run(*stop, XDG_RUNTIME_DIR=runtime_dir, LLMPT_TRACKER="http://another.invalid:8000").stdout
        assert "no agent is running" in said
    finally:
        ann.llmpt("agent", "stop")
        ann.environ["XDG_RUNTIME_DIR"] = runtime_dir
