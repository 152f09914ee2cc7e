"""200 downloads of mixed sizes over one agent, many of them killed (-9) at a random moment and begun again: `make soak`.

What is left is looked at, and what the agent holds is sampled on the way: no wrong file, nothing unfinished, steady memory
and file descriptors. The same seed makes the same downloads; when exactly a kill strikes is the machine's business.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from llmpt.core.blob import Etag
from llmpt.disk.verification import verify_file
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

SEED = 4
DOWNLOADS = 200
AT_ONCE = 4
SAMPLE_EVERY = 20
REPO = "org/soak"
SIZES = {200_000: 4, BIG: 4, 1_300_000: 6, 2_600_000: 4, 6_000_000: 2, 16_000_000: 1}  # bytes → weight
SCRIPT = "import sys\nfrom huggingface_hub import hf_hub_download\nhf_hub_download(sys.argv[1], sys.argv[2])"


@dataclass(frozen=True)
class Job:
    """One file: how often its download is killed, after how many seconds, and whether a second process wants it at once."""

    name: str
    kills: tuple[float, ...]
    twin: bool


@dataclass
class Tally:
    """What happened, and what the agent held: (downloads finished, seconds, resident MiB, descriptors, threads)."""

    started: float = field(default_factory=time.monotonic)
    finished: int = 0
    killed: int = 0
    killed_in_mid_file: int = 0
    samples: list[tuple[int, float, float, int, int]] = field(default_factory=list)


class Soak:
    """Runs jobs on one machine, `AT_ONCE` at a time."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.agent_pid = 0
        self.tally = Tally()
        self._lock = threading.Lock()

    def run(self, jobs: list[Job]) -> None:
        self._download(jobs[0])  # starts the agent
        self.agent_pid = self.machine.status()["pid"]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._download, jobs[1:]))

    def _download(self, job: Job) -> None:
        for delay_s in job.kills:
            self._begin_and_kill(job, delay_s)
        with self._start(job) as process:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, f"{job.name}: {errors}"
        with self._lock:
            self.tally.finished += 1
            if self.tally.finished % SAMPLE_EVERY == 0:
                self.tally.samples.append(self._sample())

    def _begin_and_kill(self, job: Job, delay_s: float) -> None:
        with self._start(job) as process:
            twin = self._start(job) if job.twin else None
            try:
                process.communicate(timeout=delay_s)
            except subprocess.TimeoutExpired:
                process.kill()
                with self._lock:
                    self.tally.killed += 1
                    self.tally.killed_in_mid_file += self._unfinished(job)
            if twin is not None:
                with twin:
                    _, errors = twin.communicate(timeout=120)
                    assert twin.returncode == 0, f"{job.name}, beside one that was killed: {errors}"

    def _start(self, job: Job) -> subprocess.Popen[str]:
        return self.machine.start("-c", SCRIPT, REPO, job.name)

    def _unfinished(self, job: Job) -> bool:
        """Whether some of the file's bytes have come, and not all."""
        etag = job.name.partition(".")[0]
        return any(path.stat().st_blocks for path in self.machine.cache.rglob(f"{etag}*incomplete"))

    def _sample(self) -> tuple[int, float, float, int, int]:
        if not self.agent_pid:
            return 0, 0.0, 0.0, 0, 0
        process = Path(f"/proc/{self.agent_pid}")
        fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        resident = int(fields["VmRSS"].split()[0]) / 1024
        descriptors = len(list((process / "fd").iterdir()))
        return self.tally.finished, time.monotonic() - self.tally.started, resident, descriptors, int(fields["Threads"])


