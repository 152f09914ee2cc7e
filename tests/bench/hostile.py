"""One machine of the LAN does all the harm that it can, in one way after the other: what does another machine notice?

Three machines, apart by network namespaces (`tests/support/network.py`): the server with tracker and seeder, a victim, and an
attacker that is bounded by nothing but what one process can send. It has `nice 19`: another machine takes the server's network,
not its processors. The victim looks 30 files up, five times a second, each time on a new connection, and downloads file after
file with the hook, at 8 MiB/s. Told are its look-ups, its downloads, the longest time in which 256 KiB did not come, what came
from the Hub instead of the LAN, and how much more memory each process takes. The reference is the same without an attacker, in
the same run.

LLMPT_BENCH_SECONDS: how long each attack lasts (10); LLMPT_BENCH_ATTACKS: only those whose names have one of these words.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from urllib.parse import quote_from_bytes

from llmpt.core.metainfo import Metainfo
from llmpt.host.listening import raise_descriptor_limit
from llmpt.tracker.client import TrackerClient
from tests.bench._attacker import Attack
from tests.support import network
from tests.support.cache_builder import CacheBuilder
from tests.support.certificates import Authority
from tests.support.hub import FakeHub
from tests.support.machine import Machine
from tests.support.network import SERVER, SERVER_V6, Host
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
PEER_PORT, BLOB_PORT, AGENT_PORT = 6881, 8001, 7001
PREFIX = "fd66::bad:0:"  # in which the attacker has all addresses
MOST = 15_000  # connections
BLOCK = 16 << 10
METAINFO = "/api/v1/torrents?include=metainfo,peers&limit=100"


def main() -> None:
    if not network.is_apart():
        if not network.run_apart("tests.bench.hostile"):
            print("not measured: this needs Linux with user namespaces, unshare(1) and ip(8) (apt-get install iproute2)")
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
            for name, attack in _attacks(world).items()
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
            self.mallory.has_addresses(f"{PREFIX}0:0/96")
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

    @contextmanager
    def attacked(self, attack: Attack | None) -> Iterator[dict[str, int]]:
        """Let the attacker do this; what is yielded holds, in the end, how much it did."""
        did: dict[str, int] = {}
        if attack is None:
            yield did
            return
        command = ["nice", "-n", "19", sys.executable, "-m", "tests.bench._attacker"]
        with self.mallory.inside():
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(attack)))
        process.stdin.close()
        process.stdin = None
        try:
            yield did
        finally:
            process.terminate()
            did.update(json.loads(process.communicate(timeout=60)[0]))

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


def _attacks(world: World) -> dict[str, Attack]:
    api, blobs = [(SERVER, world.tracker.http_port)], [(SERVER, BLOB_PORT)]
    announces, peers = [(SERVER, world.tracker.announce_port)], [(SERVER, PEER_PORT)]
    agent, tls = [(world.victim.v4, AGENT_PORT)], [(SERVER, world.tls.http_port)]
    many_ports = [api[0], announces[0], blobs[0], peers[0], agent[0], tls[0]]
    info_hash = quote_from_bytes(world.info_hash)
    announce = f"/announce?info_hash={info_hash}&peer_id=-XX0000-{{r}}"[:-8] + "&port=6881&left=0&numwant=200"
    hello = ("\x13BitTorrent protocol" + "\0" * 8 + world.info_hash.decode("latin-1")) + "-XX0000-attacker-00-"
    wants = "".join(struct.pack(">IBIII", 13, 6, 0, n * BLOCK, BLOCK).decode("latin-1") for n in range(4))
    interested = struct.pack(">IB", 1, 2).decode("latin-1")
    everything = json.dumps({"etags": world.etags, "peers": 50})
    with_metainfo = json.dumps({"etags": world.etags, "metainfo_of": world.etags})
    share = json.dumps({"name": "mallory"})
    blob = f"/blobs/{world.etag}"
    return {
        "8000 connections that end": Attack(api, hangs_up=True),
        "8000 connections, silent": Attack(api, MOST),
        "8000 half heads": Attack(api, MOST, ["GET / HTTP/1.1\r\nX-Slow: "], drip_s=2),
        "8000 small bodies, slow": Attack(api, MOST, [_head("POST", "/api/v1/lookup", 200_000)], drip_s=2),
        "8000 large bodies, slow": Attack(api, MOST, [_head("POST", "/api/v1/lookup", 9 << 20) + " " * 4096], drip_s=2),
        "8000 large bodies": Attack(api, 64, [_head("POST", "/api/v1/lookup", 9 << 20)], body_bytes=9 << 20, again=True),
        "8000 bodies of JSON": Attack(api, 64, [_post("/api/v1/lookup", "[" + "0," * 400_000 + "0]")], again=True),
        "8000 files, unread": Attack(api, MOST, [_get("/dist/llmpt-9.0-py3-none-any.whl")], reads=False, window_bytes=4096),
        "8000 files, read": Attack(api, 200, [_get("/dist/llmpt-9.0-py3-none-any.whl")], again=True),
        "8000 metainfo, unread": Attack(api, MOST, [_get(METAINFO)], again=True, reads=False, window_bytes=4096),
        "8000 metainfo": Attack(api, 200, [_get(METAINFO)], again=True),
        "8000 look-ups": Attack(api, 500, [_post("/api/v1/lookup", everything)], again=True),
        "8000 look-ups, metainfo": Attack(api, 500, [_post("/api/v1/lookup", with_metainfo)], again=True),
        "8000 look-ups, IPv6": Attack(
            [(SERVER_V6, api[0][1])], 3000, [_post("/api/v1/lookup", everything)], prefix=PREFIX, again=True
        ),
        "8000 look-ups, new each": Attack(api, 500, [_post("/api/v1/lookup", everything, keeps=False)]),
        "8000 pages": Attack(api, 500, [_get("/"), _get("/api/v1/torrents?q=file"), _get("/api/models?search=n")], again=True),
        "8000 tokens": Attack(api, 200, [_post("/api/v1/tokens", share)], again=True),
        "8000 made-up names": Attack(api, 500, [_get("/api/models/made/up-{n}"), _get("/up/{n}/resolve/main/a.bin")], again=True),
        "8000 blobs elsewhere": Attack(api, 500, [_get(blob), _get("/bench/files/resolve/main/0.bin")], again=True),
        "8000 ports to try": Attack(api, 500, [_get("/api/v1/whoami?port=9{n}"[:-3] + "{n}")], again=True),
        "8000 refusals": Attack(api, 500, [_get("/none/of/these/{n}"), _get("/api/v1/nothing"), "rubbish\r\n\r\n"], again=True),
        "8000 TLS, silent": Attack(tls, MOST),
        "8000 TLS, half a hello": Attack(tls, MOST, ["\x16\x03\x01\x02\x00\x01"], drip_s=2),
        "8000 TLS, connections": Attack(tls, 500, ["GET / HTTP/1.1\r\n\r\n"], hangs_up=True),
        "6969 connections that end": Attack(announces, hangs_up=True),
        "6969 connections, silent": Attack(announces, MOST),
        "6969 half heads": Attack(announces, MOST, ["GET /announce?info_hash="], drip_s=2),
        "6969 announces": Attack(announces, 200, [_get(announce)], again=True),
        "6969 announces, new each": Attack(announces, 500, [_get(announce, keeps=False)]),
        "6969 announces, unread": Attack(announces, 500, [_get(announce)], again=True, reads=False, window_bytes=4096),
        "6969 announces, IPv6": Attack([(SERVER_V6, announces[0][1])], 2000, [_get(announce, keeps=False)], prefix=PREFIX),
        "6969 scrapes": Attack(announces, 200, [_get("/scrape"), _get(f"/scrape?info_hash={info_hash}")], again=True),
        "8001 connections that end": Attack(blobs, hangs_up=True),
        "8001 connections, silent": Attack(blobs, MOST),
        "8001 half heads": Attack(blobs, MOST, ["GET /blobs/"], drip_s=2),
        "8001 files, unread": Attack(blobs, MOST, [_get(blob)], reads=False, window_bytes=4096),
        "8001 files, read": Attack(blobs, 200, [_get(blob)], again=True),
        "8001 questions": Attack(
            blobs, 200, [_get("/blobs/" + "0" * 64), _get("/nothing"), _head("POST", "/knock", 0)], again=True
        ),
        "6881 connections that end": Attack(peers, hangs_up=True),
        "6881 connections, silent": Attack(peers, MOST),
        "6881 half handshakes": Attack(peers, MOST, [hello[:30]], drip_s=2),
        "6881 peers that ask, unread": Attack(peers, MOST, [hello + interested + wants], reads=False, window_bytes=4096),
        "6881 peers that ask": Attack(peers, 350, [hello + interested + wants * 16]),
        "6881 rubbish": Attack(peers, 500, ["{r}" * 4]),
        "agent connections that end": Attack(agent, hangs_up=True),
        "agent connections, silent": Attack(agent, MOST),
        "agent handshakes": Attack(agent, MOST, [hello + interested]),
        "rubbish everywhere": Attack(many_ports, 1000, ["\0\xff{r}\r\n\r\n" * 8], again=True),
        "connections everywhere": Attack(many_ports, MOST, ["", "G", "{r}"]),
    }


def _get(path: str, *, keeps: bool = True) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: {SERVER}\r\n{'' if keeps else 'Connection: close'}\r\n\r\n".replace(
        "\r\n\r\n\r\n", "\r\n\r\n"
    )


def _head(method: str, path: str, size: int, *, keeps: bool = True) -> str:
    more = "" if keeps else "Connection: close\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: {SERVER}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n{more}\r\n"


def _post(path: str, body: str, *, keeps: bool = True) -> str:
    return _head("POST", path, len(body), keeps=keeps) + body


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

    @property
    def is_bad(self) -> bool:
        """Say whether a look-up took more than a second, or the download stopped."""
        return bool(self.lost) or max(self.looks_s, default=BAR_S) > BAR_S or self.gap_s > STOPPED_S or bool(self.hub_bytes)


def _measured(world: World, name: str, attack: Attack | None) -> Noticed:
    noticed, over = Noticed(name), threading.Event()
    over_tls = "TLS" in name
    hub_bytes = world.hub.bytes_sent
    before = {who: _memory(pid) for who, pid in world.pids.items()}

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
    return noticed


_COLUMNS = "{:28} {:>5} {:>5} {:>6} {:>5} {:>4}  {:>5} {:>5} {:>5}  {:>6} {:>6} {:>6}  {:>9} {:>9} {:>8} {:>4}"
_HEAD = _COLUMNS.format(
    *("attacker", "p50", "p99", "max", "p99÷", "lost", "files", "gap s", "÷", "tracker", "seeder", "agent"),
    *("conns/s", "said/s", "MiB/s", "load"),
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
    return _COLUMNS.format(one.name, *figures, *downloads, *grown, *did, f"{moved:.0f}", f"{one.load:.1f}") + bad


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
