"""An agent starts clean, whatever state its starter is in, and goes on when it has no descriptor left."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.agent.life import FILES, agents, ended, fetch, get
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually

MESSY = """
import os, resource, signal, sys
os.umask(0o777)
os.nice(7)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD})
resource.setrlimit(resource.RLIMIT_NOFILE, (96, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
resource.setrlimit(resource.RLIMIT_CPU, (900, resource.getrlimit(resource.RLIMIT_CPU)[1]))
os.dup2(os.open("/dev/zero", os.O_RDONLY), 42)  # inheritable, as a shell's
for stream in range(3):
    os.close(stream)
os.execve(sys.executable, [sys.executable, "-c", sys.argv[1]], os.environ)
"""
SECRETS = {"HF_TOKEN": "hf_secret", "AWS_SECRET_ACCESS_KEY": "secret", "LLMPT_TOKEN": "secret", "WANDB_API_KEY": "secret"}
ACCIDENTS = {
    "LD_PRELOAD": "/nonexistent/preloaded.so",
    "LC_ALL": "de_DE.ISO-8859-1",
    "TMPDIR": "/nonexistent",
    "PYTHONINSPECT": "1",
}


def program() -> str:
    """Downloads, in a Python whose first file has the number of stderr; it must not go into the agent's log."""
    return f"import os; os.umask(0o22); {get('0.bin').replace('print(', 'str(').replace(', flush=True', '')}"


def open_files(proc: Path) -> set[str]:
    """What a running process has open at this moment; it opens and closes files meanwhile."""
    found = set()
    for link in (proc / "fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


@pytest.mark.parametrize("starter", ["the hook", "llmpt agent start", "llmpt agent run"])
def test_an_agent_starts_clean_whatever_state_its_starter_is_in(ann: Machine, starter: str) -> None:
    run = "import runpy; sys.argv = ['llmpt', 'agent', %r]; runpy.run_module('llmpt', run_name='__main__')"
    code = program() if starter == "the hook" else "import sys; " + run % starter.split()[-1]
    with ann.start("-c", MESSY, code, **SECRETS, **ACCIDENTS) as process:
        eventually(lambda: ann.status(), what="the agent")
        pid = ann.status()["pid"]
        proc = Path(f"/proc/{pid}")
        environ = dict(pair.split(b"=", 1) for pair in (proc / "environ").read_bytes().split(b"\0") if pair)
        assert {name.decode() for name in environ} & (SECRETS.keys() | ACCIDENTS.keys() - {"LC_ALL"}) == set()
        assert environ[b"LC_ALL"] == b"C.UTF-8"
        assert environ[b"LLMPT_TRACKER"].decode() == ann.environ["LLMPT_TRACKER"]
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
        ignored = {number for number in signal.valid_signals() if int(status["SigIgn"], 16) >> (number - 1) & 1}
        assert ignored <= {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP}
        assert int(status["SigBlk"], 16) == 0
        assert status["Umask"].strip() == "0077"
        assert os.getpriority(os.PRIO_PROCESS, pid) == 0
        assert os.sched_getaffinity(pid) == os.sched_getaffinity(0)
        for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU):
            soft, hard = resource.prlimit(pid, limit)
            assert soft == hard
        assert (proc / "cwd").readlink() == Path("/")
        assert {(proc / "fd" / str(stream)).exists() for stream in range(3)} == {True}
        assert "/dev/zero" not in open_files(proc)
        ann.stop_agent()
        process.wait(timeout=20)
    eventually(lambda: ended(ann, pid), what="its end")


def test_an_agent_without_descriptors_takes_questions_again_when_it_has_some(ann: Machine) -> None:
    fetch(ann, "0.bin")
    pid = ann.status()["pid"]
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))  # every number below is in use
    eventually(lambda: ann.status() == {}, what="the agent to have none left")
    eventually(lambda: "takes nothing for a moment" in ann.agent_log(), what="a word about it")
    assert ann.llmpt("ls").strip() != ""  # and what needs no agent goes on
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    eventually(lambda: ann.status().get("pid") == pid, what="its answer")
    assert agents(ann) == 1


@pytest.mark.parametrize("trouble", ["suspended", "without descriptors"])
def test_an_agent_that_gives_no_answer_can_be_stopped(ann: Machine, trouble: str) -> None:
    fetch(ann, "0.bin")
    pid = ann.status()["pid"]
    if trouble == "suspended":
        os.kill(pid, signal.SIGSTOP)
    else:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3))
    assert ann.llmpt("agent", "stop").strip() == "stopped"
    eventually(lambda: ended(ann, pid), what="its end")


def test_the_interpreter_of_these_tests_is_one_that_can_run_an_agent(ann: Machine) -> None:
    assert ann.script("from llmpt.link import interpreter; print(interpreter.own())") == sys.executable


SILENT = """
import json, time
from huggingface_hub import hf_hub_download as get
took = []
for name in ("1.bin", "2.bin"):
    started = time.monotonic()
    get("org/files", name, local_dir="silent")
    took.append(time.monotonic() - started)
print(json.dumps(took))
"""


def test_a_silent_agent_costs_one_wait_and_the_lan_gives_over_http_meanwhile(lan: Lan, ann: Machine) -> None:
    fetch(ann, "0.bin")
    pid = ann.status()["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        first, second = json.loads(ann.script(SILENT).splitlines()[-1])
    finally:
        os.kill(pid, signal.SIGCONT)
    assert first < 8
    assert second < first
    assert [(ann.root / "silent" / name).read_bytes() == FILES[name] for name in ("1.bin", "2.bin")] == [True, True]
    assert list(ann.root.rglob("*.incomplete")) == []
    eventually(lambda: ann.status().get("pid") == pid, what="its answer")
    fetch(ann, "1.bin")
    assert agents(ann) == 1
    assert list(ann.root.rglob("*.incomplete")) == []
