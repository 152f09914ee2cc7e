"""One machine, with nothing to share with: a file by the hook and its agent beside huggingface_hub over plain HTTP.

Both from call to file, in turns, on loopback, each from a warm Python; the ratio of their medians. The Hub is a stand-in that
sends with sendfile(2), as nginx would, out of the very cache that the seeder serves. A miss is a file that the LAN does not have.
What llmpt costs a Python that never downloads is measured by `startup`.

LLMPT_BENCH_MB gives sizes in MB (1,10,90 by default; 2147 for 2 GiB), LLMPT_BENCH_ROUNDS how often each is fetched.
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
SIZES = [int(float(mb) * 1e6) for mb in os.environ.get("LLMPT_BENCH_MB", "1.1,10,90.868376").split(",")]
ROUNDS = int(os.environ.get("LLMPT_BENCH_ROUNDS", "0"))
ROOM_IN_MEMORY = Path("/dev/shm")
BYTES, FEWEST, MOST = 1 << 30, 3, 40  # of each size: so many bytes in all, so many files
MISSES, SMALL_BYTES = 40, 1024

Download = Callable[[str, str, bool | None], float]


def main() -> None:
    """Print the figures; nothing is asserted but that the bytes came the way that they were to come."""
    console = Console(width=130)
    started = time.monotonic()
    if ROOM_IN_MEMORY.is_dir() and shutil.disk_usage(ROOM_IN_MEMORY).free > 4 << 30:
        tempfile.tempdir = str(ROOM_IN_MEMORY)  # the disk's own speed, and its moods, are not what is measured
    table = Table("file", "HTTP, ms", "llmpt, ms", "added, ms", "÷ HTTP", "llmpt, MB/s", "rounds", title="call to file, medians")
    with tempfile.TemporaryDirectory(prefix="llmpt-bench-") as scratch:
        for name, http, llmpt, size in (*_not_there(Path(scratch) / "miss"), *_there(Path(scratch) / "there")):
            plain, ours = 1000 * statistics.median(http), 1000 * statistics.median(llmpt)
            figures = (f"{plain:.1f}", f"{ours:.1f}", f"{ours - plain:+.1f}", f"{ours / plain:.2f}", f"{size / 1e3 / ours:.0f}")
            table.add_row(name, *figures, str(len(http)))
    console.print(table)
    console.print(f"in {time.monotonic() - started:.0f} s")


def _there(root: Path) -> Iterator[tuple[str, list[float], list[float], int]]:
    """A file per round: what a machine has once, it would copy."""
    with Lan(root) as lan, ExitStack() as stack:
        fast = f"http://127.0.0.1:{stack.enter_context(_static_hub(lan.cache))}"
        plain = _worker(stack, lan.machine("http", HF_ENDPOINT=fast, HF_USE_P2P="0"))
        ours = _worker(stack, machine := lan.machine("llmpt", HF_ENDPOINT=fast, HF_USE_P2P="1"))
        files = 0
        for size in SIZES:
            rounds = ROUNDS or min(MOST, max(FEWEST, BYTES // size))
            names = [f"{number}.bin" for number in range(rounds + 1)]  # the first one starts the agent, and connections
            lan.hub.add(f"bench/{size}", {name: os.urandom(size) for name in names})
            lan.mirror(f"bench/{size}")
            lan.seeded(f"bench/{size}", timeout_s=120)
            yield f"{size / 1e6:.0f} MB", *_in_turns(f"bench/{size}", names, plain, ours), size
            files += len(names)
        rows = machine.status()["downloads"]
        assert [row["outcome"] for row in rows] == ["done"] * files, rows


def _not_there(root: Path) -> Iterator[tuple[str, list[float], list[float], int]]:
    """What the hook adds to a file that the LAN does not have, and to one that is too small for a swarm."""
    with Lan(root) as lan, ExitStack() as stack:
        sizes = {"a miss, 1 MiB": BIG, "small, 1 KiB": SMALL_BYTES}
        names = [f"{number}.bin" for number in range(MISSES + 1)]
        elsewhere = CacheBuilder(root / "hub")
        for size in sizes.values():
            files = {name: os.urandom(size) for name in names}
            elsewhere.repo(f"bench/{size}").commit(files, lfs=files)
        fast = f"http://127.0.0.1:{stack.enter_context(_static_hub(elsewhere.root))}"
        plain = _worker(stack, lan.machine("http", HF_ENDPOINT=fast, HF_USE_P2P="0"))
        ours = _worker(stack, machine := lan.machine("llmpt", HF_ENDPOINT=fast, HF_USE_P2P="1"))
        for kind, size in sizes.items():
            yield kind, *_in_turns(f"bench/{size}", names, plain, ours), size
        reasons = {row["reason"] for row in machine.status()["downloads"]}
        assert reasons == {"this machine fetches it for all"}, reasons


def _in_turns(repo: str, names: list[str], plain: Download, ours: Download) -> tuple[list[float], list[float]]:
    took: dict[Download, list[float]] = {plain: [], ours: []}
    for number, name in enumerate(names):
        for way in (plain, ours) if number % 2 else (ours, plain):
            took[way].append(way(repo, name, None))
    return took[plain][1:], took[ours][1:]


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


def _worker(stack: ExitStack, machine: Machine) -> Download:
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
