"""The client's path beside what it replaces, each ratio against a reference of the same run.

Time from call to file of a 90 MB model on loopback, swarm beside plain HTTP; what the hook adds to a file that the LAN does
not have, and to a small one. The Hub is a stand-in that sends with sendfile(2), which is what nginx would do, and once more
the Python one of the tests. What llmpt costs a Python that never downloads is measured by `startup`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support.cache_builder import CacheBuilder
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine, quiet_environment

ROOT = Path(__file__).parents[2]
MODEL_BYTES = 90_868_376  # all-MiniLM-L6-v2's model.safetensors
ROOM_IN_MEMORY = Path("/dev/shm")
ROUNDS = 7
CALLS = 50


def main() -> None:
    console = Console(width=130)
    started = time.monotonic()
    if ROOM_IN_MEMORY.is_dir() and shutil.disk_usage(ROOM_IN_MEMORY).free > 4 << 30:
        tempfile.tempdir = str(ROOM_IN_MEMORY)  # the disk's own speed, and its moods, are not what is measured
    with tempfile.TemporaryDirectory(prefix="llmpt-bench-") as scratch:
        console.print(_call_to_file(Path(scratch) / "model"))
        console.print(_added_by_the_hook(Path(scratch) / "hook"))
    console.print(f"in {time.monotonic() - started:.0f} s")


def _call_to_file(root: Path) -> Table:
    """A file per round: what a machine has once, it would copy."""
    names = [f"model-{number}.bin" for number in range(ROUNDS + 1)]
    with Lan(root) as lan, ExitStack() as stack:
        lan.hub.add("bench/models", {name: os.urandom(MODEL_BYTES) for name in names})
        lan.mirror("bench/models")
        lan.seeded("bench/models")
        fast = f"http://127.0.0.1:{stack.enter_context(_static_hub(lan.cache))}"
        ways = {
            "plain HTTP, sendfile": _worker(stack, lan.machine("sendfile", HF_ENDPOINT=fast, HF_USE_P2P="0")),
            "plain HTTP, Python": _worker(stack, lan.machine("python", HF_USE_P2P="0")),
            "swarm": _worker(stack, swarm := lan.machine("swarm", HF_ENDPOINT=fast, HF_USE_P2P="1")),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number, name in enumerate(names):
            for way in sorted(ways, reverse=bool(number % 2)):
                one = ways[way]("bench/models", name, None)
                if number:  # the first one starts the agent
                    seconds[way].append(one)
        rows = swarm.status()["downloads"]
        assert [row["outcome"] for row in rows] == ["done"] * len(names), rows
    table = Table("way", "median s", "min s", "max s", "MB/s", "÷ sendfile", title=f"call to file, {MODEL_BYTES / 1e6:.0f} MB")
    reference = statistics.median(seconds["plain HTTP, sendfile"])
    for way, took in seconds.items():
        middle, least, most = statistics.median(took), min(took), max(took)
        table.add_row(
            way, f"{middle:.3f}", f"{least:.3f}", f"{most:.3f}", f"{MODEL_BYTES / 1e6 / middle:.0f}", f"{middle / reference:.2f}"
        )
    return table


def _added_by_the_hook(root: Path) -> Table:
    """One process that switches the hook on and off between its downloads; the tracker knows none of these files."""
    table = Table("file", "without, ms", "with, ms", "added, ms", title=f"added by the hook, {CALLS} calls each, agent running")
    with Lan(root) as lan, ExitStack() as stack:
        sizes = {"a miss, 1 MiB": BIG, "small, 1 KiB": 1024}
        elsewhere = CacheBuilder(root / "hub")
        for size in sizes.values():
            files = {f"{number}.bin": os.urandom(size) for number in range(2 * CALLS + 2)}
            elsewhere.repo(f"bench/{size}").commit(files, lfs=files)
        fast = f"http://127.0.0.1:{stack.enter_context(_static_hub(elsewhere.root))}"
        download = _worker(stack, machine := lan.machine("one", HF_ENDPOINT=fast, HF_USE_P2P="1"))
        for kind, size in sizes.items():
            took: dict[bool, list[float]] = {True: [], False: []}
            for number in range(2 * CALLS + 2):
                p2p = number % 2 == 0
                seconds = download(f"bench/{size}", f"{number}.bin", p2p)
                if number > 1:  # the first one starts the agent
                    took[p2p].append(1000 * seconds)
            without, with_hook = statistics.median(took[False]), statistics.median(took[True])
            table.add_row(kind, f"{without:.2f}", f"{with_hook:.2f}", f"{with_hook - without:+.2f}")
        reasons = {row["reason"] for row in machine.status()["downloads"]}
        assert reasons == {"this machine fetches it for all"}, reasons
    return table


@contextmanager
def _static_hub(cache: Path) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench._static_hub", str(cache)], stdout=subprocess.PIPE, cwd=ROOT, env=quiet_environment()
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _worker(stack: ExitStack, machine: Machine) -> Callable[[str, str, bool | None], float]:
    """Start a warm Python on `machine`; return a function that downloads a file with it and says how many seconds it took."""
    stack.enter_context(machine)
    command = [str(machine.python), str(ROOT / "tests" / "bench" / "_worker.py")]
    environ = machine.environ | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "LLMPT_QUIET": "1"}
    process = stack.enter_context(
        subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.kill)

    def download(repo: str, file: str, p2p: bool | None) -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"repo": repo, "file": file, "p2p": p2p}) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, f"{machine.name}: the download failed"
        return float(json.loads(answer)["seconds"])

    return download


if __name__ == "__main__":
    main()
