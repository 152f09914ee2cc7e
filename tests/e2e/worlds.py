"""The worlds of the end-to-end tests: a universe with no way out, one without a Hub, and a server as a user runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import minilm
from tests.support.compose import Compose
from tests.support.containers import Client, Hub, Tracker, Workstation
from tests.support.ports import free_ports
from tests.support.waiting import eventually

MIB = 1 << 20


@dataclass(frozen=True)
class Model:
    """A repo in the hand-made cache: path → (size in bytes, etag)."""

    repo_id: str
    commit: str
    files: dict[str, tuple[int, str]]

    @property
    def big(self) -> dict[str, tuple[int, str]]:
        """The files that have a swarm."""
        return {path: file for path, file in self.files.items() if file[0] >= MIB}

    @property
    def small(self) -> dict[str, tuple[int, str]]:
        return {path: file for path, file in self.files.items() if file[0] < MIB}

    @property
    def swarm_bytes(self) -> int:
        return sum(size for size, _ in self.big.values())


MINILM = Model(minilm.REPO_ID, minilm.COMMIT, minilm.FILES)


class Universe:
    """A server, a stand-in for the Hub and two workstations, on a network with no way out."""

    def __init__(self, compose: Compose, models: tuple[Model, ...]) -> None:
        self.compose = compose
        self.models = models
        self.hub: Hub

    def logs(self) -> str:
        return self.compose.logs()

    def start(self) -> None:
        """Bring the server and the first workstation up, and wait until everything big is published and seeded."""
        self.compose.up("tracker", "seeder", "hub", "downloader1")
        self.hub = Hub(self.compose.container("hub"))
        eventually(self._all_is_seeded, timeout_s=60, what="a seeder for every big file of the catalogue")
        answers = self.tracker.answers_for
        eventually(lambda: all(answers(model.repo_id) for model in self.models), timeout_s=60, what="the LAN to answer first")

    @property
    def tracker(self) -> Tracker:
        return Tracker(self.compose.container("tracker"))

    def workstation(self, number: int) -> Workstation:
        return Workstation(self.compose.container(f"downloader{number}"))

    def fresh_workstation(self, number: int) -> Workstation:
        """Start a workstation with nothing on its disk, whatever there was before."""
        self.compose.up(f"downloader{number}", recreate=True)
        return self.workstation(number)

    def _all_is_seeded(self) -> bool:
        return all(
            sorted(one["etag"] for one in self.tracker.catalogue(repo_id=model.repo_id) if one["seeders"])
            == sorted(etag for _, etag in model.big.values())
            for model in self.models
        )


class Offline:
    """A server and machines that know it as their Hub; there is no other. Each kind of client has a machine of its own."""

    KINDS = ("0.23.5", "0.36.2", "1.33.0", "2.4.0", "libraries")

    def __init__(self, client: Any, cache: Path) -> None:
        self.compose = Compose(client, "compose.yaml", "offline.yaml", HF_HUB_CACHE=str(cache), LLMPT_REPOS="*")

    def logs(self) -> str:
        return self.compose.logs()

    def start(self) -> None:
        self.compose.up(client=len(self.KINDS))
        found = zip(self.KINDS, self.compose.containers("client"), strict=True)
        self.clients = {kind: Client(container, kind) for kind, container in found}

    @property
    def tracker(self) -> Tracker:
        return Tracker(self.compose.container("tracker"))

    def wait_for(self, repo_id: str, number: int, repo_type: str = "model") -> None:
        """Return when so many big files of a repo are published and have a seeder."""

        def seeded() -> bool:
            found = self.tracker.catalogue(repo_id=repo_id, repo_type=repo_type)
            return bool(sum(one["seeders"] > 0 for one in found) == number)

        eventually(seeded, timeout_s=60, what=f"a seeder for {number} files of {repo_id}")


class Server:
    """Nothing but compose.yaml, with free ports in place of the usual ones, and what an operator has set."""

    def __init__(self, client: Any, cache: Path, **settings: str) -> None:
        self.http_port, announce_port, peer_port, self.blob_port = free_ports(4)
        self.compose = Compose(
            client,
            "compose.yaml",
            HF_HUB_CACHE=str(cache),
            LLMPT_REPOS="acme/*",
            LLMPT_HTTP_PORT=str(self.http_port),
            LLMPT_ANNOUNCE_PORT=str(announce_port),
            LLMPT_PEER_PORT=str(peer_port),
            LLMPT_BLOB_PORT=str(self.blob_port),
            **settings,
        )

    @property
    def tracker(self) -> Tracker:
        return Tracker(self.compose.container("tracker"), port=self.http_port)

    def logs(self) -> str:
        return self.compose.logs()

    def seeders_of(self, model: Model) -> int:
        return min((one["seeders"] for one in self.tracker.catalogue(repo_id=model.repo_id)), default=0)