def plan(dice: random.Random) -> list[Job]:
    """Make the jobs; a file is named by its etag, so that what is left of it can be told."""
    jobs = []
    for _ in range(DOWNLOADS):
        kills = tuple(dice.uniform(0.4, 2.0) for _ in range(dice.choice((0, 0, 1, 1, 2, 3))))
        jobs.append(Job("", kills, twin=bool(kills) and dice.random() < 0.25))
    return jobs


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lan, Soak, dict[str, int]]]:
    dice = random.Random(SEED)
    sizes = dice.choices(list(SIZES), weights=list(SIZES.values()), k=DOWNLOADS)
    contents = {f"{hashlib.sha256(data).hexdigest()}.bin": data for data in map(dice.randbytes, sizes)}
    jobs = [Job(name, job.kills, job.twin) for name, job in zip(contents, plan(dice), strict=True)]
    with Lan(tmp_path_factory.mktemp("soak") / "lan", LLMPT_UPLOAD_LIMIT="12M") as lan, lan.machine("ann") as ann:
        lan.hub.add(REPO, contents)
        lan.mirror(REPO)
        lan.seeded(REPO, timeout_s=120)
        soak = Soak(ann)
        soak.run(jobs)
        show(lan, soak)
        yield lan, soak, {name: len(data) for name, data in contents.items()}


def show(lan: Lan, soak: Soak) -> None:
    tally = soak.tally
    said = f"{tally.finished} downloads finished, {tally.killed} killed, {tally.killed_in_mid_file} of them in mid-file"
    table = Table("downloads", "seconds", "agent's RSS, MiB", "descriptors", "threads", title=said)
    for finished, seconds, resident, descriptors, threads in tally.samples:
        table.add_row(str(finished), f"{seconds:.0f}", f"{resident:.1f}", str(descriptors), str(threads))
    rows = soak.machine.status()["downloads"]
    outcomes = {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in {row["outcome"] for row in rows}}
    console = Console(width=100)
    console.print(table)
    console.print(f"the agent's outcomes: {outcomes}; from the Hub: {lan.hub.bytes_sent / 1e6:.1f} MB")


def test_every_download_ended_over_one_agent(soaked: tuple[Lan, Soak, dict[str, int]]) -> None:
    _, soak, _ = soaked
    assert soak.tally.finished == DOWNLOADS
    assert soak.tally.killed >= DOWNLOADS / 5
    assert soak.machine.status()["pid"] == soak.agent_pid


def test_no_file_is_wrong(soaked: tuple[Lan, Soak, dict[str, int]]) -> None:
    _, soak, sizes = soaked
    (snapshot,) = (soak.machine.cache / "models--org--soak" / "snapshots").iterdir()
    assert {path.name for path in snapshot.iterdir()} == set(sizes)
    for name, size in sizes.items():
        verify_file(snapshot / name, Etag(name.partition(".")[0]), size)


def test_nothing_unfinished_is_left_of_what_came_from_the_lan(soaked: tuple[Lan, Soak, dict[str, int]]) -> None:
    """What the library itself leaves when it is killed in its own download (since 1.18), stays: we don't touch it."""
    lan, soak, _ = soaked
    left = [path.name for path in soak.machine.root.rglob("*incomplete*")]
    assert [name for name in left if not lan.hub.gets(f"{name.partition('.')[0]}.bin")] == []


def test_what_the_lan_has_is_hardly_ever_asked_of_the_hub(soaked: tuple[Lan, Soak, dict[str, int]]) -> None:
    lan, _, sizes = soaked
    big = [name for name, size in sizes.items() if size >= BIG]
    asked = [name for name in big if lan.hub.gets(name)]
    assert len(asked) <= len(big) / 20, f"{len(asked)} of {len(big)}"


def test_the_agent_grows_with_what_it_seeds_and_no_more(soaked: tuple[Lan, Soak, dict[str, int]]) -> None:
    _, soak, _ = soaked
    samples = soak.tally.samples
    early, late = samples[len(samples) // 4 : len(samples) // 2 + 1], samples[-len(samples) // 4 :]

    def medians(column: int) -> tuple[float, float]:
        return statistics.median(row[column] for row in early), statistics.median(row[column] for row in late)

    for column, growth in ((2, 24), (3, 24), (4, 8)):
        before, after = medians(column)
        assert after - before <= growth, samples
