"""The LAN of a scenario: a server with tracker, seeder, nginx and one repo; machines with a warm program each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmpt.tracker.client import TrackerClient
from tests.bench.filling.scenarios import MIB, Scenario
from tests.support import network, nginx
from tests.support.cache_builder import CacheBuilder
from tests.support.hub import FakeHub
from tests.support.machine import Machine
from tests.support.network import Host
from tests.support.seeder import SeederProcess
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]
REPO, WARM, NGINX_PORT = "bench/swarm", "bench/warm", 8090
_WORKER = ROOT / "tests" / "bench" / "_worker.py"


class Server:
    """The server of a scenario. A context manager."""

    def __init__(self, root: Path, scenario: Scenario) -> None:
        self._root, self._scenario = root, scenario
        self.host = Host("server", 100, rate=f"{scenario.server_mbit}mbit")

    def __enter__(self) -> Server:
        with ExitStack() as stack:
            stack.enter_context(self.host)
            cache, each = CacheBuilder(self._root / "cache"), self._scenario.each_bytes
            files = {f"part-{number:03}.bin": os.urandom(each) for number in range(self._scenario.files)}
            cache.repo(REPO).commit(files, lfs=files)
            cache.repo(WARM).commit({"warm.bin": os.urandom(MIB)}, lfs=["warm.bin"])
            self.hub = stack.enter_context(FakeHub(cache=self._root / "cache", host="0.0.0.0"))
            self.hub_url = self.hub.url.replace("127.0.0.1", network.SERVER)
            bind = {"LLMPT_BIND": "0.0.0.0"}
            with self.host.inside():
                stack.enter_context(self._plain_http())
                tracker = stack.enter_context(TrackerProcess(self._root / "data", settings=bind))
                data = self._root / "data"
                self.seeder = SeederProcess(data, self._root / "cache", tracker=tracker.url, hub=self.hub_url, **bind)
                stack.enter_context(self.seeder)
                swarms = 1 + (self._scenario.files if each >= MIB else 0)
                eventually(lambda: _seeded(tracker.url) == swarms, timeout_s=60, what="all to be seeded")
            self.url = tracker.url.replace("127.0.0.1", self.host.v4)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def _plain_http(self) -> Iterator[None]:
        """One file as large as the whole repo, by plain HTTP."""
        (self._root / "www").mkdir()
        with (self._root / "www" / "whole.bin").open("wb") as whole:
            whole.truncate(self._scenario.total_bytes)
        config = f"sendfile on; server {{ listen 0.0.0.0:{NGINX_PORT}; root {self._root}/www; }}"
        with nginx.running(self._root / "nginx", config):
            yield

    @property
    def plain_url(self) -> str:
        return f"http://{self.host.v4}:{NGINX_PORT}/whole.bin"


@dataclass
class Workstation:
    """A machine and its warm program."""

    host: Host
    machine: Machine
    program: subprocess.Popen[str]

    def download(self, repo: str, *, p2p: bool = True) -> float:
        """Take a snapshot of the repo into an empty cache; return the seconds."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(json.dumps({"repo": repo, "file": None, "p2p": p2p}) + "\n")
        self.program.stdin.flush()
        return float(json.loads(self.program.stdout.readline())["seconds"])


@contextmanager
def workstation(server: Server, number: int, mbit: int) -> Iterator[Workstation]:
    """Have a machine on the LAN, its agent started and the library warm."""
    with Host(f"m{number}", number, rate=f"{mbit}mbit") as host, ExitStack() as stack:
        with host.inside():
            made = Machine(host.name, tracker=server.url, hub=server.hub_url, HF_USE_P2P="1", LLMPT_QUIET="1")
            machine = stack.enter_context(made)
            program = subprocess.Popen(
                [sys.executable, str(_WORKER)], env=machine.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        stack.callback(program.wait, 10)
        assert program.stdin is not None
        stack.callback(program.stdin.close)
        station = Workstation(host, machine, program)
        station.download(WARM)
        yield station


def _seeded(url: str) -> int:
    found = [one for repo in (REPO, WARM) for one in TrackerClient(url).get_torrents(repo_id=repo) or []]
    return sum(bool(one.seeders) for one in found)
