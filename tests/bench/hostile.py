"""One machine of the LAN does all the harm that it can, in one way after the other: what does another machine notice?

Three machines, apart by network namespaces (`tests/support/network.py`), each at a cable of 1 Gbit/s: the server with tracker
and seeder, a victim, and an attacker that is bounded by nothing else than what one process can send. It has `nice 19`: another
machine takes the server's network, not its processors. The victim looks 30 files up, five times a second, each time on a new
connection, and downloads file after file with the hook, at 8 MiB/s. Told are its look-ups, its downloads, the longest time in
which 256 KiB did not come, what came from the Hub instead of the LAN, how much more memory each process takes, how often the
victim's kernel sent something again because no word of it came back, and how many connections the server's kernel had no room
for. The reference is the same without an attacker, in the same run.

LLMPT_BENCH_SECONDS: how long each attack lasts (10); LLMPT_BENCH_ATTACKS: only those whose names have one of these words.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from llmpt.core.metainfo import Metainfo
from llmpt.host.listening import raise_descriptor_limit
from llmpt.tracker.client import TrackerClient
from tests.bench._attacker import Attack, attacking
from tests.bench._attacks import AGENT_PORT, BLOB_PORT, PEER_PORT, attacks
from tests.support import network
from tests.support.cache_builder import CacheBuilder
from tests.support.certificates import Authority
from tests.support.hub import FakeHub
from tests.support.machine import Machine
from tests.support.network import SERVER, Host
from tests.support.seeder import SeederProcess
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import MIB, big, manifest, packed, torrent

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("LLMPT_BENCH_SECONDS", "10"))
ONLY = [word for word in os.environ.get("LLMPT_BENCH_ATTACKS", "").split(",") if word]
LOOK_EVERY_S, LOOK_TIMEOUT_S = 0.2, 10.0
FILES, FILE_BYTES, RATE = 8, 16 * MIB, "8M"
STEP_BYTES = 256 << 10
LARGE, SMALL = 60, 940  # torrents of the catalogue: a page of metainfo, and as many as one question may be about
LOOKED_UP = 30
BAR_S, STOPPED_S = 1.0, 5.0


def main() -> None:
    if not network.is_apart("tests.bench.hostile"):
        return
    raise_descriptor_limit()
    network.open_bridge()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmpt-bench-")))
        world = stack.enter_context(World(scratch))
        print(f"{SECONDS:g} s each; look-ups in ms; MiB more of memory than before")
        print(_HEAD)
        reference = _measured(world, "nothing", None)
        print(_row(reference, reference), flush=True)
        worst = [
            _told(_measured(world, name, attack), reference)
            for name, attack in attacks(world).items()
            if not ONLY or any(word in name for word in ONLY)
        ]
        print(_row(_measured(world, "nothing, again", None), reference))
    bad = [one.name for one in worst if one.is_bad]
    print(f"above {BAR_S:g} s, or no bytes for {STOPPED_S:g} s: {', '.join(bad) or 'none'}")


class World:
    """The server, a victim and an attacker. A context manager."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._downloaded = 0

    def __enter__(self) -> World:
        with ExitStack() as stack:
            self.victim, self.mallory = stack.enter_context(Host("victim", 2)), stack.enter_context(Host("mallory", 66))
            for prefix in ("fd66::bad:0:0:0/96", "fd67::/48"):  # PREFIX, SITE
                self.mallory.has_addresses(prefix)
            repo = CacheBuilder(self._root / "cache").repo("bench/files")
            names = [f"{number}.bin" for number in range(FILES)]
            repo.commit({name: os.urandom(FILE_BYTES) for name in names}, lfs=names)
            self.etag = next(repo.folder.glob("blobs/*")).name
            self.hub = stack.enter_context(FakeHub(cache=self._root / "cache", host="0.0.0.0"))
            wheel = self._root / "dist" / "llmpt-9.0-py3-none-any.whl"
            wheel.parent.mkdir()
            wheel.write_bytes(bytes(24 * MIB))
            self._settings = {"LLMPT_BIND": "0.0.0.0,[::]", "LLMPT_DIST": str(wheel.parent), "LLMPT_UPSTREAM": self.hub.url}
            self.tracker = stack.enter_context(TrackerProcess(self._root / "data", settings=self._settings))
            self.tls = stack.enter_context(self._tracker_with_tls())
            known = [torrent(f"large {number}", 300 * MIB) for number in range(LARGE)]
            known += [torrent(f"small {number}", 2 * MIB) for number in range(SMALL)]
            self.etags = [one.etag.value for one in known]
            self._look_up = json.dumps({"etags": self.etags[:LOOKED_UP]})
            for one in (self.tracker, self.tls):
                _publish(one, known)
            ports = {"LLMPT_PEER_PORT": str(PEER_PORT), "LLMPT_BLOB_PORT": str(BLOB_PORT)}
            self.seeder = stack.enter_context(
                SeederProcess(
                    self._root / "data",
                    self._root / "cache",
                    tracker=self.tracker.url,
                    hub=self.hub.url,
                    **self._settings,
                    **ports,
                )
            )
            self.info_hash = bytes.fromhex(eventually(self._seeded, timeout_s=60, what="the files to be seeded"))[:20]
            with self.victim.inside():
                self._machine = stack.enter_context(
                    Machine(
                        "victim",
                        tracker=self.tracker.url.replace("127.0.0.1", SERVER),
                        hub=self.hub.url.replace("127.0.0.1", SERVER),
                        LLMPT_DOWNLOAD_LIMIT=RATE,
                        LLMPT_PEER_PORT=str(AGENT_PORT),
                        HF_USE_P2P="1",
                        LLMPT_QUIET="1",
                        HF_HUB_DISABLE_PROGRESS_BARS="1",
                    )
                )
                self._worker = stack.enter_context(self._started())
            stack.callback(self._worker.kill)
            self.download()  # which starts the agent
            self.pids = {"tracker": self.tracker.pid, "seeder": self.seeder.pid, "agent": int(self._machine.status()["pid"])}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def download(self) -> None:
        """Download a file with the hook, on the victim's machine, and remove it."""
        name = f"{self._downloaded % FILES}.bin"
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps({"repo": "bench/files", "file": name, "p2p": None}) + "\n")
        self._worker.stdin.flush()
        if not self._worker.stdout.readline():
            raise RuntimeError(f"the victim's download failed\n{self._machine.agent_log()}")
        self._downloaded += 1
        for folder in self._machine.root.glob("llmpt-bench-*/*"):
            shutil.rmtree(folder)

    def look_up(self, *, over_tls: bool) -> float:
        """Look files up, from the victim's machine; return the seconds that it took. Raises `OSError`, `HTTPException`."""
        began = time.monotonic()
        tracker = self.tls if over_tls else self.tracker
        connection: http.client.HTTPConnection
        if over_tls:
            context = ssl._create_unverified_context()  # whose certificate it is, is not measured
            connection = http.client.HTTPSConnection(SERVER, tracker.http_port, timeout=LOOK_TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(SERVER, tracker.http_port, timeout=LOOK_TIMEOUT_S)
        with closing(connection):
            connection.request("POST", "/api/v1/lookup", self._look_up, {"Content-Type": "application/json"})
            if len(json.loads(connection.getresponse().read())["torrents"]) != LOOKED_UP:
                raise http.client.HTTPException("an answer without the files")
        return time.monotonic() - began

    def attacked(self, attack: Attack | None) -> AbstractContextManager[dict[str, int]]:
        """Let the attacker do this; what is yielded holds, in the end, how much it did."""
        return nullcontext({}) if attack is None else attacking(attack, inside=self.mallory.inside)

    def _seeded(self) -> str | None:
        found = TrackerClient(self.tracker.url).get_torrents(repo_id="bench/files") or []
        ready = len(found) >= FILES and all(one.seeders for one in found)
        return next(one.info_hash for one in found if one.etag == self.etag) if ready else None

    def _tracker_with_tls(self) -> TrackerProcess:
        folder = self._root / "tls"
        folder.mkdir()
        pem = str(Authority(folder, "bench").certificate("server.pem"))
        settings = self._settings | {"LLMPT_TLS_CERT": pem, "LLMPT_TLS_KEY": pem}
        return TrackerProcess(folder / "data", settings=settings)

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "tests" / "bench" / "_worker.py")]
        return subprocess.Popen(command, env=self._machine.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _publish(tracker: TrackerProcess, known: Sequence[Metainfo]) -> None:
    client = TrackerClient(tracker.url, token=tracker.token, timeout_s=30)
    for batch in (known[:LARGE], known[LARGE:]):
        client.publish({"torrents": packed(*batch)})
    client.publish(manifest(*(big(f"{number}.bin", meta) for number, meta in enumerate(known))))


@dataclass
class Noticed:
    """What was noticed of an attack: `looks_s` of those look-ups that were answered, `lost` that were not, downloads that came to
    an end, the longest time without `STEP_BYTES`, `hub_bytes` that came from the Hub, `grown_bytes` of each process."""

    name: str
    looks_s: list[float] = field(default_factory=list)
    lost: int = 0
    downloads: int = 0
    gap_s: float = 0.0
    hub_bytes: int = 0
    grown_bytes: dict[str, int] = field(default_factory=dict)
    did: dict[str, int] = field(default_factory=dict)
    load: float = 0.0
    timeouts: int = 0
    dropped: int = 0

    @property
    def is_bad(self) -> bool:
        """Say whether a look-up took more than a second, or the download stopped."""
        return bool(self.lost) or max(self.looks_s, default=BAR_S) > BAR_S or self.gap_s > STOPPED_S or bool(self.hub_bytes)


def _measured(world: World, name: str, attack: Attack | None) -> Noticed:
    noticed, over = Noticed(name), threading.Event()
    over_tls = "TLS" in name
    hub_bytes = world.hub.bytes_sent
    before = {who: _memory(pid) for who, pid in world.pids.items()}
    timeouts, dropped = world.victim.timeouts(), _dropped()

    def look() -> None:
        with world.victim.inside():
            while not over.is_set():
                began = time.monotonic()
                try:
                    noticed.looks_s.append(world.look_up(over_tls=over_tls))
                except (OSError, ValueError, http.client.HTTPException):
                    noticed.lost += 1
                over.wait(max(0.0, began + LOOK_EVERY_S - time.monotonic()))

    def watch() -> None:
        came, at = world.victim.received_bytes(), time.monotonic()
        while not over.wait(0.02):
            now = time.monotonic()
            noticed.gap_s = max(noticed.gap_s, now - at)
            if world.victim.received_bytes() - came >= STEP_BYTES:
                came, at = world.victim.received_bytes(), now

    def download() -> None:
        while not over.is_set():
            world.download()
            noticed.downloads += 1

    def weigh() -> None:
        while not over.wait(1.0):
            for who, pid in world.pids.items():
                noticed.grown_bytes[who] = max(noticed.grown_bytes.get(who, 0), _memory(pid) - before[who])

    with world.attacked(attack) as noticed.did:
        time.sleep(0.5 if attack else 0.0)
        threads = [threading.Thread(target=work) for work in (look, watch, download, weigh)]
        for thread in threads:
            thread.start()
        over.wait(SECONDS)
        noticed.load = os.getloadavg()[0]
        over.set()
        for thread in threads:
            thread.join()
    noticed.hub_bytes = world.hub.bytes_sent - hub_bytes
    noticed.timeouts, noticed.dropped = world.victim.timeouts() - timeouts, _dropped() - dropped
    return noticed


def _dropped() -> int:
    """Return how many connections the server's kernel had no room for."""
    return network.counters(os.getpid())["ListenDrops"]


_COLUMNS = "{:28} {:>5} {:>5} {:>6} {:>5} {:>4}  {:>5} {:>5} {:>5}  {:>6} {:>6} {:>6}  {:>9} {:>9} {:>8} {:>4} {:>5} {:>6}"
_HEAD = _COLUMNS.format(
    *("attacker", "p50", "p99", "max", "p99÷", "lost", "files", "gap s", "÷", "tracker", "seeder", "agent"),
    *("conns/s", "said/s", "MiB/s", "load", "again", "drops"),
)


def _row(one: Noticed, reference: Noticed) -> str:
    looks = sorted(one.looks_s) or [float("nan")]
    p99, usual = looks[int(len(looks) * 0.99)], sorted(reference.looks_s)[int(len(reference.looks_s) * 0.99)]
    grown = [f"{one.grown_bytes.get(who, 0) >> 20:+d}" for who in ("tracker", "seeder", "agent")]
    did = [f"{one.did.get(what, 0) / SECONDS:.0f}" for what in ("connections", "said")]
    moved = (one.did.get("sent_bytes", 0) + one.did.get("received_bytes", 0)) / SECONDS / MIB
    ratios = f"{p99 / usual:.1f}", f"{one.gap_s / reference.gap_s:.1f}"
    figures = [f"{statistics.median(looks) * 1e3:.0f}", f"{p99 * 1e3:.0f}", f"{looks[-1] * 1e3:.0f}", ratios[0], one.lost]
    downloads = [one.downloads, f"{one.gap_s:.1f}", ratios[1]]
    bad = "  <--" if one.is_bad else ""
    bad += f" {one.hub_bytes >> 20} MiB from the Hub" if one.hub_bytes else ""
    ends = f"{moved:.0f}", f"{one.load:.1f}", one.timeouts, one.dropped
    return _COLUMNS.format(one.name, *figures, *downloads, *grown, *did, *ends) + bad


def _told(one: Noticed, reference: Noticed) -> Noticed:
    print(_row(one, reference), flush=True)
    return one


def _memory(pid: int) -> int:
    """Return the memory of a process and all below it, in bytes; what they share is counted once."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next(int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Pss:"))
    return own + sum(_memory(int(child)) for child in children)


if __name__ == "__main__":
    main()
