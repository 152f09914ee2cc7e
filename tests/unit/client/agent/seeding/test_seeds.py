"""What lies on a network's file system is used and not seeded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from llmpt.agent.seeding.seeds import Seeds
from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo
from llmpt.disk.inventory import Inventory
from llmpt.disk.torrents import create_torrent
from llmpt.host.mounts import Mount, Mounts
from llmpt.swarm import Engine, SeededBlob
from tests.support.cache_builder import lfs_sha256


class FakeEngine:
    """Remembers what it was asked to serve."""

    def __init__(self) -> None:
        self.serving: dict[Etag, Path] = {}

    def seed(self, blob: SeededBlob) -> None:
        self.serving[blob.etag] = blob.path

    def withdraw(self, etag: Etag) -> None:
        self.serving.pop(etag, None)


class World:
    def __init__(self, root: Path) -> None:
        self.root, self.engine, self.inventory = root, FakeEngine(), Inventory(root / "agent.db")
        self.mounts = Mounts(())
        self.seeds = self.restarted()

    def restarted(self) -> Seeds:
        return Seeds(cast(Engine, self.engine), self.inventory, mounts=lambda: self.mounts)

    def put_on_a_network(self, folder: Path) -> None:
        self.mounts = Mounts((Mount(Path("/"), "ext4", "/dev/vda"), Mount(folder, "nfs4", "server:/x")))

    def blob(self, folder: str, content: bytes) -> tuple[Metainfo, Path]:
        path = self.root / folder / lfs_sha256(content)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return create_torrent(path), path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with world.inventory:
        yield world


def test_a_blob_on_a_networks_file_system_is_not_seeded_and_the_reason_is_told(world: World) -> None:
    world.put_on_a_network(world.root / "nfs")
    far, far_path = world.blob("nfs", b"far")
    near, near_path = world.blob("disk", b"near")
    world.engine.serving[far.etag] = far_path  # the engine downloaded it, and goes on until it is told otherwise
    world.seeds.add(far, far_path, serving=True)
    world.seeds.add(near, near_path)
    assert world.engine.serving == {near.etag: near_path}
    assert [blob.path for blob in world.seeds.all()] == [near_path]
    assert world.seeds.withheld() == [(far_path, "it lies on a network's file system (nfs4)")]


def test_a_blob_whose_folder_has_become_a_networks_is_not_seeded_after_a_restart(world: World) -> None:
    metainfo, path = world.blob("cache", b"content")
    world.seeds.add(metainfo, path)
    world.engine.serving.clear()
    world.put_on_a_network(world.root / "cache")
    world.seeds = world.restarted()
    world.seeds.restore()
    assert world.engine.serving == {}
    assert len(world.seeds.withheld()) == 1


def test_a_blob_that_landed_on_a_networks_file_system_is_not_seeded(world: World) -> None:
    metainfo, path = world.blob("disk", b"content")
    world.seeds.expect(metainfo, path)
    (world.root / "nfs").mkdir()
    world.put_on_a_network(world.root / "nfs")
    world.seeds.landed(metainfo.etag, path.rename(world.root / "nfs" / path.name))
    assert world.engine.serving == {}
