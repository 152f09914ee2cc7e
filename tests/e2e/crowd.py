"""A world in which many want the same at once: a server that has nothing yet, a Hub behind one slow line, and machines."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.worlds import Model
from tests.support.cache_builder import CacheBuilder, git_sha1, lfs_sha256
from tests.support.compose import Compose
from tests.support.containers import Hub, Tracker, Workstation

CONFIG = b'{"architectures": ["Dummy"]}\n'


def lay_out(cache: CacheBuilder, repo_id: str, *, files: int, size: int) -> Model:
    """Make a repo of so many big files, `size` bytes in all, and a small one, of random content."""
    names = [f"model-{number:05d}-of-{files:05d}.safetensors" for number in range(1, files + 1)]
    contents = {name: os.urandom(size // files) for name in names}
    commit = cache.repo(repo_id).commit({**contents, "config.json": CONFIG}, lfs=names, listing=True)
    facts = {name: (len(content), lfs_sha256(content)) for name, content in contents.items()}
    return Model(repo_id, commit, {**facts, "config.json": (len(CONFIG), git_sha1(CONFIG))})


@dataclass(frozen=True)
class Download:
    """What `together.py` says of one machine's download."""

    files: dict[str, str]
    seconds: float
    bar: list[tuple[float, int]]

    def check(self, model: Model) -> None:
        """The big files are there, and right."""
        assert {path: digest for path, digest in self.files.items() if path in model.big} == {
            path: etag for path, (_, etag) in model.big.items()
        }


class Crowd:
    """`machines` are numbered from 0. What the Hub has lies in one cache, what the server has in another."""

    def __init__(self, client: Any, hub_cache: Path, server_cache: Path) -> None:
        self.compose = Compose(client, "compose.yaml", "once.yaml", HF_HUB_CACHE=str(server_cache), LLMPT_TEST_HUB=str(hub_cache))

    def logs(self) -> str:
        return self.compose.logs()

    def start(self, machines: int) -> None:
        self.compose.up(machine=machines)
        self.hub = Hub(self.compose.container("hub"))
        self.machines = [Workstation(container) for container in self.compose.containers("machine")]
        self._threads = ThreadPoolExecutor(machines)

    @property
    def tracker(self) -> Tracker:
        return Tracker(self.compose.container("tracker"))

    def download(
        self,
        machines: Sequence[Workstation],
        model: Model,
        *,
        one_file: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> list[Future[Download]]:
        """Have machines download a repo, or its first big file, at the same moment."""
        start = time.time() + 2 + 0.4 * len(machines)
        file = [next(iter(model.big))] if one_file else []

        def run(machine: Workstation) -> Download:
            said = machine.run("python", "/programs/together.py", str(start), model.repo_id, *file, environ=environ)
            return Download(**json.loads(said.splitlines()[-1]))

        return [self._threads.submit(run, machine) for machine in machines]

    def sent(self, model: Model) -> Counter[str]:
        """How many bytes of the big files the Hub has sent, by the machine's address."""
        counted: Counter[str] = Counter()
        for request in self.hub.byte_requests():
            if request["repo_id"] == model.repo_id and request["path"] in model.big:
                counted[request["client"]] += request["bytes_sent"]
        return counted
