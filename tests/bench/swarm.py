"""How fast a LAN is filled: N machines download one file at the same moment, as a user does, over links that are all the same.

The server (tracker and seeder) and each machine are network namespaces with a cable of their own (`tests/support/network.py`).
The fluid bound for one file of F bytes and equal links is F ÷ u, whatever N is; u is TCP's goodput, measured by one machine that
takes the same file over HTTP from the same seeder over the same link, in the same run. Plain HTTP needs N · F ÷ u. Told are the
time of the median and of the last machine ÷ that bound, the bytes that the server sent ÷ those that it sent over HTTP, and the
share of the processors that was busy: where that is more than nine tenths, the row says so, for then it is the processors that
are measured.

LLMPT_BENCH_MACHINES: the numbers of machines (1,2,4,8); LLMPT_BENCH_MIB: the size of the file (64); LLMPT_BENCH_MBIT: the rate of
each cable ÷ what N machines leave of it (100 up to four machines, then 400 ÷ N).
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmpt.tracker.client import TrackerClient
from tests.support import network
from tests.support.cache_builder import CacheBuilder
from tests.support.hub import FakeHub
from tests.support.machine import Machine
from tests.support.network import Host
from tests.support.seeder import SeederProcess
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import MIB

ROOT = Path(__file__).parents[2]
MACHINES = [int(count) for count in os.environ.get("LLMPT_BENCH_MACHINES", "1,2,4,8").split(",")]
FILE_BYTES = int(os.environ.get("LLMPT_BENCH_MIB", "64")) * MIB
MBIT = int(os.environ.get("LLMPT_BENCH_MBIT", "100"))
SERVER, BLOB_PORT = 100, 8001
BUSY = 0.9
_numbers = itertools.count(2)  # an address is one machine's: what others know of it outlives the machine
REPO, FILE, WARM = "bench/swarm", "model.bin", "warm.bin"
_OVER_HTTP = """
import sys, time, urllib.request
began = time.monotonic()
with urllib.request.urlopen(sys.argv[1]) as answer:
    while answer.read(1 << 18):
        pass
print(time.monotonic() - began)
"""


def main() -> None:
    if not network.is_apart("tests.bench.swarm"):
        return
    network.open_bridge()
    with tempfile.TemporaryDirectory(prefix="llmpt-bench-") as scratch, _Server(Path(scratch)) as server:
        print(f"one file of {FILE_BYTES // MIB} MiB; times ÷ the bound; what the server sent ÷ the file")
        print("machines  Mbit/s  HTTP alone  median    last   sent  from the Hub  busy")
        for count in MACHINES:
            print(_row(count, *_measured(server, count)), flush=True)


@dataclass
class _Found:
    bound_s: float
    seconds: list[float]
    sent: float
    hub_bytes: int
    busy: float


def _row(count: int, mbit: int, found: _Found) -> str:
    median, last = (of(found.seconds) / found.bound_s for of in (statistics.median, max))
    told = f"{count:>8} {mbit:>7} {found.bound_s:>10.2f}s {median:>7.3f} {last:>7.3f} {found.sent:>6.3f}"
    told += f" {found.hub_bytes:>13} {found.busy:>5.0%}"
    return told + ("  the processors were the limit" if found.busy > BUSY else "")


def _measured(server: _Server, count: int) -> tuple[int, _Found]:
    mbit = min(MBIT, 4 * MBIT // count)
    server.host.set_rate(f"{mbit}mbit")
    with ExitStack() as stack:
        numbers = [next(_numbers) for _ in range(count)]
        hosts = [stack.enter_context(Host(f"m{number}", number, rate=f"{mbit}mbit")) for number in numbers]
        sent = server.host.sent_bytes()
        bound_s = _over_http(server, hosts[0])
        whole = server.host.sent_bytes() - sent
        workers = [stack.enter_context(_worker(server, host)) for host in hosts]
        _together(workers, WARM)  # which starts the agents
        sent, hub, busy = server.host.sent_bytes(), server.hub.bytes_sent, _processors()
        seconds = _together(workers, FILE)
        used = [now - before for now, before in zip(_processors(), busy, strict=True)]
        sent_bytes, hub_bytes = server.host.sent_bytes() - sent, server.hub.bytes_sent - hub
        found = _Found(bound_s, seconds, sent_bytes / whole, hub_bytes, used[0] / max(used[1], 1))
    return mbit, found


def _over_http(server: _Server, host: Host) -> float:
    """Return the seconds in which one machine takes the file over HTTP, and nothing else goes on."""
    with host.inside():
        command = [sys.executable, "-c", _OVER_HTTP, f"http://{server.host.v4}:{BLOB_PORT}/blobs/{server.etag}"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _together(workers: list[subprocess.Popen[str]], name: str) -> list[float]:
    """Let each machine download a file, all at the same moment; return the seconds of each."""
    seconds = [0.0] * len(workers)

    def download(index: int, worker: subprocess.Popen[str]) -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps({"repo": REPO, "file": name, "p2p": None}) + "\n")
        worker.stdin.flush()
        seconds[index] = json.loads(worker.stdout.readline())["seconds"]

    threads = [threading.Thread(target=download, args=one) for one in enumerate(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds


@contextmanager
def _worker(server: _Server, host: Host) -> Iterator[subprocess.Popen[str]]:
    hub = server.hub.url.replace("127.0.0.1", network.SERVER)
    command = [sys.executable, str(ROOT / "tests" / "bench" / "_worker.py")]
    with host.inside(), Machine(host.name, tracker=server.url, hub=hub, HF_USE_P2P="1", LLMPT_QUIET="1") as machine:
        worker = subprocess.Popen(command, env=machine.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield worker
        finally:
            assert worker.stdin is not None
            worker.stdin.close()
            worker.wait(10)


class _Server:
    """A machine with a tracker and a seeder of one file, and a Hub beside. A context manager."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.host = Host("server", SERVER, rate="1gbit")

    def __enter__(self) -> _Server:
        with ExitStack() as stack:
            stack.enter_context(self.host)
            repo = CacheBuilder(self._root / "cache").repo(REPO)
            content = os.urandom(FILE_BYTES)
            repo.commit({FILE: content, WARM: os.urandom(MIB)}, lfs=[FILE, WARM])
            self.etag = next(blob.name for blob in repo.folder.glob("blobs/*") if blob.stat().st_size == FILE_BYTES)
            self.hub = stack.enter_context(FakeHub(cache=self._root / "cache", host="0.0.0.0"))
            bind = {"LLMPT_BIND": "0.0.0.0"}
            with self.host.inside():
                tracker = stack.enter_context(TrackerProcess(self._root / "data", settings=bind))
                settings = bind | {"LLMPT_BLOB_PORT": str(BLOB_PORT)}
                hub = self.hub.url.replace("127.0.0.1", network.SERVER)
                seeder = SeederProcess(self._root / "data", self._root / "cache", tracker=tracker.url, hub=hub, **settings)
                stack.enter_context(seeder)
                eventually(lambda: _is_seeded(tracker.url), timeout_s=60, what="the file to be seeded")
            self.url = tracker.url.replace("127.0.0.1", self.host.v4)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _is_seeded(url: str) -> bool:
    found = TrackerClient(url).get_torrents(repo_id=REPO) or []
    return len(found) == 2 and all(one.seeders for one in found)


def _processors() -> tuple[int, int]:
    """Return how many ticks the processors of this host were busy, and how many there were."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


if __name__ == "__main__":
    main()
