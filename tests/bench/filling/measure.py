"""Measure one scenario, in namespaces of its own: LLMPT_BENCH_SCENARIO says which, LLMPT_BENCH_OUT where its JSON goes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from llmpt.tracker.client import TrackerClient
from tests.bench.filling.lan import REPO, Server, Workstation, workstation
from tests.bench.filling.scenarios import SCENARIOS, Found, Scenario
from tests.support import network
from tests.support.network import Host
from tests.support.waiting import eventually

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
GARBAGE, BACKGROUND = 90, 91  # their numbers on the LAN


def main() -> None:
    if not network.is_apart("tests.bench.filling.measure"):
        return
    network.open_bridge()
    scenario = SCENARIOS[os.environ["LLMPT_BENCH_SCENARIO"]]
    with tempfile.TemporaryDirectory(prefix="llmpt-bench-") as scratch, Server(Path(scratch), scenario) as server:
        Path(os.environ["LLMPT_BENCH_OUT"]).write_text(json.dumps(asdict(_measured(server, scenario)), indent=1))


def _measured(server: Server, scenario: Scenario) -> Found:
    total = scenario.total_bytes
    with ExitStack() as stack:
        machines = [
            stack.enter_context(workstation(server, number, mbit)) for number, mbit in enumerate(scenario.cables_mbit, start=2)
        ]
        wrong = stack.enter_context(_wrong(server, scenario)) if scenario.garbage else None
        http_s = _over_http(machines[-1].host, server.plain_url)
        goodput = total * 8 / 1e6 / http_s / min(scenario.mbit, scenario.server_mbit)
        unhooked_s = max(_all(machines, 0.0, p2p=False)[0]) if scenario.file_bytes else 0.0
        spoiled = wrong.host.sent_bytes() if wrong else 0
        sent, hub, busy, used_s = server.host.sent_bytes(), server.hub.bytes_sent, _processors(), _client_seconds()
        began = time.monotonic()
        with _background(server, scenario) as taken, _killed(server, scenario, http_s):
            seconds, used = _all(machines, scenario.apart * http_s, leave=scenario.leave)
            lasted, taken_bytes = time.monotonic() - began, taken.received_bytes() if taken else 0
        ticks = [now - before for now, before in zip(_processors(), busy, strict=True)]
        _check_content(machines, scenario)
        return Found(
            http_s,
            seconds,
            scenario.bounds_s(goodput, taken_bytes * 8 / 1e6 / lasted),
            unhooked_s,
            (server.host.sent_bytes() - sent - taken_bytes) / total,
            (server.hub.bytes_sent - hub) / total,
            (wrong.host.sent_bytes() - spoiled) / total if wrong else 0.0,
            (used + _client_seconds() - used_s) / (len(machines) * total / 2**30),
            _largest_mib(),
            ticks[0] / max(ticks[1], 1),
        )


def _all(machines: list[Workstation], apart_s: float, *, p2p: bool = True, leave: bool = False) -> tuple[list[float], float]:
    """Let each machine download, `apart_s` after the one before; return the seconds of each, and the CPU of those that left."""
    seconds, left_s = [0.0] * len(machines), [0.0] * len(machines)
    began = time.monotonic()

    def download(index: int) -> None:
        time.sleep(max(0.0, began + index * apart_s - time.monotonic()))
        seconds[index] = machines[index].download(REPO, p2p=p2p)
        if leave:
            left_s[index] = _seconds_of(machines[index].machine.status()["pid"])
            machines[index].machine.stop_agent()

    threads = [threading.Thread(target=download, args=[index]) for index in range(len(machines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, sum(left_s)


def _check_content(machines: list[Workstation], scenario: Scenario) -> None:
    """Hold every file in every cache against its etag, which is its name."""
    for each in machines:
        blobs = [path for path in each.machine.root.glob("llmpt-bench-*/*/models--bench--swarm/blobs/*") if path.is_file()]
        wrong = [path.name for path in blobs if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]
        if wrong or not blobs or len(blobs) % scenario.files:
            raise AssertionError(f"{each.machine.name} has {len(blobs)} files of {scenario.files}, and these are wrong: {wrong}")


def _over_http(host: Host, url: str) -> float:
    began = time.monotonic()
    with host.inside():
        subprocess.run(["curl", "-sf", "-o", "/dev/null", url], check=True)
    return time.monotonic() - began


@contextmanager
def _wrong(server: Server, scenario: Scenario) -> Iterator[Workstation]:
    """A machine that has the repo and seeds it; then other bytes are in its files, of the same age."""
    with workstation(server, GARBAGE, scenario.mbit) as machine:
        machine.download(REPO)
        eventually(lambda: _has_two_seeders(server.url), timeout_s=30, what="the wrong machine to seed")
        for path in machine.machine.root.rglob("blobs/*"):
            if path.stat().st_size == scenario.each_bytes:
                found = path.stat()
                with path.open("r+b") as file:
                    file.write(os.urandom(found.st_size))
                os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
        yield machine


def _has_two_seeders(url: str) -> bool:
    return all(one.seeders >= 2 for one in TrackerClient(url).get_torrents(repo_id=REPO) or [])


@contextmanager
def _background(server: Server, scenario: Scenario) -> Iterator[Host | None]:
    """Another machine takes what the scenario says of the server's cable, again and again."""
    if not scenario.background:
        yield None
        return
    rate = int(scenario.background * scenario.server_mbit * 1e6 / 8)
    with Host("other", BACKGROUND) as host:
        with host.inside():
            command = f"while curl -sf --limit-rate {rate} -o /dev/null {server.plain_url}; do :; done"
            process = subprocess.Popen(["sh", "-c", command])
        try:
            yield host
        finally:
            process.kill()
            process.wait()


@contextmanager
def _killed(server: Server, scenario: Scenario, http_s: float) -> Iterator[None]:
    """The seeder is killed when the scenario says so."""
    if scenario.dies_at:
        timer = threading.Timer(scenario.dies_at * http_s, server.seeder.kill)
        timer.start()
        yield
        timer.join()
    else:
        yield


def _processors() -> tuple[int, int]:
    """Return how many ticks the processors of this host were busy, and how many there were."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _clients() -> Iterator[Path]:
    """The agents and programs of all machines: this process has a /proc of its own."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"llmpt.agent" in command or b"_worker.py" in command:
            yield folder


def _client_seconds() -> float:
    return sum(_seconds_of(int(folder.name)) for folder in _clients())


def _seconds_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _largest_mib() -> float:
    largest = 0.0
    for folder in _clients():
        if b"llmpt.agent" in (folder / "cmdline").read_bytes():
            lines = (folder / "status").read_text().splitlines()
            largest = max(largest, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")))
    return largest


if __name__ == "__main__":
    main()
