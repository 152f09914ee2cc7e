"""compose.scale.yaml: two replicas behind a proxy, two seeders. A replica, Valkey and PostgreSQL go, one after the other; the LAN
gives its files all the while (`make scale`; how it does under load: tests/soak/test_scale.py)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.worlds import MIB, MINILM, Model
from tests.support.compose import Compose
from tests.support.containers import FETCH, Hub, Tracker, Workstation
from tests.support.waiting import eventually

IMAGES = ("postgres:17", "valkey/valkey:8", "nginx:1.28")

pytestmark = pytest.mark.slow


class Scaled:
    """Two replicas, two seeders, a stand-in for the Hub that gives no big file, and two workstations that know the proxy."""

    def __init__(self, compose: Compose, models: tuple[Model, ...]) -> None:
        self.compose, self.models = compose, models
        compose.up("proxy", "seeder", "seeder2", "hub", "downloader1", "downloader2")
        self.wait_for_seeders()
        Hub(compose.container("hub")).refuse_bytes_over(MIB)

    def logs(self) -> str:
        return self.compose.logs()

    @property
    def replicas(self) -> list[Tracker]:
        """Those that run."""
        return [Tracker(one) for one in self.compose.containers("tracker") if one.status == "running"]

    def wait_for_seeders(self) -> None:
        """Return when each service is well again, and each replica knows both seeders of every big file."""
        self.compose.up("proxy", "seeder", "seeder2")
        eventually(lambda: all(map(self._knows_all, self.replicas)), timeout_s=90, what="both seeders at each replica")

    def _knows_all(self, replica: Tracker) -> bool:
        found = {one["etag"]: one["seeders"] for model in self.models for one in replica.catalogue(repo_id=model.repo_id)}
        return all(found.get(etag, 0) >= 2 for model in self.models for _, etag in model.big.values())

    def takes_all(self, number: int) -> None:
        """Have a workstation with an empty disk download every model."""
        self.compose.up(f"downloader{number}", recreate=True)
        workstation = Workstation(self.compose.container(f"downloader{number}"))
        for model in self.models:
            found = workstation.survey(workstation.download(model.repo_id))["files"]
            assert {path: file["blob"] for path, file in found.items()} == {path: etag for path, (_, etag) in model.files.items()}
            assert all(file["sha256"] == file["blob"] for file in found.values() if file["size"] >= MIB)


@pytest.fixture(scope="module")
def scaled(docker_engine: Any, images: None, hub_cache: Path, dummy: Model) -> Iterator[Scaled]:
    for image in IMAGES:
        if all(
            subprocess.run(["docker", *word, image], capture_output=True).returncode for word in (["image", "inspect"], ["pull"])
        ):
            pytest.skip(f"the image {image} cannot be had here")
    files = ("compose.yaml", "compose.scale.yaml", "e2e.yaml", "../tests/e2e/scale.yaml")
    passwords = {"POSTGRES_PASSWORD": "catalogue1", "VALKEY_PASSWORD": "replicas1"}
    with Compose(docker_engine, *files, HF_HUB_CACHE=str(hub_cache), **passwords) as compose:
        yield Scaled(compose, (dummy, MINILM))


def test_the_lan_gives_its_files_without_a_replica_without_valkey_and_after_a_restart_of_postgresql(scaled: Scaled) -> None:
    assert len(scaled.replicas) == 2
    scaled.takes_all(1)

    gone = scaled.compose.containers("tracker")[0]
    gone.kill()
    scaled.takes_all(2)
    gone.start()
    scaled.wait_for_seeders()

    valkey = scaled.compose.container("valkey")
    valkey.kill()
    scaled.takes_all(1)
    valkey.start()

    scaled.compose.container("postgres").restart()
    scaled.wait_for_seeders()
    scaled.takes_all(2)


def test_a_file_over_http_comes_from_a_seeder_that_the_asker_reaches(scaled: Scaled, dummy: Model) -> None:
    ((_, etag),) = dummy.big.values()
    workstation = Workstation(scaled.compose.container("downloader1"))
    fetched = json.loads(workstation.python(FETCH, f"http://proxy:8000/blobs/{etag}"))
    assert fetched["sha256"] == etag
