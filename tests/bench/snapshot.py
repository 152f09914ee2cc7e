"""How long a snapshot of many small files takes where the LAN answers, beside a Hub without any delay, and one 40 ms away.

One program per run, with a cache of its own: the clock runs around `snapshot_download` alone. The bar: from the LAN at most 1.1 ×
the time from the Hub without delay. LLMPT_BENCH_FILES gives the number of files, 300 by default; LLMPT_BENCH_ROUNDS how often
each is done, 5 times by default. With 1,000 files and more no Hub is far away.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import tempfile
from pathlib import Path

from tests.support.hub import Mode
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually

FILES = int(os.environ.get("LLMPT_BENCH_FILES", "300"))
ROUNDS = int(os.environ.get("LLMPT_BENCH_ROUNDS", "5"))
REPO = "org/many"
FAR_S = 0.04
FEW = 999
_PROGRAM = """
import json, time
from huggingface_hub import snapshot_download
import huggingface_hub.file_download
began, cpu = time.perf_counter(), time.process_time()
snapshot_download("org/many"{more})
wall, cpu = time.perf_counter() - began, time.process_time() - cpu
peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024  # ru_maxrss is the parent's, too
print(json.dumps([wall, cpu, peak]))
"""


def main() -> None:
    """Print the figures; nothing is asserted."""
    some = random.Random(1)
    files = {f"d{number % 10}/{number}.json": some.randbytes(2000) for number in range(FILES)}
    with tempfile.TemporaryDirectory() as name, Lan(Path(name) / "lan") as lan:
        commit = lan.hub.add(REPO, files)
        lan.mirror(REPO)
        eventually(lambda: lan.answers_for(REPO), timeout_s=30 + FILES / 100, what="the LAN to answer for the repo")
        ways = {
            "Hub": ("", "0", 0.0),
            "LAN, branch": ("", "1", 0.0),
            "LAN, commit": (f", revision='{commit}'", "1", 0.0),
        }
        if FILES <= FEW:
            ways |= {f"Hub {FAR_S * 1000:.0f} ms away": ("", "0", FAR_S), "LAN, that Hub, branch": ("", "1", FAR_S)}
        took: dict[str, list[list[float]]] = {way: [] for way in ways}
        asked: dict[str, int] = {}
        for _ in range(ROUNDS):
            for way, (more, use_p2p, delay_s) in ways.items():
                lan.hub.mode = Mode(delay_s=delay_s)
                lan.hub.forget()
                with lan.machine("bench", HF_USE_P2P=use_p2p) as machine:
                    took[way].append(_run(machine, more))
                asked[way] = len([one for one in lan.hub.requests if "agent-harnesses" not in one.raw_path])
        print(f"at most: tracker {_peak_mib(lan.tracker.pid):.0f} MiB, seeder {_peak_mib(lan.seeder.pid):.0f} MiB")
    reference = statistics.median(wall for wall, _, _ in took["Hub"])
    for way, times in took.items():
        wall, cpu, peak_mib = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"{FILES:,} files, {way}: {wall:.2f} s ({wall / reference:.2f} × the Hub's), {wall / FILES * 1e3:.1f} ms a file,"
            f" {cpu / FILES * 1e3:.1f} ms of CPU, {peak_mib:.0f} MiB; {asked[way]} requests to the Hub",
            flush=True,
        )


def _run(machine: Machine, more: str) -> list[float]:
    figures: list[float] = json.loads(machine.script(_PROGRAM.format(more=more)).splitlines()[-1])
    return figures


def _peak_mib(pid: int) -> float:
    """Return the most that a process and those that it has started have held, added up."""
    own = int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(_peak_mib(int(child)) for child in children)


if __name__ == "__main__":
    main()
