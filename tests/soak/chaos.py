"""A LAN under random faults. A seed says which downloads and which faults; when exactly they meet is the machine's business."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.soak.faults import AT_MACHINES, AT_SERVERS, MAY_FAIL, Fault, Universe, agent_pid, family
from tests.support.lan import BIG
from tests.support.machine import Machine

SIZES = {200_000: 3, BIG: 4, 2_600_000: 6, 6_000_000: 4, 16_000_000: 2}  # bytes → weight
AT_ONCE = 4
SAID_EVERY = 20  # downloads
TRY_FOR_S = 60.0  # longer than any fault lasts
PROGRAM = """
import hashlib, json, sys, time
if sys.argv[3] == "http":
    sys.modules["libtorrent"] = None
import huggingface_hub
began = time.monotonic()
path = huggingface_hub.hf_hub_download(sys.argv[1], sys.argv[2])
seconds = time.monotonic() - began
print(json.dumps({"seconds": seconds, "etag": hashlib.sha256(open(path, "rb").read()).hexdigest()}))
"""


@dataclass(frozen=True)
class Step:
    """One file that one machine wants; what happens to its program: killed or stopped (for 3 s) after so many seconds."""

    machine: int
    name: str
    killed_after_s: float | None
    stopped_after_s: float | None


@dataclass(frozen=True)
class Strike:
    """One fault, when it lasted (monotonic)."""

    kind: str
    began: float
    ended: float = float("inf")

    def touches(self, began: float, ended: float) -> bool:
        return self.began < ended and began < self.ended


@dataclass(frozen=True)
class Done:
    """A program that ended by itself: how long its download took, by its own clock, and between which moments."""

    step: Step
    began: float
    ended: float
    seconds: float
    returncode: int
    etag: str = ""
    errors: str = ""
    disturbed: bool = False


@dataclass
class Chaos:
    """Runs steps on the machines while faults strike."""

    universe: Universe
    seed: int
    done: list[Done] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    killed: int = 0
    stopped: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def machines(self) -> list[Machine]:
        return [*self.universe.with_agent, *self.universe.without_agent]

    def run(self, steps: Sequence[Step]) -> None:
        """Make all downloads; the faults end with the last of them."""
        over = threading.Event()
        monkeys = [
            threading.Thread(target=self._strike, args=(faults, random.Random(f"{self.seed} {n}"), over))
            for n, faults in enumerate((AT_MACHINES, AT_SERVERS))
        ]
        for monkey in monkeys:
            monkey.start()
        try:
            self.calmly(steps)
        finally:
            over.set()
            for monkey in monkeys:
                monkey.join()

    def calmly(self, steps: Sequence[Step]) -> None:
        """Make downloads, and no faults."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._download, steps))

    def _strike(self, faults: Sequence[Fault], dice: random.Random, over: threading.Event) -> None:
        while not over.wait(dice.uniform(0.2, 2.0)):
            fault, lasts_s = dice.choice(faults), dice.uniform(0.5, 6.0)
            strike = Strike(fault.__name__, time.monotonic())
            with self._lock:
                self.strikes.append(strike)
            with fault(self.universe, dice):
                over.wait(lasts_s)
            with self._lock:
                self.strikes[self.strikes.index(strike)] = Strike(strike.kind, strike.began, time.monotonic())

    def _download(self, step: Step) -> None:
        if step.killed_after_s is not None:
            with self._start(step) as process:
                try:
                    process.communicate(timeout=step.killed_after_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    self.killed += 1
        give_up, stop = time.monotonic() + TRY_FOR_S, True
        while time.monotonic() < give_up:
            done, stop = self._finish(step, stop=stop), False
            with self._lock:
                self.done.append(done)
            if done.returncode == 0:
                self._say_progress()
                return

    def _say_progress(self) -> None:
        with self._lock:
            good = [done.seconds for done in self.done if done.returncode == 0]
            faults = len(self.strikes)
        if len(good) % SAID_EVERY == 0:
            print(f"{len(good)} downloads, the longest {max(good):.1f} s; {faults} faults so far", flush=True)

    def _finish(self, step: Step, *, stop: bool) -> Done:
        began, disturbed = time.monotonic(), False
        with self._start(step) as process:
            if stop and step.stopped_after_s is not None:
                try:
                    process.wait(step.stopped_after_s)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGSTOP)
                    time.sleep(3)  # the length of the fault
                    process.send_signal(signal.SIGCONT)
                    self.stopped += 1
                    disturbed = True
            try:
                out, errors = process.communicate(timeout=180)
            except subprocess.TimeoutExpired:
                process.kill()
                out, errors = process.communicate()
                errors += "\n(was not done in 180 s)"
        ended = time.monotonic()
        said = json.loads(out.splitlines()[-1]) if process.returncode == 0 else {"seconds": ended - began, "etag": ""}
        return Done(step, began, ended, said["seconds"], process.returncode, said["etag"], errors, disturbed)

    def _start(self, step: Step) -> subprocess.Popen[str]:
        way = "swarm" if step.machine < len(self.universe.with_agent) else "http"
        return self.machines[step.machine].start("-c", PROGRAM, self.universe.repo, step.name, way)

    def during(self, done: Done) -> set[str]:
        """Return the kinds of faults that lasted while a download did."""
        return {strike.kind for strike in self.strikes if strike.touches(done.began, done.ended)}

    def unexplained_failures(self) -> list[Done]:
        """Return the programs that failed although nothing was wrong that concerns a download without us."""
        return [done for done in self.done if done.returncode != 0 and not MAY_FAIL & self.during(done)]


