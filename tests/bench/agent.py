"""What an agent costs while it does nothing but seed: memory and open files with 1,000 blobs; and when a started one answers.

The bars are 80 MiB, and 1 s to the first answer, whatever it seeds. The blobs are sparse files of 64 MiB (with 1,024 pieces
each); nobody asks for them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType

from llmpt.core.errors import AgentUnavailable
from llmpt.link.client import AgentClient
from llmpt.link.requests import Hello
from llmpt.settings import ClientSettings
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
from llmpt.disk.inventory import Inventory
from llmpt.disk.stamp import FileStamp
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
        eventually(lambda: len(self._machine.status()["seeding"]) == self._blobs, timeout_s=60, what="all to be seeded")
        status = self._machine.status()
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
        first = {blobs: _first_answer(hub, blobs) for blobs in (0, BLOBS, 20 * BLOBS)}
        for blobs, (answer_s, all_s) in first.items():
            ratio = answer_s / first[0][0]
            print(f"{blobs} blobs: first answer after {answer_s:.2f} s ({ratio:.2f} x none), all seeded after {all_s:.2f} s")


def _first_answer(hub: FakeHub, blobs: int) -> tuple[float, float]:
    """Return how long after its start an agent answers, and seeds all."""
    with Machine("first", tracker=NOBODY, hub=hub.url) as machine:
        machine.run("-c", MAKE, str(machine.root / "blobs"), str(blobs), str(1 << 20))
        client = AgentClient(ClientSettings.read(machine.environ), environ=machine.environ)
        started = time.monotonic()
        with machine.start("-m", "llmpt.agent") as agent:
            try:
                eventually(lambda: _answers(client), timeout_s=120, what="an answer")
                answer_s = time.monotonic() - started
                while (
                    blobs and agent.stderr and "of earlier downloads" not in (agent.stderr.readline() or "of earlier downloads")
                ):
                    pass
                return answer_s, time.monotonic() - started
            finally:
                agent.terminate()
                agent.communicate()


def _answers(client: AgentClient) -> bool:
    try:
        return bool(client.ask(Hello()))
    except AgentUnavailable:
        return False


if __name__ == "__main__":
    main()
