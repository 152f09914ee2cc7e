"""The server as a user runs it, with published ports, and workstations that reach nothing of it but those.

Between two bridge networks the engine lets only published ports through, at the gateway's address, and the server sees its
own network's gateway in place of every client: as on rootless engines and Docker Desktop.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from tests.e2e.worlds import MIB, Model, Server
from tests.support.compose import ROOT, TAG, Compose
from tests.support.containers import DOWNLOAD, FETCH, Hub, Workstation
from tests.support.waiting import eventually


class Floor:
    """Another bridge network, with a stand-in for the Hub and workstations that know the server by the gateway's address."""

    def __init__(self, client: Any, server: Server, cache: Path) -> None:
        self.client, self._server, self._cache = client, server, cache
        self._stack = ExitStack()
        self._containers: list[Container] = []

    def __enter__(self) -> Floor:
        self._network = self.client.networks.create(f"llmpt-test-{secrets.token_hex(4)}", driver="bridge")
        self._stack.callback(self._network.remove)
        self._network.reload()
        self.gateway = self._network.attrs["IPAM"]["Config"][0]["Gateway"]
        serve = ["python", "/hub.py", "--cache", "/cache", "--port", "8080", "--refuse-bytes-over", str(MIB)]
        files = {
            str(ROOT / "tests/support/hub.py"): {"bind": "/hub.py", "mode": "ro"},
            str(self._cache): {"bind": "/cache", "mode": "ro"},
        }
        self.hub = Hub(self._run("hub", command=serve, volumes=files))
        eventually(lambda: self.hub.container.logs(), what="the Hub's ready line")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def logs(self) -> str:
        return "".join(f"--- {one.name}\n{one.logs().decode()}" for one in self._containers)

    def workstation(self, name: str) -> Workstation:
        made = Workstation(self._run(name, environment=self._environment))
        eventually(lambda: b"ready at" in made.container.logs(), timeout_s=30, what="the agent's ready line")
        return made

    def download(self, name: str, repo_id: str, *, shared: list[Path], **environment: str) -> str:
        """Call `snapshot_download` in a container that has no agent of its own, and `shared` under the same paths as the host;
        return the snapshot's folder."""
        made = self._run(
            name,
            command=["python", "-c", DOWNLOAD, repo_id],
            user="1000:1000",
            environment={**self._environment, **environment},
            volumes=[f"{folder}:{folder}" for folder in shared],
        )
        assert made.wait(timeout=60)["StatusCode"] == 0, made.logs().decode()
        return str(json.loads(made.logs(stderr=False)))

    @property
    def tracker(self) -> str:
        """The server's URL, as it is known here and on the host."""
        return f"http://{self.gateway}:{self._server.http_port}"

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "LLMPT_TRACKER": self.tracker,
            "HF_ENDPOINT": f"http://{self.hub.container.name}:8080",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def _run(self, name: str, **options: Any) -> Container:
        container: Container = self.client.containers.create(
            f"llmpt-node:{TAG}",
            name=f"{self._network.name}-{name}",
            network=self._network.name,
            init=True,
            **options,
        )
        self._stack.callback(container.remove, force=True, v=True)
        self._containers.append(container)
        container.start()
        return container


@pytest.fixture(scope="module")
def floor(docker_engine: Any, server: Server, hub_cache: Path) -> Iterator[Floor]:
    with Floor(docker_engine, server, hub_cache) as made:
        yield made


def test_a_machine_that_reaches_only_published_ports_downloads_from_the_swarm(floor: Floor, dummy: Model) -> None:
    ann = floor.workstation("ann")
    ann.download(dummy.repo_id)
    assert floor.hub.byte_gets() == Counter(list(dummy.small))
    (record,) = ann.downloads(dummy.repo_id).values()
    assert (record["outcome"], record["bytes_from_lan"]) == ("done", dummy.swarm_bytes)
    assert {peer.rpartition(":")[0] for peer in record["bytes_by_peer"]} == {floor.gateway}


def test_files_over_http_come_from_the_published_port(server: Server, floor: Floor, dummy: Model) -> None:
    ((_, etag),) = dummy.big.values()
    fetched = json.loads(floor.hub.python(FETCH, f"{floor.tracker}/blobs/{etag}"))
    assert fetched == {"url": f"http://{floor.gateway}:{server.blob_port}/blobs/{etag}", "sha256": etag}


def test_programs_in_containers_share_the_agent_of_their_machine(floor: Floor, dummy: Model, tmp_path: Path) -> None:
    node, cache = tmp_path / "node", tmp_path / "hf"
    for folder in (node, cache):
        folder.mkdir()
        os.chown(folder, 1000, 1000)
    told = {"LLMPT_TRACKER": floor.tracker, "LLMPT_NODE": str(node), "HF_HOME": str(cache), "LLMPT_PEER_PORT": "0"}
    with Compose(floor.client, "agent.yaml", **told) as machine:
        machine.up()
        floor.hub.forget()
        where = {"XDG_RUNTIME_DIR": str(node), "HF_HOME": str(cache)}
        snapshot = floor.download("job", dummy.repo_id, shared=[node, cache], **where)
        (record,) = Workstation(machine.container("agent")).downloads(dummy.repo_id).values()
    assert (record["outcome"], record["bytes_from_lan"], record["moved"]) == ("done", dummy.swarm_bytes, True)
    assert floor.hub.byte_gets() == Counter(list(dummy.small))
    assert (Path(snapshot) / "dummy_model.bin").stat().st_uid == 1000


def test_machines_that_all_seem_to_be_the_gateway_still_find_each_other(server: Server, floor: Floor, dummy: Model) -> None:
    bob = floor.workstation("bob")
    bob.download(dummy.repo_id)
    eventually(lambda: server.seeders_of(dummy) >= 2, timeout_s=30, what="bob among the seeders")
    server.compose.stop("seeder")
    try:
        floor.hub.forget()
        cleo = floor.workstation("cleo")
        cleo.download(dummy.repo_id)
    finally:
        server.compose.up("seeder")
    assert floor.hub.byte_gets() == Counter(list(dummy.small))
    (record,) = cleo.downloads(dummy.repo_id).values()
    assert (record["outcome"], record["bytes_from_lan"]) == ("done", dummy.swarm_bytes)
