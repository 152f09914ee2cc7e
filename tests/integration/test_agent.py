"""The agent's life, with real agents: one per user and machine, who may start it, what it survives, and when it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.errors import AgentUnavailable
from llmpt.link import lock
from llmpt.link.client import AgentClient
from llmpt.link.versions import own_version
from llmpt.settings import ClientSettings
from tests.bench.agent import IdleAgent
from tests.support.hub import Mode
from tests.support.installation import install_as, uninstall
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine
from tests.support.namespaces import python_with
from tests.support.waiting import eventually

FILES = {f"{number}.bin": os.urandom(2 * BIG) for number in range(3)}
REPO, SLOW_REPO = "org/files", "org/slow"
SLOW = {"LLMPT_DOWNLOAD_LIMIT": "2M"}
SLOW_FILE = os.urandom(12 * BIG)


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


def get(file: str, *, folder: str = "here", repo: str = REPO) -> str:
    """A program that downloads one file and prints its path."""
    return f"from huggingface_hub import hf_hub_download as get; print(get({repo!r}, {file!r}, local_dir={folder!r}), flush=True)"


def fetch(machine: Machine, file: str, **environ: str) -> None:
    """Download one file with a program of its own, and look at it."""
    folder = f"here-{len(list(machine.root.glob('here-*')))}"
    machine.script(get(file, folder=folder), **environ)
    assert (machine.root / folder / file).read_bytes() == FILES[file]


def ask(machine: Machine) -> dict[str, Any]:
    """Ask the machine's agent without a process; an agent that is not there answers nothing."""
    environ = {"XDG_RUNTIME_DIR": str(machine.root / "run"), "XDG_CONFIG_HOME": str(machine.root)}
    try:
        return AgentClient(ClientSettings.read(environ), environ=environ).status()
    except AgentUnavailable:
        return {}


def ended(machine: Machine, pid: int) -> bool:
    """Whether that agent has ended, with all that it held."""
    return not Path(f"/proc/{pid}").exists() and not lock.is_held({"XDG_RUNTIME_DIR": str(machine.root / "run")})


def downloading(machine: Machine) -> bool:
    return any(row["outcome"] == "running" and row["bytes_from_lan"] > 0 for row in ask(machine).get("downloads", []))


def agents(machine: Machine) -> int:
    """How many agents have ever run here."""
    return machine.agent_log().count("ready at")


# Who may start it.

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
    assert process.wait(timeout=10) == -signal.SIGHUP
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


# Two versions of llmpt on one machine.


@pytest.fixture
def newer(ann: Machine) -> str:
    return install_as("99.1.0", ann.root / "newer")


def test_a_newer_program_has_an_older_agent_make_room(ann: Machine, newer: str) -> None:
    fetch(ann, "0.bin")
    old = ask(ann)
    fetch(ann, "1.bin", PYTHONPATH=newer)
    now = ask(ann)
    assert (old["version"], now["version"]) == (own_version(), "99.1.0")
    eventually(lambda: not Path(f"/proc/{old['pid']}").exists(), what="the older one's end")
    assert len(now["seeding"]) == 2  # what the older one had is seeded on
    assert [row["outcome"] for row in now["downloads"]] == ["done"]


def test_an_older_program_works_with_a_newer_agent(ann: Machine, newer: str) -> None:
    fetch(ann, "0.bin", PYTHONPATH=newer)
    fetch(ann, "1.bin")
    assert agents(ann) == 1
    assert [row["outcome"] for row in ask(ann)["downloads"]] == ["done", "done"]


def test_an_older_agent_is_left_alone_while_it_downloads(lan: Lan, newer: str, ann: Machine) -> None:
    ann.environ |= SLOW
    with ann.start("-c", get("slow.bin", repo=SLOW_REPO)) as process:
        eventually(lambda: downloading(ann), timeout_s=30, what="bytes to flow")
        old = ask(ann)["pid"]
        fetch(ann, "0.bin", PYTHONPATH=newer)
        assert ask(ann)["pid"] == old
        assert downloading(ann)
        process.kill()
    eventually(lambda: not downloading(ann), what="the agent to notice")
    fetch(ann, "1.bin", PYTHONPATH=newer)
    assert ask(ann)["version"] == "99.1.0"
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


# What it leaves behind, and what it survives.

DOWNLOAD_KILL_DOWNLOAD = f"""
import json, os, signal, subprocess, sys
from huggingface_hub import hf_hub_download
from llmpt.link.client import AgentClient
from llmpt.link.versions import own_version
from llmpt.settings import ClientSettings
hf_hub_download({REPO!r}, "0.bin", local_dir="one")
link = AgentClient(ClientSettings.read(), environ=os.environ)
pid = link.status()["pid"]
os.kill(pid, signal.SIGKILL)
hf_hub_download({REPO!r}, "1.bin", local_dir="two")
children = open(f"/proc/self/task/{{os.getpid()}}/children").read().split()
print(json.dumps([pid, link.status()["pid"], children]))
"""


