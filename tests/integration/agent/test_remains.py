"""What an agent survives, and what it leaves behind."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tests.integration.agent.life import FILES, REPO, SLOW, SLOW_REPO, agents, downloading, ended, fetch, get
from tests.support.installation import uninstall
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.namespaces import python_with
from tests.support.waiting import eventually

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
    pid = ann.status()["pid"]
    shutil.rmtree(ann.root / "run")  # as at logout
    eventually(lambda: not Path(f"/proc/{pid}").exists(), timeout_s=20, what="the agent's end")
    (ann.root / "run").mkdir(mode=0o700)
    fetch(ann, "1.bin")
    assert ann.status()["pid"] != pid


def test_an_agent_whose_package_has_vanished_ends(ann: Machine, newer: str) -> None:
    fetch(ann, "0.bin", PYTHONPATH=newer)
    pid = ann.status()["pid"]
    uninstall(Path(newer))
    eventually(lambda: ended(ann, pid), timeout_s=20, what="the agent's end")
    assert "uninstalled" in ann.agent_log()


def test_purge_ends_the_agent_and_leaves_nothing_but_what_was_downloaded(ann: Machine) -> None:
    ann.environ |= SLOW
    with ann.start("-c", get("slow.bin", repo=SLOW_REPO)) as process:
        eventually(lambda: downloading(ann), timeout_s=30, what="bytes to flow")
        process.kill()
    fetch(ann, "0.bin")
    pid = ann.status()["pid"]
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
    status = ann.status()
    assert status["seeding"] == []
    [row] = status["not_seeded"]
    assert row["path"].endswith(digest)
    assert row["reason"] == "it lies on a network's file system (tmpfs)"
