"""What lies on a network's file system is used and not seeded; what was changed is seeded no longer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from llmpt.agent.seeding.seeds import Seeds
from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo
from llmpt.disk.inventory import Inventory
from llmpt.disk.stamp import stamp_of
from llmpt.disk.torrents import create_torrent
from llmpt.host.mounts import Mount, Mounts
from llmpt.swarm import Engine, Given, SeededBlob
from tests.support.cache_builder import lfs_sha256
from tests.support.small_disk import small_disk


class FakeEngine:
    """Remembers what it was asked to serve."""

    def __init__(self) -> None:
        self.serving: dict[Etag, Path] = {}

    def seed(self, blob: SeededBlob) -> Given:
        if blob.stamp is None or not blob.stamp.is_same(stamp_of(blob.path)):
            return Given.CHANGED
        self.serving[blob.etag] = blob.path
        return Given.YES

    def unreadable(self) -> frozenset[Etag]:
        return frozenset()

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
    stamp = stamp_of(path)
    assert stamp is not None
    world.seeds.expect(metainfo, stamp)
    (world.root / "nfs").mkdir()
    world.put_on_a_network(world.root / "nfs")
    world.seeds.landed(metainfo.etag, path.rename(world.root / "nfs" / path.name))
    assert world.engine.serving == {}


def change_in_place(path: Path) -> None:
    """Change the content, and put the mtime back."""
    before = path.stat()
    path.write_bytes(b"C" + path.read_bytes()[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_blob_that_is_changed_in_place_with_its_mtime_put_back_is_not_seeded_any_more(world: World) -> None:
    metainfo, path = world.blob("cache", b"content")
    world.seeds.add(metainfo, path)
    change_in_place(path)
    world.seeds.sweep()
    assert world.engine.serving == {}


def test_nor_is_it_after_a_restart(world: World) -> None:
    metainfo, path = world.blob("cache", b"content")
    world.seeds.add(metainfo, path)
    world.engine.serving.clear()
    change_in_place(path)
    world.seeds = world.restarted()
    world.seeds.restore()
    assert world.engine.serving == {}


def test_nor_when_the_library_says_that_it_lies_where_it_lay(world: World) -> None:
    metainfo, path = world.blob("cache", b"content")
    world.seeds.add(metainfo, path)
    change_in_place(path)
    world.seeds.landed(metainfo.etag, path)
    world.seeds.sweep()
    assert world.engine.serving == {}


def test_a_blob_of_which_only_the_inode_number_is_another_after_a_mount_is_seeded(world: World) -> None:
    metainfo, path = world.blob("blobs", b"renumbered" * 100)
    stamp = stamp_of(path)
    assert stamp is not None
    world.inventory.remember(path, replace(stamp, inode=stamp.inode + 1), metainfo)
    seeds = world.restarted()
    seeds.restore()
    assert world.engine.serving == {metainfo.etag: path}
    assert seeds.find(metainfo.etag) is not None


def test_a_blob_that_is_changed_between_its_check_and_its_seeding_is_not_seeded(world: World) -> None:
    metainfo, path = world.blob("cache", b"content")
    before = stamp_of(path)
    change_in_place(path)
    world.seeds.add(metainfo, path, read_as=before)
    assert world.engine.serving == {}


def test_a_blob_that_the_library_moves_is_seeded_from_there_without_being_read(world: World) -> None:
    metainfo, path = world.blob("cache", b"content")
    stamp = stamp_of(path)
    assert stamp is not None
    world.seeds.expect(metainfo, stamp)
    moved = path.rename(path.with_name("blob"))
    moved.chmod(0o444)
    world.seeds.landed(metainfo.etag, moved)
    assert world.engine.serving == {metainfo.etag: moved}


def test_a_file_that_is_replaced_and_looked_at_before_the_program_says_so_is_seeded_again(world: World) -> None:
    metainfo, path = world.blob("cache", b"content")
    world.seeds.add(metainfo, path)
    fresh = world.root / "fresh"
    fresh.write_bytes(b"content")
    fresh.replace(path)
    world.seeds.sweep()
    assert world.engine.serving == {}
    world.seeds.landed(metainfo.etag, path)
    assert world.engine.serving == {metainfo.etag: path}


def test_what_is_replaced_by_another_content_is_not(world: World) -> None:
    metainfo, path = world.blob("cache", b"content")
    world.seeds.add(metainfo, path)
    fresh = world.root / "fresh"
    fresh.write_bytes(b"CONTENT")
    fresh.replace(path)
    world.seeds.sweep()
    world.seeds.landed(metainfo.etag, path)
    assert world.engine.serving == {}


def test_on_a_full_disk_it_seeds_what_comes_and_drops_what_goes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=512) as disk:
        world = World(disk.root)
        with world.inventory:
            kept, gone = world.blob("hub", b"kept" * 100), world.blob("hub", b"gone" * 100)
            for metainfo, path in (kept, gone):
                world.seeds.add(metainfo, path)
            new = world.blob("hub", b"new" * 100)
            disk.fill()
            world.seeds.add(*new)
            gone[1].unlink()
            world.seeds.sweep()
            assert world.engine.serving == {metainfo.etag: path for metainfo, path in (kept, new)}
            assert world.seeds.withdraw(new[0].etag)
            again = world.restarted()
            again.restore()
            assert [blob.etag for blob in again.all()] == [kept[0].etag]
            disk.free()
            again.add(*new)
            assert {known.etag for known in world.inventory.blobs()} >= {kept[0].etag, new[0].etag}


def test_what_is_asked_for_is_looked_at_before_its_turn(world: World) -> None:
    blobs = [world.blob("cache", f"content {number}".encode() * 100) for number in range(20)]
    for metainfo, path in blobs:
        world.seeds.add(metainfo, path)
    world.engine.serving.clear()
    again = world.restarted()
    again.will_restore()
    asked, path = blobs[7]
    found: list[SeededBlob | None] = []

    def at_the_first() -> bool:
        if not found:
            found.append(again.find(asked.etag))
        return bool(found)  # and the agent ends

    again.restore(stop=at_the_first)
    assert [one.path for one in found if one] == [path]
    assert list(world.engine.serving) == [asked.etag]
    assert again.restoring == 19
    again.restore()
    assert len(world.engine.serving) == 20
    assert again.restoring == 0


def test_a_restart_asks_once_for_each_folder_what_it_lies_on(world: World) -> None:
    for number in range(30):
        world.seeds.add(*world.blob(f"cache{number % 3}", f"content {number}".encode() * 100))
    looked: list[Path] = []

    class Counting(Mounts):
        def of(self, path: Path) -> Mount | None:
            looked.append(path)
            return super().of(path)

    world.mounts = Counting(())
    world.restarted().restore()
    assert sorted(looked) == [world.root / f"cache{number}" for number in range(3)]


def test_what_is_withdrawn_while_the_rest_is_restored_does_not_come_back(world: World) -> None:
    metainfo, path = world.blob("cache", b"content" * 100)
    world.seeds.add(metainfo, path)
    again = world.restarted()
    again.will_restore()
    again.restore(stop=lambda: not again.withdraw(metainfo.etag))
    again.restore()
    assert again.find(metainfo.etag) is None