def test_after_kill_9_the_next_call_works_at_once_and_no_zombie_is_left(ann: Machine) -> None:
    first, second, children = json.loads(ann.script(DOWNLOAD_KILL_DOWNLOAD).splitlines()[-1])
    assert first != second
    assert children == []
    assert (ann.root / "two" / "1.bin").read_bytes() == FILES["1.bin"]
    assert agents(ann) == 2


def test_an_agent_whose_sockets_folder_goes_ends_and_the_next_is_another(ann: Machine) -> None:
    fetch(ann, "0.bin")
    pid = ask(ann)["pid"]
    shutil.rmtree(ann.root / "run")  # as at logout
    eventually(lambda: not Path(f"/proc/{pid}").exists(), timeout_s=20, what="the agent's end")
    (ann.root / "run").mkdir(mode=0o700)
    fetch(ann, "1.bin")
    assert ask(ann)["pid"] != pid


def test_an_agent_whose_package_has_vanished_ends(ann: Machine, newer: str) -> None:
    fetch(ann, "0.bin", PYTHONPATH=newer)
    pid = ask(ann)["pid"]
    uninstall(Path(newer))
    eventually(lambda: ended(ann, pid), timeout_s=20, what="the agent's end")
    assert "uninstalled" in ann.agent_log()


def test_purge_ends_the_agent_and_leaves_nothing_but_what_was_downloaded(ann: Machine) -> None:
    ann.environ |= SLOW
    with ann.start("-c", get("slow.bin", repo=SLOW_REPO)) as process:
        eventually(lambda: downloading(ann), timeout_s=30, what="bytes to flow")
        process.kill()
    fetch(ann, "0.bin")
    pid = ask(ann)["pid"]
    assert str(ann.root / "run" / "llmpt") in ann.llmpt("agent", "purge")
    eventually(lambda: not Path(f"/proc/{pid}").exists(), what="the agent's end")
    left = {
        path.name
        for path in ann.root.rglob("*")
        if path.is_file() and re.search("llmpt|agent|incomplete", str(path.relative_to(ann.root)))
    }
    assert left == set()
    assert ann.llmpt("agent", "stop").strip() == "no agent is running"
    fetch(ann, "1.bin")


def test_a_cache_on_a_networks_file_system_is_used_and_not_seeded(lan: Lan, ann: Machine) -> None:
    ann.hf_home.mkdir()
    ann.python = python_with(f"mount -t tmpfs fileserver:/export {ann.hf_home}", ann.root / "python")
    program = (
        "import hashlib, pathlib; from huggingface_hub import hf_hub_download as get; "
        f"print(hashlib.sha256(pathlib.Path(get({REPO!r}, '0.bin')).read_bytes()).hexdigest())"
    )
    digest = ann.script(program).splitlines()[-1]
    assert digest == lan.hub.file(REPO, "0.bin").etag
    status = ask(ann)
    assert status["seeding"] == []
    [row] = status["not_seeded"]
    assert row["path"].endswith(digest)
    assert row["reason"] == "it lies on a network's file system (tmpfs)"


# For how long it stays.


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
        pid = ask(machine)["pid"]
        assert ask(machine)["mode"] == "job"
        starter.communicate("\n", timeout=20)
        fetch(machine, "2.bin", LLMPT_AGENT="stay")  # the other one is still there, and so is its agent
        assert ask(machine)["pid"] == pid
        other.communicate("\n", timeout=20)
        eventually(lambda: ended(machine, pid), timeout_s=20, what="the agent's end")
        assert "the job is over" in machine.agent_log()


def test_a_job_whose_starter_was_killed_is_over_when_its_downloads_are(lan: Lan) -> None:
    with lan.machine("job", LLMPT_AGENT="job", LLMPT_DOWNLOAD_LIMIT="2M") as machine:
        process = machine.start("-c", get("slow.bin", repo=SLOW_REPO))
        eventually(lambda: downloading(machine), timeout_s=30, what="bytes to flow")
        pid = ask(machine)["pid"]
        process.kill()
        process.communicate(timeout=20)
        eventually(lambda: ended(machine, pid), timeout_s=20, what="the agent's end")


# Programs that fork.

FORK_MIDWAY = f"""
import json, os, sys, threading, time
from huggingface_hub import hf_hub_download
from llmpt.link.client import AgentClient
from llmpt.link.versions import own_version
from llmpt.settings import ClientSettings
link = AgentClient(ClientSettings.read(), environ=os.environ)

def flowing():
    try:
        rows = link.status()["downloads"]
    except Exception:
        return False
    return any(row["outcome"] == "running" and row["bytes_from_lan"] for row in rows)

thread = threading.Thread(target=hf_hub_download, args=({SLOW_REPO!r}, "slow.bin"), kwargs={{"local_dir": "parent"}})
thread.start()
while thread.is_alive() and not flowing():
    time.sleep(0.02)
child = os.fork()
if child == 0:
    hf_hub_download({REPO!r}, "0.bin", local_dir="child")
    os._exit(0)
_, status = os.waitpid(child, 0)
thread.join()
print(json.dumps(status))
"""


