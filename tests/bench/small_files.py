"""How fast a repo of many small files is verified and published, and how long an unrelated model waits beside it.

A real seeder and a real tracker, from the moment the files lie in the cache until the catalogue names them all. The bar: 2,000
files per second on two cores, and as many for any number of files. LLMPT_BENCH_FILES gives the numbers of files, `5000,20000`
by default. On a machine that has other things to do read the CPU time: 1,000 µs a file of all together are the bar of two cores.
The reference is one process of `openssl sha256` that reads the same files.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from llmpt.core.repo import RepoRef
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from llmpt_seeder.hashing.readers import usable_cores
from tests.support.cache_builder import CacheBuilder, commit_id
from tests.support.hub import FakeHub
from tests.support.seeder import SeederProcess
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually

NUMBERS = os.environ.get("LLMPT_BENCH_FILES", "5000,20000")
FILE_BYTES = 2000
MODEL_BYTES = 64 << 20
BAR = 2000.0  # files per second
DATASET, MODEL = RepoRef("dataset", "org/a-dataset"), RepoRef("model", "org/model")
SLOWEST = 20.0  # files per second: what is slower has stopped


@dataclass(frozen=True)
class Cost:
    """What all files took, and the model: seconds of the clock; seconds of CPU; the most that the processes held, in bytes."""

    all_s: float
    model_s: float
    cpu_s: dict[str, float]
    openssl_cpu_s: float
    held: dict[str, int]


def main() -> None:
    """Print the figures; nothing is asserted."""
    first_us = 0.0
    for files in map(int, NUMBERS.split(",")):
        with tempfile.TemporaryDirectory() as name:
            cost = _measure(Path(name), files)
        us = {who: seconds * 1e6 / files for who, seconds in cost.cpu_s.items()}
        each_us = sum(us.values())
        first_us = first_us or each_us
        each, rate = f"{files:,} files of {FILE_BYTES} bytes", files / cost.all_s
        print(
            f"{each}: {rate:,.0f} per second ({rate / BAR:.1f} × the bar), all of {cost.all_s:.1f} s;"
            f" the model of {MODEL_BYTES >> 20} MiB beside them after {cost.model_s:.1f} s;"
            f" {each_us:.0f} µs of CPU a file ({', '.join(f'{who} {spent:.0f}' for who, spent in us.items())}),"
            f" {each_us / first_us:.2f} × the first, {each_us / cost.openssl_cpu_s / 1e6 * files:.1f} × openssl's:"
            f" {usable_cores() * 1e6 / each_us:,.0f} per second of {usable_cores()} cores that nothing else wants;"
            f" MiB at most: {', '.join(f'{who} {held >> 20}' for who, held in cost.held.items())}",
            flush=True,
        )


def _measure(folder: Path, files: int) -> Cost:
    built = CacheBuilder(folder / "built")
    repo, commit = built.repo(str(DATASET.id), DATASET.type), commit_id(files)
    for number in range(files):
        repo.link(commit, f"{number // 1000}/{number}", repo.blob(b"%d" % number * (FILE_BYTES // 8), lfs=False))
    repo.point("main", commit)
    built.repo(str(MODEL.id)).commit({"model.bin": os.urandom(1 << 20) * (MODEL_BYTES >> 20)}, lfs={"model.bin"})
    openssl_cpu_s = _openssl(list((repo.folder / "blobs").iterdir()))
    cache = folder / "hub"
    cache.mkdir()
    data, settings = folder / "data", {"LLMPT_REPOS": "*", "LLMPT_SCAN_INTERVAL": "10"}
    with (
        FakeHub() as hub,
        TrackerProcess(data) as tracker,
        SeederProcess(data, cache, tracker=tracker.url, hub=hub.url, **settings) as seeder,
    ):
        client = TrackerClient(tracker.url)
        eventually(lambda: "answers" in seeder.log.read_text(), timeout_s=60, what="the seeder to have met its tracker")
        before = _cpu_s(seeder.pid, tracker.pid)
        started = time.monotonic()
        for one in sorted(built.root.iterdir()):
            one.rename(cache / one.name)
        model_s = 0.0

        def all_there() -> bool:
            nonlocal model_s
            if not model_s and any(torrent.seeders for torrent in client.get_torrents(repo_id=str(MODEL.id)) or ()):
                model_s = time.monotonic() - started
            time.sleep(0.2)  # whoever asks takes of the CPU that is measured
            rows = (row for row in Catalogue(client).repos() if row.ref == DATASET)
            return bool(model_s) and any(one.files_here == files for row in rows for one in row.revisions)

        eventually(all_there, timeout_s=20 + files / SLOWEST, what="all files to be in the catalogue")
        all_s = time.monotonic() - started
        after = _cpu_s(seeder.pid, tracker.pid)
        held = {"seeder": _held(seeder.pid), "tracker": max(map(_held, _family(tracker.pid)))}
    return Cost(all_s, model_s, {who: after[who] - before[who] for who in after}, openssl_cpu_s, held)


def _cpu_s(seeder: int, tracker: int) -> dict[str, float]:
    """Return the CPU seconds of each part so far."""
    own, ended = _stat(seeder)
    workers = ended + sum(_stat(pid)[0] for pid in _family(seeder)[1:])
    return {"seeder": own, "its workers": workers, "tracker": sum(sum(_stat(pid)) for pid in _family(tracker))}


def _stat(pid: int) -> tuple[float, float]:
    """Return the CPU seconds of a process, and of those that it has ended."""
    user, system, users, systems = map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + system) / tick, (users + systems) / tick


def _family(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    children = [int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()]
    return [pid, *(one for child in children for one in _family(child))]


def _held(pid: int) -> int:
    """Return the most memory that a process ever held, in bytes."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) << 10


def _openssl(files: list[Path]) -> float:
    """Return the CPU seconds of the reference, as if it read all files."""
    some = files[:5000]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["openssl", "sha256", *map(str, some)], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * len(files) / len(some)


if __name__ == "__main__":
    main()
