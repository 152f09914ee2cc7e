"""Programs that fork, in the middle of a download and after one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from tests.integration.agent.life import FILES, REPO, SLOW_FILE, SLOW_REPO, agents, downloading, get
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually

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
    return any(row["outcome"] == "running" and row["bytes_from_lan"] > 0 for row in rows)

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
        assert [row["outcome"] for row in machine.status()["downloads"]] == ["done", "done"]
        assert agents(machine) == 1


FORK_AND_CANCEL = f"""
import os, signal
from dataclasses import replace
from huggingface_hub import file_download, hf_hub_download
from llmpt.hook import patch
from llmpt.hook.lan import Lan
from llmpt.link.client import AgentClient

class ForksAndCancels(AgentClient):
    def fetch(self, request, *, on_progress):
        cancelled = []
        def progress(report):
            if cancelled:
                return
            cancelled.append(True)
            if os.fork() == 0:
                signal.pause()
            os.kill(os.getpid(), signal.SIGINT)
        return super().fetch(request, on_progress=progress)

def connect(settings):
    return replace(Lan.of(settings), agent=ForksAndCancels(settings, environ=os.environ))

patch.disable()
patch.install(file_download, connect=connect)
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
            eventually(lambda: machine.status()["downloads"][0]["outcome"] == "failed", what="the agent to notice")
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
    assert [row["outcome"] for row in ann.status()["downloads"]] == ["done"] * 3
    assert agents(ann) == 1
