"""What all processes of a tracker take, and 100,000 peers beside them (PSS: what several share is counted once).

The tracker is the real one, asked a few hundred times for its pages, its API and its metrics. Peers of so many addresses can
announce from nowhere on one host, so they are put into a store of their own process, and what that grew by is added: peers of
10,000 machines with ten torrents each, and the worst that can be, a machine for each peer.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.support.tracker import TrackerProcess

SWARMS, PEERS = 1000, 100_000
ASKED = 200
BAR_MIB = 300
PATHS = ("/", "/api/v1/torrents", "/api/v1/repos", "/metrics", "/api/models", "/healthz")

_STORE = f"""
import sys
from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.store import Role
from tests.bench.memory import pss_mib
hashes = [b"swarm%015d" % i for i in range({SWARMS})]
before = pss_mib("self")
store = MemoryStore()
store.register(hashes)
each = int(sys.argv[1])
for number in range({PEERS}):
    machine = number // each
    endpoint = bytes((10, machine >> 16, machine >> 8 & 255, machine & 255)) + (6881).to_bytes(2, "big")
    store.put(hashes[number % {SWARMS}], endpoint, Role(number % 2), now=0.0, owner=b"-LT2110-%012dABCDEF01" % number)
print(pss_mib("self") - before)
"""


def main() -> None:
    stores = {each: _store_mib(each) for each in (10, 1)}
    for each, mib in stores.items():
        print(f"  {PEERS:,} peers of {PEERS // each:,} addresses in {SWARMS:,} swarms: {mib:.1f} MiB")
    with tempfile.TemporaryDirectory() as folder, TrackerProcess(Path(folder) / "data") as tracker:
        for number in range(ASKED):
            with urllib.request.urlopen(tracker.url + PATHS[number % len(PATHS)], timeout=10) as answer:
                answer.read()
        total = 0.0
        for pid, command in _family(tracker.pid):
            mib = pss_mib(str(pid))
            total += mib
            print(f"  {mib:6.1f} MiB  {command}")
    for each, mib in stores.items():
        whole = total + mib
        held = "held" if whole <= BAR_MIB else "MISSED"
        print(f"  all, with peers of {PEERS // each:,} addresses: {whole:.1f} MiB (bar {BAR_MIB} MiB: {held})")


def _store_mib(each: int) -> float:
    command = [sys.executable, "-c", _STORE, str(each)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def pss_mib(pid: str) -> float:
    """Return what a process takes, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _family(pid: int) -> list[tuple[int, str]]:
    """Return a process and all below it, with what each was started as."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return [(pid, command[:100]), *(one for child in children for one in _family(int(child)))]


if __name__ == "__main__":
    main()
