"""What the order of a snapshot's files costs, and what it costs to connect for each: 283 MB as one file, as 16 files one of which
is asked for after the other by the library's eight workers, and as one file before or after 300 small ones.

One program per run, with a machine of its own whose agent runs already. LLMPT_BENCH_ROUNDS says how often, 3 times by default.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
from pathlib import Path

from tests.support.lan import Lan
from tests.support.waiting import eventually

ROUNDS = int(os.environ.get("LLMPT_BENCH_ROUNDS", "3"))
SMALL = 300
_PROGRAM = """
import time
from huggingface_hub import hf_hub_download, snapshot_download
hf_hub_download("org/start", "w.bin")
began = time.perf_counter()
snapshot_download("org/{name}")
print(time.perf_counter() - began)
"""


def main() -> None:
    """Print the figures; nothing is asserted."""
    some = random.Random(1)
    sizes = [some.randrange(5 << 20, 30 << 20) for _ in range(16)]
    whole = sum(sizes)
    repos = {
        "one": {"w.bin": os.urandom(whole)},
        "sixteen": {f"w{number:02}.bin": os.urandom(size) for number, size in enumerate(sizes)},
        "small": _small(),
        "first": {"a.bin": os.urandom(whole), **_small()},
        "last": {"z.bin": os.urandom(whole), **_small()},
        "start": {"w.bin": os.urandom(2 << 20)},
    }
    with tempfile.TemporaryDirectory() as name, Lan(Path(name) / "lan") as lan:
        for repo, files in repos.items():
            lan.hub.add(f"org/{repo}", files)
            lan.mirror(f"org/{repo}")
        eventually(lambda: all(lan.answers_for(f"org/{repo}") for repo in repos), timeout_s=90, what="the LAN to answer")
        for repo in repos.keys() - {"small"}:  # whose files have no swarm
            lan.seeded(f"org/{repo}")
        took: dict[str, list[float]] = {repo: [] for repo in repos if repo != "start"}
        for _ in range(ROUNDS):
            for repo, times in took.items():
                with lan.machine("bench") as machine:
                    times.append(float(machine.script(_PROGRAM.format(name=repo)).splitlines()[-1]))
                    assert {row["outcome"] for row in machine.status()["downloads"]} == {"done"}
    reference = statistics.median(took["one"])
    print(f"{whole / 1e6:.0f} MB; {SMALL} small files")
    for repo, times in took.items():
        print(
            f"{repo}: {statistics.median(times):.2f} s ({statistics.median(times) / reference:.2f} × one), least {min(times):.2f}"
        )


def _small() -> dict[str, bytes]:
    return {f"m/{number}.json": os.urandom(2000) for number in range(SMALL)}


if __name__ == "__main__":
    main()
