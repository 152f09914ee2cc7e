"""What it costs that each seeded blob is a file that is kept open, and not a path: time, memory, descriptors, and throughput.

The same blobs are seeded by their paths beside it: read the ratios.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.networks import CidrSet
from llmpt.disk.stamp import stamp_of
from llmpt.disk.torrents import create_torrent
from llmpt.swarm import Engine, EngineSettings, SeededBlob, Source

BLOBS, SIZE, TAKEN, IDLE_S = 20_000, 64 << 20, 1 << 30, 5.0
SETTINGS = EngineSettings(listen=("127.0.0.1",), port=0, peer_cidrs=CidrSet.parse("127.0.0.0/8"))


def main() -> None:
    """Print the figures; nothing is asserted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(BLOBS):
            with (folder / _etag(number).value).open("wb") as file:
                file.truncate(SIZE)
        by_path, opened = _apart(_seed, folder, False), _apart(_seed, folder, True)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        print(f"{BLOBS} blobs, at most {limit} open files:", flush=True)
        for index, what in enumerate(("seconds to seed", "MiB of memory", "% of a CPU while idle", "open files")):
            print(f"  {what}: {opened[index]:.1f} opened, {by_path[index]:.1f} by path", flush=True)
        print(f"  not seeded, since they cannot be kept open: {opened[4]:.0f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        rates = [_apart(_take, Path(name), is_open)[0] for is_open in (False, True)]
        print(f"one blob of 1 GiB is taken at {rates[1]:.0f} MB/s opened, at {rates[0]:.0f} MB/s by path", flush=True)


def _seed(folder: Path, is_open: bool) -> list[float]:
    with Engine(SETTINGS) as engine:
        began, before = time.perf_counter(), _memory_mib()
        for number in range(BLOBS):
            etag = _etag(number)
            path = folder / etag.value
            engine.seed(SeededBlob(etag, SIZE, bytes.fromhex(etag.value), path, stamp_of(path) if is_open else None))
        took = time.perf_counter() - began
        engine.session_settings()  # it has added them all when it answers
        memory, cpu, at = _memory_mib() - before, time.process_time(), time.perf_counter()
        time.sleep(IDLE_S)
        idle = 100 * (time.process_time() - cpu) / (time.perf_counter() - at)
        return [took, memory, idle, len(list(Path("/proc/self/fd").iterdir())), BLOBS - len(engine.seeding())]


def _take(folder: Path, is_open: bool) -> list[float]:
    path = folder / "blob"
    content = os.urandom(1 << 20) * (TAKEN >> 20)
    path.write_bytes(content)
    metainfo = create_torrent(path, etag=Etag(hashlib.sha256(content).hexdigest()))
    seeded = SeededBlob(metainfo.etag, metainfo.size, metainfo.root, path, stamp_of(path) if is_open else None)
    rates = []
    with Engine(SETTINGS) as seeder, Engine(SETTINGS) as leecher:
        seeder.seed(seeded)
        for number in range(3):
            target = folder / f"out{number}"
            target.touch()
            began = time.perf_counter()
            download = leecher.downloads.begin(Source(metainfo, (("127.0.0.1", seeder.port),)), target, resume=False)
            while download.state == "running":
                download.wait(0.1)
            rates.append(metainfo.size / (time.perf_counter() - began) / 1e6)
            leecher.withdraw(metainfo.etag)
            target.unlink()
    return [max(rates)]


def _apart(measure, folder: Path, is_open: bool) -> list[float]:  # type: ignore[no-untyped-def]
    """Measure in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return list(pool.apply(measure, (folder, is_open)))


def _memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def _etag(number: int) -> Etag:
    return Etag(hashlib.sha256(b"%d" % number).hexdigest())


if __name__ == "__main__":
    main()