def plan(seed: int, *, files: int, machines: int, count: int) -> tuple[dict[str, bytes], list[Step]]:
    """Return the contents, by name (which begins with the SHA-256), and `count` steps, no file twice on one machine."""
    dice = random.Random(seed)
    contents = {}
    for size in dice.choices(list(SIZES), weights=list(SIZES.values()), k=files):
        content = dice.randbytes(size)
        contents[f"{hashlib.sha256(content).hexdigest()}.bin"] = content
    pairs = [(machine, name) for machine in range(machines) for name in contents]
    dice.shuffle(pairs)
    steps = [
        Step(
            machine,
            name,
            killed_after_s=dice.uniform(0.3, 2.5) if dice.random() < 0.3 else None,
            stopped_after_s=dice.uniform(0.3, 1.5) if dice.random() < 0.1 else None,
        )
        for machine, name in pairs[:count]
    ]
    return contents, steps


def holdings(pid: int) -> tuple[float, int, int]:
    """Return what a process and its children hold: resident MiB, descriptors, threads."""
    resident, descriptors, threads = 0.0, 0, 0
    for one in family(pid):
        try:
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{one}/status").read_text().splitlines())
            resident += int(fields["VmRSS"].split()[0]) / 1024
            threads += int(fields["Threads"])
            descriptors += len(list(Path(f"/proc/{one}/fd").iterdir()))
        except (OSError, KeyError):
            continue
    return resident, descriptors, threads


def all_holdings(universe: Universe) -> dict[str, tuple[float, int, int]]:
    """Return the holdings of the servers and of every agent, by name."""
    pids = {"tracker": universe.lan.tracker.pid, "seeder": universe.lan.seeder.pid}
    pids |= {f"{machine.name}'s agent": agent_pid(machine) or 0 for machine in universe.with_agent}
    return {name: holdings(pid) for name, pid in pids.items() if pid}


def show(
    chaos: Chaos, holdings_before: dict[str, tuple[float, int, int]], holdings_after: dict[str, tuple[float, int, int]]
) -> None:
    """Print what was done, what struck, and what it cost."""
    good = [done for done in chaos.done if done.returncode == 0]
    failed = len(chaos.done) - len(good)
    console = Console(width=130)
    console.print(
        f"seed {chaos.seed} (LLMPT_CHAOS_SEED={chaos.seed} make soak): {len(good)} downloads, {failed} failed and were repeated, "
        f"{chaos.killed} programs killed, {chaos.stopped} stopped; {len(chaos.strikes)} faults"
    )
    table = Table("fault", "strikes", "seconds in all", "downloads meanwhile", "median, s", "longest, s")
    calm = [done.seconds for done in good if not chaos.during(done)]
    table.add_row("none", "", "", str(len(calm)), *_times(calm))
    for kind in (fault.__name__ for fault in (*AT_MACHINES, *AT_SERVERS)):
        lasted = [strike.ended - strike.began for strike in chaos.strikes if strike.kind == kind]
        under = [done.seconds for done in good if kind in chaos.during(done) and not done.disturbed]
        table.add_row(kind, str(len(lasted)), f"{sum(lasted):.0f}", str(len(under)), *_times(under))
    console.print(table)
    held = Table("process", "RSS, MiB", "descriptors", "threads", "after calm downloads: RSS, MiB", "descriptors", "threads")
    for name, before in holdings_before.items():
        after = holdings_after.get(name, (0.0, 0, 0))
        held.add_row(name, *(f"{value:.0f}" for value in (*before, *after)))
    console.print(held)


def _times(seconds: list[float]) -> tuple[str, str]:
    return (f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}") if seconds else ("", "")
