"""The blob server beside nginx, which serves the very same file with sendfile: 1, 4 and 64 clients at once, in the same run.

The clients are curl, so that they are not what bounds. Told too: the processor time that a server needs for a GiB, which
depends less on what else the machine does, and what the seeder's process holds in memory meanwhile.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support import nginx
from tests.support.cache_builder import CacheBuilder
from tests.support.lan import Lan
from tests.support.ports import free_ports
from tests.support.waiting import eventually

FILE_BYTES = 512 << 20
SENT_BYTES = 4 << 30  # in each round, by all clients together, but at most the file to each
CLIENTS = (1, 4, 64)
ROUNDS = 7
BAR = 0.9
ROOM_IN_MEMORY = Path("/dev/shm")
CONFIG = """
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
"""


def main() -> None:
    console = Console(width=130)
    if nginx.PROGRAM is None or shutil.which("curl") is None:
        console.print("not measured: this needs nginx and curl (apt-get install nginx-light curl)")
        return
    if ROOM_IN_MEMORY.is_dir() and shutil.disk_usage(ROOM_IN_MEMORY).free > 2 << 30:
        tempfile.tempdir = str(ROOM_IN_MEMORY)  # the disk's own speed, and its moods, are not what is measured
    with tempfile.TemporaryDirectory(prefix="llmpt-bench-") as scratch:
        console.print(_beside_nginx(Path(scratch)))


def _beside_nginx(root: Path) -> Table:
    with Lan(root / "lan", LLMPT_REPOS="*") as lan, ExitStack() as stack:
        builder = CacheBuilder(lan.cache).repo("bench/model")
        builder.commit({"model.bin": os.urandom(FILE_BYTES)}, lfs={"model.bin"})
        torrent = eventually(lambda: next(iter(lan.torrents("bench/model")), None), timeout_s=120, what="the file")
        redirect = f"{lan.tracker.url}/blobs/{torrent.etag}"
        seeder = eventually(lambda: _where(redirect), timeout_s=30, what="a seeder that has it")
        port, workers = stack.enter_context(_nginx(root / "nginx", builder.blob_path(torrent.etag).parent))
        urls = {"nginx": f"http://127.0.0.1:{port}/{torrent.etag}", "llmpt": seeder}
        processes = {"nginx": workers, "llmpt": [lan.seeder.pid]}
        names = ("clients", "nginx, MB/s", "llmpt, MB/s", "llmpt ÷ nginx", "CPU-s/GiB of each", "seeder's memory, MB")
        table = Table(*names, title="blobs: medians")
        at_rest = _resident(lan.seeder.pid)
        for clients in CLIENTS:
            speeds: dict[str, list[float]] = {way: [] for way in urls}
            needed: dict[str, list[float]] = {way: [] for way in urls}
            with _Peak(lan.seeder.pid) as peak:
                for number in range(ROUNDS):
                    for way in sorted(urls, reverse=bool(number % 2)):
                        before = _cpu_s(processes[way])
                        sent, took_s = _fetch(urls[way], clients)
                        speeds[way].append(sent / 1e6 / took_s)
                        needed[way].append((_cpu_s(processes[way]) - before) / (sent / 2**30))
            fast = {way: statistics.median(found) for way, found in speeds.items()}
            cpu = " / ".join(f"{statistics.median(found):.2f}" for found in needed.values())
            ratio = fast["llmpt"] / fast["nginx"]
            memory = f"{at_rest / 1e6:.0f} → {peak.bytes / 1e6:.0f}"
            told = [f"{fast['nginx']:.0f}", f"{fast['llmpt']:.0f}", f"{ratio:.2f}{'' if ratio >= BAR else f' (bar {BAR})'}"]
            table.add_row(str(clients), *told, cpu, memory)
    return table


def _fetch(url: str, clients: int) -> tuple[int, float]:
    """Have so many clients fetch at once; return the bytes of all together and the seconds that took."""
    each = min(FILE_BYTES, SENT_BYTES // clients)
    command = ["curl", "--silent", "--fail", "--output", os.devnull, "--range", f"0-{each - 1}", url]
    began = time.monotonic()
    running = [subprocess.Popen(command) for _ in range(clients)]
    assert [one.wait() for one in running] == [0] * clients
    return clients * each, time.monotonic() - began


def _where(url: str) -> str | None:
    """Return where the tracker redirects to."""
    told = subprocess.run(
        ["curl", "--silent", "--output", os.devnull, "--write-out", "%{redirect_url}", url], capture_output=True, check=True
    )
    return told.stdout.decode() or None


@contextmanager
def _nginx(folder: Path, root: Path) -> Iterator[tuple[int, list[int]]]:
    """Serve a folder; yield the port, and the processes that do it."""
    (port,) = free_ports(1)
    with nginx.running(folder, CONFIG.format(port=port, root=root), workers="auto") as process:
        eventually(lambda: _answers(port), what="nginx")
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
        yield port, [int(pid) for pid in children.split()]


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _cpu_s(pids: list[int]) -> float:
    """Return the seconds of processor time that processes have used."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(found[11]) + int(found[12]) for found in fields) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Peak:
    """The most memory that a process held while the `with` block ran."""

    def __init__(self, pid: int) -> None:
        self.bytes, self._pid, self._done = 0, pid, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self.bytes = max(self.bytes, _resident(self._pid))


if __name__ == "__main__":
    main()
