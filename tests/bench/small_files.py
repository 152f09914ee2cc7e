"""How fast a repo of many small files is verified and published, and how long an unrelated model waits beside it.

The bar: 2,000 files per second on two cores, and as many for any number of files. LLMPT_BENCH_FILES gives the numbers of files,
`5000,20000` by default. The reference is one process of `openssl sha256` that reads the same files.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt_seeder.hashing.readers import HashingPool, usable_cores
from tests.support.cache_builder import CacheBuilder, commit_id, lfs_sha256
from tests.unit.seeder.fakes import Bench

NUMBERS = os.environ.get("LLMPT_BENCH_FILES", "5000,20000")
FILE_BYTES = 2000
MODEL_BYTES = 64 << 20
BAR = 2000.0  # files per second


def main() -> None:
    """Print the figures; nothing is asserted."""
    first = 0.0
    for files in map(int, NUMBERS.split(",")):
        with tempfile.TemporaryDirectory() as name:
            reference, rate, model_share, cpu_s = _measure(Path(name), files)
        first = first or rate
        print(
            f"{files:,} files of {FILE_BYTES} bytes, {usable_cores()} cores: {rate:,.0f} per second"
            f" ({rate / BAR:.1f} × the bar, {rate / first:.2f} × the first, {rate / reference:.2f} × openssl's {reference:,.0f}),"
            f" {cpu_s * 1e6:.0f} µs of CPU each, the model's included;"
            f" a model of {MODEL_BYTES >> 20} MiB beside them is there after {model_share:.0%} of the time",
            flush=True,
        )


def _measure(folder: Path, files: int) -> tuple[float, float, float, float]:
    """Return openssl's files per second and ours, after which part of the time the model is verified, and CPU seconds a file."""
    cache = CacheBuilder(folder / "hub")
    repo, commit = cache.repo("org/a-dataset", "dataset"), commit_id(files)
    for number in range(files):
        repo.link(commit, f"{number // 1000}/{number}", repo.blob(b"%d" % number * (FILE_BYTES // 8), lfs=False))
    model = os.urandom(1 << 20) * (MODEL_BYTES >> 20)
    cache.repo("org/model").commit({"model.bin": model}, lfs={"model.bin"})
    reference = _openssl(sorted((repo.folder / "blobs").iterdir())[:5000])
    wake = threading.Event()
    with HashingPool(on_done=wake.set) as pool, Bench(folder / "seeder.db", cache.root, pool=pool) as bench:
        bench.tracker.min_blob_bytes = 1 << 20
        bench.link.heartbeat()
        bench.caches.look()
        started, model_at, cpu = time.monotonic(), 0.0, _cpu_s()
        while len(bench.tracker.manifests) < 2:
            wake.clear()
            bench.service.reconcile()
            if not model_at and bench.service.blob(Etag(lfs_sha256(model))):
                model_at = time.monotonic()
            wake.wait(1)
        took = time.monotonic() - started
    return reference, files / took, (model_at - started) / took, (_cpu_s() - cpu) / files


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of those that it has ended."""
    return sum(
        usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _openssl(files: list[Path]) -> float:
    started = time.monotonic()
    subprocess.run(["openssl", "sha256", *map(str, files)], stdout=subprocess.DEVNULL, check=True)
    return len(files) / (time.monotonic() - started)


if __name__ == "__main__":
    main()
