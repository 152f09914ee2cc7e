"""What an agent costs while it does nothing but seed: memory and open files with 1,000 blobs.

The bar is 80 MiB. The blobs are sparse files of 64 MiB (with 1,024 pieces each); nobody asks for them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType

from tests.support.hub import FakeHub
from tests.support.machine import Machine
from tests.support.waiting import eventually

BLOBS = 1000
BAR_MIB = 80
NOBODY = "http://127.0.0.1:9"

MAKE = """
import hashlib, os, sys
from pathlib import Path
from llmpt.agent.host.places import database_path
from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo, piece_length_for
from llmpt.disk.inventory import FileStamp, Inventory
folder, count, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
piece = piece_length_for(size)
folder.mkdir()
with Inventory(database_path()) as inventory:
    for number in range(count):
        etag = Etag(hashlib.sha256(b"%d" % number).hexdigest())
        path = folder / etag.value
        path.touch()
        os.truncate(path, size)
        layer = os.urandom(32 * -(-size // piece)) if size > piece else b""
        inventory.remember(path, FileStamp.of(path.stat()), Metainfo(etag, size, os.urandom(32), layer))
"""


class IdleAgent:
    """An agent of `machine` that seeds `blobs` files of `size` bytes; a context manager."""

    def __init__(self, machine: Machine, *, blobs: int, size: int = 1 << 20) -> None:
        self._machine, self._blobs, self._size = machine, blobs, size

    def __enter__(self) -> IdleAgent:
        self._machine.run("-c", MAKE, str(self._machine.root / "blobs"), str(self._blobs), str(self._size))
        self._machine.llmpt("agent", "start")
        status = eventually(self._machine.status, what="the agent's status")
        assert len(status["seeding"]) == self._blobs
        self.pid = int(status["pid"])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._machine.stop_agent()

    def rss_mib(self) -> float:
        return _rss_mib(self.pid)

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def cpu_s(self) -> float:
        """Seconds of CPU time used until now."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def main() -> None:
    """Print the figures; nothing is asserted."""
    if not sys.platform.startswith("linux"):
        print("read from /proc: Linux only")
        return
    with FakeHub() as hub:
        for blobs in (0, BLOBS):
            with Machine("idle", tracker=NOBODY, hub=hub.url) as machine, IdleAgent(machine, blobs=blobs, size=64 << 20) as agent:
                before, started = agent.cpu_s(), time.monotonic()
                time.sleep(10)  # to see what idling costs
                cpu = (agent.cpu_s() - before) / (time.monotonic() - started)
                print(f"{blobs} blobs: {agent.rss_mib():.1f} MiB, {agent.open_files()} open files, {cpu:.2%} of a core")
        print(f"the bar is {BAR_MIB} MiB")


if __name__ == "__main__":
    main()
