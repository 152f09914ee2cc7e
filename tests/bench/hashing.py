"""How fast new blobs are hashed, beside `openssl speed sha256` in the same run.

Every byte is hashed twice (etag and leaves). The bars: over many blobs 0.8 × cores × openssl ÷ 2; for a single one
0.8 × one core's openssl, for its two hashes run on two cores (with one core, half of that).
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.disk.stamp import FileStamp
from llmpt.disk.torrents import create_torrent
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.hashing.readers import HashingPool, usable_cores
from tests.support.cache_builder import lfs_sha256
from tests.support.waiting import eventually

BLOB_BYTES = 64 << 20
MANY = 24
SINGLE_BYTES = 512 << 20
ROUNDS = 3
BAR = 0.8


def main() -> None:
    """Print the figures; nothing is asserted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many = [_blob(folder, BLOB_BYTES) for _ in range(MANY)]
        single = _blob(folder, SINGLE_BYTES)
        cores = usable_cores()
        one_core = _openssl()
        singles = [_single(single) for _ in range(ROUNDS)]
        rate_single, per_cpu = max(rate for rate, _ in singles), max(per_cpu for _, per_cpu in singles)
        rate_many = max(_many(many) for _ in range(ROUNDS))
        one_core = (one_core + _openssl()) / 2
    bar_many = BAR * cores * one_core / 2
    bar_single = BAR * one_core * (1.0 if cores > 1 else 0.5)
    load, _, _ = os.getloadavg()
    print(
        f"openssl sha256, one core: {one_core / 1e6:.0f} MB/s; cores: {cores}; load {load:.1f} (ratios mean little above {cores})"
    )
    _say(f"one blob of {SINGLE_BYTES >> 20} MiB", rate_single, bar_single)
    _say(f"{MANY} blobs of {BLOB_BYTES >> 20} MiB", rate_many, bar_many)
    print(f"one blob, per core and CPU time: {per_cpu / 1e6:.0f} MB/s, of {one_core / 2e6:.0f} that two hashes allow")


def _say(what: str, rate: float, bar: float) -> None:
    print(f"{what}: {rate / 1e6:.0f} MB/s, bar {bar / 1e6:.0f} ({rate / bar:.2f} × the bar)")


def _blob(folder: Path, size: int) -> BlobFile:
    part = os.urandom(1 << 20)
    data = b"".join(part[i:] + part[:i] for i in range(size >> 20))
    etag = lfs_sha256(data)
    path = folder / etag
    path.write_bytes(data)
    return BlobFile(Etag(etag), path, FileStamp.of(path.stat()))


def _single(blob: BlobFile) -> tuple[float, float]:
    """Return bytes per second, and per second of CPU time of this process."""
    started, cpu = time.perf_counter(), time.process_time()
    create_torrent(blob.path)
    return blob.size / (time.perf_counter() - started), blob.size / (time.process_time() - cpu)


def _many(blobs: list[BlobFile]) -> float:
    """Hash all with a pool whose workers run already: starting them (a fraction of a second) is not the point here."""
    done = 0
    with HashingPool() as pool:

        def collected(count: int) -> bool:
            nonlocal done
            done += len(pool.collect())
            return done >= count

        warm = usable_cores()
        pool.add((blob, None) for blob in blobs)
        eventually(lambda: collected(warm), timeout_s=60, what="the workers to start")
        left, started = len(blobs) - done, time.perf_counter()
        eventually(lambda: collected(len(blobs)), timeout_s=120, what="all blobs hashed")
        return left * BLOB_BYTES / (time.perf_counter() - started)


def _openssl() -> float:
    """Return the bytes per second of one core on big buffers."""
    command = ["openssl", "speed", "-seconds", "1", "-bytes", str(1 << 20), "sha256"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    found = re.search(r"^sha256\s+([\d.]+)k", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"openssl speed said something else: {output!r}")
    return float(found[1]) * 1000


if __name__ == "__main__":
    main()
