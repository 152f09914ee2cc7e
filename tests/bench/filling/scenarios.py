"""What is measured: each scenario is a value, and its fluid bound follows from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 1 << 20
SCALE_MIB = int(os.environ.get("LLMPT_BENCH_MIB", "64"))  # of the whole repo, but for the small files
SERVER_MBIT = 100


@dataclass(frozen=True)
class Scenario:
    """N machines want one repo of `files` equal files.

    mbit: of each machine's cable; server_mbit: of the server's
    slow_mbit: of the first machine's cable; 0: it is as the others
    apart: each begins so many F/u after the one before
    leave: a machine goes when it is done
    dies_at: the share of F/u after which the seeder is killed; 0: never
    background: the share of the server's cable that another machine takes by HTTP all the while
    garbage: one more machine has the file, and other bytes in it than it says
    file_bytes: of each; 0: the scale, divided
    """

    name: str
    what: str
    machines: int
    mbit: int = SERVER_MBIT
    server_mbit: int = SERVER_MBIT
    slow_mbit: int = 0
    files: int = 1
    file_bytes: int = 0
    apart: float = 0.0
    leave: bool = False
    dies_at: float = 0.0
    background: float = 0.0
    garbage: bool = False

    @property
    def each_bytes(self) -> int:
        return self.file_bytes or SCALE_MIB * MIB // self.files

    @property
    def total_bytes(self) -> int:
        return self.each_bytes * self.files

    @property
    def cables_mbit(self) -> list[int]:
        """Those of the machines."""
        return [self.slow_mbit or self.mbit] + [self.mbit] * (self.machines - 1)

    def bounds_s(self, goodput: float, taken_mbit: float = 0.0) -> list[float]:
        """Return the fluid bound of each machine, from its own beginning.

        Together: max(F/u_s, F/d_i, N·F/(u_s + Σu)). One after the other: F/d_i, for those that came before may give.
        `goodput` is what TCP carries of a cable's rate, `taken_mbit` what others took of the server's.
        """
        bits, server = self.total_bytes * 8 / 1e6 / goodput, self.server_mbit - taken_mbit
        cables = self.cables_mbit
        shared = 0.0 if self.apart else max(1 / server, len(cables) / (server + sum(cables)))
        return [bits * max(shared, 1 / cable) for cable in cables]


def _together(machines: int) -> Scenario:
    mbit = min(SERVER_MBIT, 4 * SERVER_MBIT // machines)  # what two processors can move
    return Scenario(f"together-{machines}", f"{machines} at the same moment", machines, mbit, mbit)


TOGETHER = [_together(machines) for machines in (1, 2, 4, 8, 16)]
OTHERS = [
    Scenario("sequence", "one after the other, each half a download later", 6, apart=0.5),
    Scenario("leaving", "the same, and each goes when it is done", 6, apart=0.5, leave=True),
    Scenario("slow-machine", "one of four has a quarter of the others' cable", 4, slow_mbit=25),
    Scenario("fast-server", "the server's cable is ten times as fast", 4, 50, 500),
    Scenario("sharded", "a model of 12 files", 4, files=12),
    Scenario("small-files", "500 files of 20 KiB, which have no torrent", 2, files=500, file_bytes=20 << 10),
    Scenario("seeder-dies", "the seeder is killed at half", 4, dies_at=0.5),
    Scenario("garbage", "one more machine gives wrong bytes", 4, garbage=True),
    Scenario("background", "another machine takes a third of the server's cable over HTTP", 4, background=1 / 3),
]
SCENARIOS: Mapping[str, Scenario] = {one.name: one for one in (*TOGETHER, *OTHERS)}


@dataclass
class Found:
    """What was measured of a scenario; it is written as JSON.

    http_s: one machine takes one file of the same size from nginx, over the same cable, and nothing else goes on
    library_s: the last machine's seconds without the hook, where HTTP is the ordinary path of all files; 0: not measured
    seconds, bounds_s: of each machine, from its own beginning
    sent: bytes that the server sent ÷ F; hub: that the Hub sent ÷ F; wrong: that the wrong machine sent ÷ F
    cpu_s_per_gib: of the agents and programs, per GiB that came; rss_mib: the largest agent
    busy: the share of the processors' time
    """

    http_s: float
    seconds: list[float]
    bounds_s: list[float]
    library_s: float = 0.0
    sent: float = 0.0
    hub: float = 0.0
    wrong: float = 0.0
    cpu_s_per_gib: float = 0.0
    rss_mib: float = 0.0
    busy: float = 0.0
    scale_mib: int = field(default=SCALE_MIB)

    @property
    def ratios(self) -> list[float]:
        return [seconds / bound for seconds, bound in zip(self.seconds, self.bounds_s, strict=True)]
