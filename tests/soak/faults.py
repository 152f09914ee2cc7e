"""What can happen to a LAN, as things to do and to undo. Each is done to real processes, files and connections.

with fault(universe, dice):
    …                       # it lasts as long as the block does
"""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.soak.liar import liar
from tests.support.hub import Mode
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine
from tests.support.process import ServerProcess
from tests.support.waiting import eventually

MIB = 1 << 20
FOREIGN = b"not this" * 1000  # what somebody else puts where a file is being written; nobody but its owner may remove it


@dataclass
class Universe:
    """The LAN, its machines, and which of them have an agent."""

    lan: Lan
    with_agent: list[Machine]
    without_agent: list[Machine]
    repo: str

    def agent_pids(self) -> list[int]:
        return [pid for machine in self.with_agent if (pid := agent_pid(machine))]


Fault = Callable[[Universe, random.Random], AbstractContextManager[None]]


def agent_pid(machine: Machine) -> int | None:
    """Return the agent's process, without asking it anything."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if b"llmpt.agent" in (entry / "cmdline").read_bytes() and (
                    f"XDG_RUNTIME_DIR={machine.root}/run".encode() in (entry / "environ").read_bytes()
                ):
                    return int(entry.name)
    return None


def family(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    children: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return [pid, *(grandchild for child in children for grandchild in family(child))]


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    _signal(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pids, signal.SIGCONT)


@contextmanager
def agent_killed(universe: Universe, dice: random.Random) -> Iterator[None]:
    _signal([pid for pid in [agent_pid(dice.choice(universe.with_agent))] if pid], signal.SIGKILL)
    yield


@contextmanager
def agent_frozen(universe: Universe, dice: random.Random) -> Iterator[None]:
    with _stopped([pid for pid in [agent_pid(dice.choice(universe.with_agent))] if pid]):
        yield


@contextmanager
def _limited(pid: int | None, which: int, most: Callable[[Path], int]) -> Iterator[None]:
    if pid is None:
        yield
        return
    try:
        before = resource.prlimit(pid, which)
        resource.prlimit(pid, which, (most(Path(f"/proc/{pid}")), before[1]))
    except OSError:  # it has ended
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            resource.prlimit(pid, which, before)


@contextmanager
def agent_without_descriptors(universe: Universe, dice: random.Random) -> Iterator[None]:
    pid = agent_pid(dice.choice(universe.with_agent))
    with _limited(pid, resource.RLIMIT_NOFILE, lambda process: 1 + max(int(fd.name) for fd in (process / "fd").iterdir())):
        yield


def _address_space(process: Path) -> int:
    return int((process / "statm").read_text().split()[0]) * resource.getpagesize()


@contextmanager
def agent_without_threads(universe: Universe, dice: random.Random) -> Iterator[None]:
    """The address space has no room for one more stack: "can't start new thread"."""
    pid = agent_pid(dice.choice(universe.with_agent))
    with _limited(pid, resource.RLIMIT_AS, lambda process: _address_space(process) + 2 * MIB):
        yield


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Fill the file system of a folder, to the last page, for as long as the block lasts."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            space = os.statvfs(folder)
            os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize)
            file.seek(0, os.SEEK_END)
            while True:
                file.write(bytes(4096))
        yield
    finally:
        ballast.unlink(missing_ok=True)


@contextmanager
def state_disk_full(universe: Universe, dice: random.Random) -> Iterator[None]:
    with _full(dice.choice(universe.with_agent).root / ".local" / "state"):
        yield


@contextmanager
def cache_disk_full(universe: Universe, _dice: random.Random) -> Iterator[None]:
    with _full(universe.without_agent[0].hf_home):
        yield


def _each_moment(act: Callable[[], None], stop: threading.Event) -> None:
    while not stop.wait(0.1):
        act()


@contextmanager
def _meanwhile(act: Callable[[], None]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=_each_moment, args=(act, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _unfinished(machine: Machine) -> list[Path]:
    with suppress(OSError):
        return list(machine.cache.rglob("*.incomplete"))
    return []


@contextmanager
def unfinished_removed(universe: Universe, dice: random.Random) -> Iterator[None]:
    """A cleaner takes away what is being written."""
    machine = dice.choice([*universe.with_agent, *universe.without_agent])

    def clean() -> None:
        for path in _unfinished(machine):
            if dice.random() < 0.3:
                path.unlink(missing_ok=True)

    with _meanwhile(clean):
        yield


@contextmanager
def unfinished_replaced(universe: Universe, dice: random.Random) -> Iterator[None]:
    """Somebody puts another file where one is being written: one of ours, for the library itself moves what it finds there."""
    machine, hub = dice.choice(universe.with_agent), universe.lan.hub

    def is_ours(path: Path) -> bool:
        name = f"{path.name.partition('.')[0]}.bin"
        return hub.file(universe.repo, name).size >= BIG and not hub.gets(name)

    def replace_one() -> None:
        for path in _unfinished(machine):
            if is_ours(path) and dice.random() < 0.2:
                with suppress(OSError):
                    other = path.with_name(f"{path.name}.other")
                    other.write_bytes(FOREIGN)
                    other.rename(path)

    with _meanwhile(replace_one):
        yield


@contextmanager
def _down(server: ServerProcess) -> Iterator[None]:
    """Killed, with all that it has started, and started anew in the end."""
    pids = family(server.pid)
    server.kill()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), timeout_s=20, what="its end")
    try:
        yield
    finally:
        server.start()


@contextmanager
def tracker_restarted(universe: Universe, _dice: random.Random) -> Iterator[None]:
    with _down(universe.lan.tracker):
        yield


@contextmanager
def tracker_frozen(universe: Universe, _dice: random.Random) -> Iterator[None]:
    with _stopped(family(universe.lan.tracker.pid)):
        yield


@contextmanager
def seeder_restarted(universe: Universe, _dice: random.Random) -> Iterator[None]:
    with _down(universe.lan.seeder):
        yield


@contextmanager
def seeder_frozen(universe: Universe, _dice: random.Random) -> Iterator[None]:
    with _stopped(family(universe.lan.seeder.pid)):
        yield


@contextmanager
def _hub(universe: Universe, mode: Mode) -> Iterator[None]:
    hub = universe.lan.hub
    before, hub.mode = hub.mode, mode
    try:
        yield
    finally:
        hub.mode = before


@contextmanager
def hub_failing(universe: Universe, dice: random.Random) -> Iterator[None]:
    with _hub(universe, Mode(fail_gets_status=dice.choice((429, 500, 503)))):
        yield


@contextmanager
def hub_cutting(universe: Universe, dice: random.Random) -> Iterator[None]:
    with _hub(universe, Mode(cut_after_bytes=dice.randrange(1, 900_000))):
        yield


@contextmanager
def hub_slow(universe: Universe, dice: random.Random) -> Iterator[None]:
    with _hub(universe, Mode(total_rate_bytes_s=dice.choice((400_000, 2_000_000)))):
        yield


@contextmanager
def blob_rotten(universe: Universe, dice: random.Random) -> Iterator[None]:
    """Some bytes of a file that the seeder serves are others, under the same times."""
    blobs = [path for path in universe.lan.cache.rglob("blobs/*") if path.stat().st_size > MIB]
    blob = dice.choice(blobs)
    before = blob.stat()
    with blob.open("r+b") as file:
        file.seek(before.st_size // 2)
        good = file.read(64)
        file.seek(before.st_size // 2)
        file.write(bytes(64))
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    try:
        yield
    finally:
        with blob.open("r+b") as file:
            file.seek(before.st_size // 2)
            file.write(good)
        os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))


@contextmanager
def liar_in_the_swarm(universe: Universe, dice: random.Random) -> Iterator[None]:
    torrents = universe.lan.torrents(universe.repo)
    some = dice.sample(torrents, min(20, len(torrents)))
    with liar(universe.lan.tracker.announce_url, [bytes.fromhex(torrent.info_hash)[:20] for torrent in some]):
        yield


AT_MACHINES: tuple[Fault, ...] = (
    agent_killed,
    agent_frozen,
    agent_without_descriptors,
    agent_without_threads,
    state_disk_full,
    cache_disk_full,
    unfinished_removed,
    unfinished_replaced,
)
AT_SERVERS: tuple[Fault, ...] = (
    tracker_restarted,
    tracker_frozen,
    seeder_restarted,
    seeder_frozen,
    hub_failing,
    hub_cutting,
    hub_slow,
    blob_rotten,
    liar_in_the_swarm,
)
MAY_FAIL = {hub_failing.__name__, hub_cutting.__name__, cache_disk_full.__name__}
"""Faults under which a download may fail, as it would without us: the Hub's, and a full disk."""


def healthy(universe: Universe) -> bool:
    """Whether the server says that it is well."""
    with suppress(OSError), urllib.request.urlopen(f"{universe.lan.tracker.url}/healthz", timeout=5) as answer:
        return bool(answer.status == 200)
    return False