def test_a_fork_in_the_middle_of_a_download_costs_neither_side_anything(lan: Lan) -> None:
    with lan.machine("fork", PYTHONWARNINGS="ignore", LLMPT_DOWNLOAD_LIMIT="6M") as machine:
        assert json.loads(machine.script(FORK_MIDWAY).splitlines()[-1]) == 0
        assert (machine.root / "parent" / "slow.bin").read_bytes() == SLOW_FILE
        assert (machine.root / "child" / "0.bin").read_bytes() == FILES["0.bin"]
        assert [row["outcome"] for row in ask(machine)["downloads"]] == ["done", "done"]
        assert agents(machine) == 1


FORK_AND_CANCEL = f"""
import os, signal, threading
from huggingface_hub import hf_hub_download
def fork():
    if os.fork() == 0:
        signal.pause()
    os.kill(os.getpid(), signal.SIGINT)
from llmpt.link import client as link
original, once = link.Progress, []
def progress(*args):
    if not once:
        once.append(1)
        fork()
    return original(*args)
link.Progress = progress
try:
    hf_hub_download({SLOW_REPO!r}, "slow.bin", local_dir="here")
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_a_forked_child_does_not_keep_a_cancelled_download_going(lan: Lan) -> None:
    with lan.machine("fork", PYTHONWARNINGS="ignore", LLMPT_DOWNLOAD_LIMIT="2M") as machine:
        process = subprocess.Popen(
            [sys.executable, "-c", FORK_AND_CANCEL], env=machine.environ, cwd=machine.root, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"interrupted\n"
            eventually(lambda: ask(machine)["downloads"][0]["outcome"] == "failed", what="the agent to notice")
            process.wait(timeout=20)
            with machine.start("-c", get("slow.bin", repo=SLOW_REPO)) as again:  # its file is in nobody's use
                eventually(lambda: downloading(machine), timeout_s=30, what="the same download to go on")
                again.kill()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


POOL = f"""
import multiprocessing
from huggingface_hub import hf_hub_download

def work(name):
    return hf_hub_download({REPO!r}, name, local_dir="pool")

if __name__ == "__main__":
    work("0.bin")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, ["1.bin", "2.bin"]))
"""


def test_workers_forked_after_a_download_download_on(ann: Machine) -> None:
    (ann.root / "pool.py").write_text(POOL)
    ann.run("pool.py")
    assert {name: (ann.root / "pool" / name).read_bytes() for name in FILES} == FILES
    assert [row["outcome"] for row in ask(ann)["downloads"]] == ["done"] * 3
    assert agents(ann) == 1


# What it costs, and where it listens.


def test_an_idle_agent_with_a_thousand_blobs_is_small(lan: Lan) -> None:
    with lan.machine("idle", LLMPT_INTERFACE="lo") as machine, IdleAgent(machine, blobs=1000) as agent:
        assert len(ask(machine)["seeding"]) == 1000
        assert agent.rss_mib() < 120
        eventually(lambda: agent.open_files() < 64, timeout_s=60, what="few open files, once all are announced")


def test_each_machine_knows_whether_others_can_reach_it(ann: Machine) -> None:
    ann.llmpt("agent", "start")
    eventually(lambda: ask(ann)["reachable"] is not None, timeout_s=20, what="the tracker's word")
    status = ask(ann)
    assert (status["reachable"], status["address"]) == (True, "127.0.0.1")
    assert status["tracker_version"]


def test_the_agent_listens_on_the_chosen_network_only(lan: Lan) -> None:
    with lan.machine("lo", LLMPT_INTERFACE="127.0.0.1") as machine:
        fetch(machine, "0.bin")
        assert ask(machine)["listen"] == ["127.0.0.1"]
        table = Path(f"/proc/{ask(machine)['pid']}/net/tcp").read_text().splitlines()[1:]
        port = f":{ask(machine)['port']:04X}"
        assert {row.split()[1] for row in table if row.split()[1].endswith(port) and row.split()[3] == "0A"} == {
            f"0100007F{port}"
        }


def test_a_network_that_is_not_there_is_said_at_the_start(lan: Lan) -> None:
    with lan.machine("lo", LLMPT_INTERFACE="nowhere0") as machine:
        said = machine.run("-m", "llmpt", "agent", "start", check=False)
        assert said.returncode == 1
        assert "LLMPT_INTERFACE=nowhere0: no interface of that name or address is up" in said.stderr
