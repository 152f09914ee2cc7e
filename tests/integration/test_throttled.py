"""Many machines begin the same snapshot at once, and the Hub answers so many requests of all of them, and no more."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.hub import Mode
from tests.support.lan import BIG, Lan
from tests.support.waiting import eventually

REPO = "org/wanted"
PROGRAM = """
import os, sys, traceback
from pathlib import Path
from huggingface_hub import snapshot_download
from huggingface_hub.utils import disable_progress_bars

repo, processes, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
disable_progress_bars()
for number in range(processes):
    if os.fork() == 0:
        try:
            folder = Path(snapshot_download(repo, cache_dir=f"cache-{number}"))
            os._exit(0 if sum(path.is_file() for path in folder.rglob("*")) == files else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
print(sum(os.wait()[1] != 0 for _ in range(processes)), "failed")
"""


@dataclass(frozen=True)
class Crowd:
    """So many machines with so many processes each, the files of the repo, and what the Hub answers within five minutes."""

    machines: int
    processes: int
    small: int
    large: int
    requests: int


@pytest.mark.parametrize(
    "crowd",
    [
        pytest.param(Crowd(2, 4, 30, 1, 60), id="few", marks=pytest.mark.slow),
        # 388 s of a processor's time: huggingface_hub's own 8 ms for each of 48,480 files
        pytest.param(Crowd(20, 8, 300, 3, 3000), id="160-processes", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_crowd_gets_the_whole_repo_and_none_is_throttled(tmp_path: Path, crowd: Crowd) -> None:
    some = random.Random(7)
    files = {f"d{number % 10}/{number}.json": some.randbytes(800 + number) for number in range(crowd.small)}
    files |= {f"{number}.safetensors": some.randbytes(BIG + number) for number in range(crowd.large)}
    with Lan(tmp_path / "lan") as lan, ExitStack() as stack:
        lan.hub.add(REPO, files)
        lan.mirror(REPO)
        lan.seeded(REPO)
        eventually(lambda: lan.answers_for(REPO), timeout_s=30, what="the LAN to answer for the repo")
        machines = [stack.enter_context(lan.machine(f"m{number}")) for number in range(crowd.machines)]
        lan.hub.forget()
        lan.hub.mode = Mode(requests_in_window=crowd.requests)
        running = [one.start("-c", PROGRAM, REPO, str(crowd.processes), str(len(files))) for one in machines]
        for process in running:
            out, err = _ended(process)
            assert out.strip() == "0 failed", err[-3000:]
        asked = [one for one in lan.hub.requests if "agent-harnesses" not in one.raw_path]
        print(f"{len(asked)} requests for {crowd.machines * crowd.processes} processes, {lan.hub.byte_gets} for bytes")
        assert [one.raw_path for one in lan.hub.requests if one.status == 429] == []
        most = crowd.machines * (crowd.processes + 2)  # one by each, and the agents' own; more where the LAN is late
        assert len(asked) <= most * 1.1, Counter(f"{one.method} {one.raw_path}" for one in asked)


def _ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    with process:
        return process.communicate(timeout=1500)
