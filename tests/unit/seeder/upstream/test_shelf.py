"""The cache that is fetched into, and its quota."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import SettingError
from llmpt.core.repo import RepoRef
from llmpt_seeder.errors import FetchFailed
from llmpt_seeder.state import SeederState
from llmpt_seeder.upstream.shelf import Shelf
from llmpt_seeder.upstream.wants import LATELY_S
from tests.support.cache_builder import CacheBuilder, lfs_sha256
from tests.support.small_disk import small_disk

KIB = 1 << 10


class World(NamedTuple):
    """A shelf of 100 KiB with three files of 30 KiB, fetched in this order; `now[0]` is the time."""

    shelf: Shelf
    etags: list[Etag]
    now: list[float]
    uploaded: dict[Etag, int]


@pytest.fixture
def build(tmp_path: Path, state: SeederState) -> Callable[[int], World]:
    def build(quota_bytes: int) -> World:
        now, uploaded = [100.0], dict[Etag, int]()
        shelf = Shelf(tmp_path / "mirror", quota_bytes=quota_bytes, memory=state, clock=lambda: now[0], uploaded=lambda: uploaded)
        shelf.prepare()
        repo = CacheBuilder(shelf.root).repo("org/name")
        etags = []
        for number in range(3):
            data = bytes([number]) * (30 * KIB)
            repo.commit({f"{number}.bin": data, "copy.bin": data}, lfs={f"{number}.bin", "copy.bin"}, commit=f"{number}" * 40)
            etags.append(Etag(lfs_sha256(data)))
            now[0] += 1
            shelf.want(etags[-1])
        return World(shelf, etags, now, uploaded)

    return build


def here(world: World) -> list[int]:
    """Which of the three files are there."""
    return [n for n, etag in enumerate(world.etags) if list(world.shelf.root.glob(f"*/blobs/{etag}"))]


def test_what_was_not_wanted_for_longest_goes_first_with_every_link_to_it(build: Callable[[int], World]) -> None:
    world = build(100 * KIB)
    with world.shelf.room(Etag("ab" * 32), 20 * KIB):
        pass
    assert here(world) == [1, 2]
    links = [path for path in world.shelf.root.rglob("snapshots/**/*") if path.is_symlink()]
    assert links
    assert all(path.exists() for path in links)


def test_what_is_dropped_is_let_go_of_by_the_swarm_so_that_its_room_is_free(tmp_path: Path, state: SeederState) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    told: list[tuple[Etag, Path]] = []
    shelf = Shelf(
        tmp_path / "link", quota_bytes=0, memory=state, clock=lambda: 0.0, let_go=lambda etag, path: told.append((etag, path))
    )
    data = bytes(30 * KIB)
    repo = CacheBuilder(shelf.root).repo("org/name")
    repo.commit({"f": data}, lfs={"f"})
    etag = Etag(lfs_sha256(data))
    seeded = repo.blob_path(etag.value).resolve()
    shelf.remove(etag)
    assert told == [(etag, seeded)]


def test_what_fits_costs_nothing(build: Callable[[int], World]) -> None:
    world = build(100 * KIB)
    with world.shelf.room(Etag("ab" * 32), 10 * KIB):
        assert here(world) == [0, 1, 2]


def test_without_a_quota_nothing_is_dropped(build: Callable[[int], World]) -> None:
    world = build(0)
    with world.shelf.room(Etag("ab" * 32), 10_000 * KIB):
        assert here(world) == [0, 1, 2]


def test_what_a_client_asks_for_is_kept_over_a_restart(build: Callable[[int], World], state: SeederState) -> None:
    world = build(100 * KIB)
    world.shelf.want(world.etags[0])
    world.now[0] += 1
    world.shelf.keep()
    again = Shelf(world.shelf.root, quota_bytes=100 * KIB, memory=state, clock=lambda: 0.0)
    with again.room(Etag("ab" * 32), 20 * KIB):
        assert here(world) == [0, 2]


def test_what_the_swarm_takes_is_wanted(build: Callable[[int], World]) -> None:
    world = build(100 * KIB)
    world.uploaded[world.etags[0]] = 5
    world.now[0] += 1
    with world.shelf.room(Etag("ab" * 32), 20 * KIB):
        assert here(world) == [0, 2]


def test_what_comes_just_now_counts_too(build: Callable[[int], World]) -> None:
    world = build(100 * KIB)
    with (
        world.shelf.room(Etag("ab" * 32), 60 * KIB),
        pytest.raises(FetchFailed, match="come just now") as full,
        world.shelf.room(Etag("cd" * 32), 60 * KIB),
    ):
        pass
    assert full.value.may_pass
    with world.shelf.room(Etag("cd" * 32), 60 * KIB):
        pass


def test_a_file_that_can_never_fit_is_said_to_and_nothing_is_dropped_for_it(build: Callable[[int], World]) -> None:
    world = build(100 * KIB)
    with pytest.raises(FetchFailed, match="LLMPT_MIRROR_QUOTA") as never, world.shelf.room(Etag("ab" * 32), 101 * KIB):
        pass
    assert not never.value.may_pass
    assert here(world) == [0, 1, 2]


@pytest.mark.parametrize(("total", "free", "room"), [(100 << 20, 20 << 20, 4), (1 << 40, 15 << 30, 5 << 10)])
def test_a_disk_is_not_filled_for_clients_to_the_brim(
    build: Callable[[int], World], monkeypatch: pytest.MonkeyPatch, total: int, free: int, room: int
) -> None:
    world = build(0)

    class Usage(NamedTuple):
        total: int
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(total, free))
    with world.shelf.room(Etag("ab" * 32), room << 20):
        pass
    with (
        pytest.raises(FetchFailed, match="the disk of LLMPT_MIRROR_CACHE is full") as full,
        world.shelf.room(Etag("ab" * 32), (room + 1) << 20),
    ):
        pass
    assert not full.value.may_pass


def test_leftovers_of_a_life_before_are_removed(build: Callable[[int], World], state: SeederState) -> None:
    world = build(0)
    left = world.shelf.root / "models--org--name" / "blobs" / f"{world.etags[0]}.0a1b2c3d.incomplete"
    left.write_bytes(b"half")
    Shelf(world.shelf.root, quota_bytes=0, memory=state, clock=lambda: 0.0).prepare()
    assert not left.exists()
    assert here(world) == [0, 1, 2]


def test_a_folder_that_cannot_be_made_names_the_setting(tmp_path: Path, state: SeederState) -> None:
    (tmp_path / "file").touch()
    shelf = Shelf(tmp_path / "file" / "mirror", quota_bytes=0, memory=state, clock=lambda: 0.0)
    with pytest.raises(SettingError, match="LLMPT_MIRROR_CACHE"):
        shelf.prepare()


def test_asking_for_a_blob_of_another_cache_is_none_of_its_business(build: Callable[[int], World], tmp_path: Path) -> None:
    world = build(100 * KIB)
    found: dict[Etag, Any] = {}
    noted = world.shelf.noting(found.get)
    assert noted(world.etags[0]) is None
    with world.shelf.room(Etag("ab" * 32), 20 * KIB):
        assert here(world) == [1, 2]


def test_a_full_disk_at_the_start_is_waited_for(tmp_path: Path, state: SeederState) -> None:
    with small_disk(tmp_path / "disk", kib=64) as disk:
        disk.fill()
        shelf = Shelf(disk.root / "mirror", quota_bytes=0, memory=state, clock=lambda: 0.0)
        shelf.prepare()
        with pytest.raises(FetchFailed, match=r"LLMPT_MIRROR_CACHE .*No space"), shelf.room(Etag("ab" * 32), KIB):
            pass
        disk.free()
        with pytest.raises(FetchFailed, match=r"is full: .* are left for others"), shelf.room(Etag("ab" * 32), KIB):
            pass


def test_what_cannot_be_removed_is_no_room_and_no_reason_to_drop_nothing(
    build: Callable[[int], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = build(100 * KIB)
    unlink = Path.unlink

    def refuse_the_first(path: Path, missing_ok: bool = False) -> None:
        if path.name == world.etags[0].value:
            raise OSError(5, "Input/output error")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse_the_first)
    with world.shelf.room(Etag("ab" * 32), 20 * KIB):
        assert here(world) == [0, 2]


def fetch(world: World, name: str, kib: int, *askers: str) -> Etag:
    """Have a file of so many KiB come in for these clients."""
    data = name.encode().ljust(kib * KIB)
    etag = Etag(lfs_sha256(data))
    with world.shelf.room(etag, kib * KIB, askers=askers):
        CacheBuilder(world.shelf.root).repo(f"org/{name}").commit({f"{name}.bin": data}, lfs={f"{name}.bin"}, commit="a" * 40)
    world.now[0] += 1
    return etag


def test_what_several_wanted_does_not_go_for_what_one_alone_wants(build: Callable[[int], World]) -> None:
    world = build(100 * KIB)
    for asker in ("ann", "bob"):
        world.shelf.asked_by(world.etags[0], asker)
        world.shelf.asked_by(world.etags[1], asker)
    fetch(world, "junk", 30, "eve")
    assert here(world) == [0, 1], "though it was wanted longer ago"
    for number in range(4):
        fetch(world, f"more{number}", 20, "eve")
        assert here(world) == [0, 1]
    with pytest.raises(FetchFailed, match="wanted by several"):
        fetch(world, "much", 60, "eve")
    fetch(world, "new", 60, "ann", "bob")
    assert here(world) == [1]


def test_after_a_day_what_several_wanted_is_as_all_the_rest(build: Callable[[int], World]) -> None:
    world = build(100 * KIB)
    for asker in ("ann", "bob"):
        world.shelf.asked_by(world.etags[0], asker)
    world.now[0] += LATELY_S + 1
    fetch(world, "new", 20, "eve")
    assert here(world) == [1, 2]


def test_what_several_wanted_is_known_after_a_restart(build: Callable[[int], World], state: SeederState) -> None:
    world = build(100 * KIB)
    for asker in ("ann", "bob"):
        world.shelf.asked_by(world.etags[0], asker)
    world.shelf.keep()
    again = Shelf(world.shelf.root, quota_bytes=100 * KIB, memory=state, clock=lambda: 104.0)
    again.prepare()
    with again.room(Etag("ab" * 32), 20 * KIB, askers=["eve"]):
        assert here(world) == [0, 2]


def test_one_for_whom_half_is_used_drops_its_own_first(build: Callable[[int], World]) -> None:
    world = build(150 * KIB)
    fetch(world, "first", 30, "eve")
    fetch(world, "second", 30, "eve")
    assert here(world) == [0, 1, 2]
    fetch(world, "third", 30, "eve")
    assert here(world) == [0, 1, 2]
    assert not list(world.shelf.root.glob("*first*/blobs/*"))
    fetch(world, "other", 20, "ann")
    assert here(world) == [1, 2], "others drop what was wanted longest ago"


def test_without_a_setting_a_tenth_of_the_disk_stays_free(
    tmp_path: Path, state: SeederState, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path / "mirror", quota_bytes=None, memory=state, clock=lambda: 100.0)
    world, mib = World(shelf, [], [100.0], {}), 1024

    class Usage(NamedTuple):
        total: int
        free: int

    def usage(_path: object) -> Usage:
        lying = sum(path.stat().st_size for path in shelf.root.glob("*/blobs/*"))
        return Usage(200 << 20, (80 << 20) - lying)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    first = fetch(world, "first", 25 * mib)
    second = fetch(world, "second", 25 * mib)
    fetch(world, "third", 25 * mib)
    assert not list(shelf.root.glob(f"*/blobs/{first}"))
    assert list(shelf.root.glob(f"*/blobs/{second}"))
    with pytest.raises(FetchFailed, match="see LLMPT_MIRROR_QUOTA"), shelf.room(Etag("ab" * 32), 61 << 20):
        pass


def test_of_a_pinned_repo_nothing_is_dropped(build: Callable[[int], World]) -> None:
    world = build(100 * KIB)
    world.shelf.pinned = {RepoRef("model", "org/name")}
    with pytest.raises(FetchFailed, match="and by pinned repos: no room for"), world.shelf.room(Etag("ab" * 32), 20 * KIB):
        pass
    assert here(world) == [0, 1, 2]
    world.shelf.pinned = {RepoRef("model", "org/other")}
    with world.shelf.room(Etag("ab" * 32), 20 * KIB):
        assert here(world) == [1, 2]
