"""The cache that is fetched into, in whatever order things come, are wanted, break off, and go."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from llmpt.core.blob import Etag
from llmpt_seeder.errors import FetchFailed
from llmpt_seeder.upstream.shelf import LEAST_SPARE_BYTES, Shelf

QUOTA, DISK = 100, LEAST_SPARE_BYTES + 130
ETAGS = [Etag(f"{number:064x}") for number in range(8)]
REPOS = ["models--org--one", "models--org--two"]

STEPS = ["begin", "begin", "begin", "grow", "grow", "land", "finish", "finish", "break off", "want", "vanish", "restart"]


class Usage(NamedTuple):
    total: int
    free: int


@dataclass
class Try:
    """A fetch that is under way: its room, its size, and the file that grows, under its final name at last."""

    room: ExitStack
    size: int
    file: Path


class World:
    """A shelf on a disk of its own, beside the plainest account of it."""

    def __init__(self, root: Path, *, quota: int, clock: Callable[[], float]) -> None:
        self.root, self.quota, self.clock = root, quota, clock
        self.memory = Memory()
        self.tries: dict[Etag, Try] = {}
        self.wants = itertools.count()
        self.wanted: dict[Etag, int] = {}
        self.shelf = self._new()

    def restart(self) -> None:
        """Begin a new life; what was wanted is written down."""
        if not self.tries:
            self.shelf.keep()
            self.shelf = self._new()

    def _new(self) -> Shelf:
        shelf = Shelf(self.root / "mirror", quota_bytes=self.quota, memory=self.memory, clock=self.clock)
        shelf.prepare()
        return shelf

    def lying(self) -> dict[Etag, int]:
        return {Etag(path.name): path.stat().st_size for path in self.root.glob("mirror/*/blobs/*") if path.suffix == ""}

    def used(self) -> int:
        return sum(path.stat().st_size for path in self.root.glob("mirror/*/blobs/*"))

    def promised(self) -> int:
        """The bytes that are to come, and have not come."""
        return sum(one.size - one.file.stat().st_size for one in self.tries.values())

    def ask_for(self, etag: Etag) -> None:
        if etag in self.lying():
            self.want(etag)
            self.shelf.want(etag)

    def vanish(self, etag: Etag) -> None:
        if etag in self.lying() and etag not in self.tries:
            next(self.root.glob(f"mirror/*/blobs/{etag}")).unlink()

    def want(self, etag: Etag) -> None:
        self.wanted[etag] = next(self.wants)

    def begin(self, etag: Etag, size: int) -> None:
        before = self.lying()
        if etag in self.tries or etag in before:
            return
        coming = sum(one.size for one in self.tries.values())
        free = DISK - self.used()
        folder, room = self.root / "mirror" / REPOS[int(etag.value, 16) % 2] / "blobs", ExitStack()
        self.want(etag)
        try:
            room.enter_context(self.shelf.room(etag, size, folder))
        except FetchFailed:
            after = self.lying()
            no_quota = self.quota and size + coming > self.quota
            dropped = sum(before.values()) - sum(after.values())
            assert no_quota or free + dropped < self.promised() + size + LEAST_SPARE_BYTES, "refused what fits"
            assert not no_quota or after == before, "dropped for nothing"
            return
        gone = before.keys() - self.lying().keys()
        kept = before.keys() - gone - self.tries.keys()
        assert not gone & self.tries.keys(), "it was just coming"
        assert not gone or self.quota
        assert all(self.wanted[one] < self.wanted[other] for one in gone for other in kept), "it was not the least wanted"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{etag}.0a1b2c3d.incomplete"
        file.touch()
        self.tries[etag] = Try(room, size, file)

    def grow(self, etag: Etag, count: int) -> None:
        one = self.tries.get(etag)
        if one is not None and one.file.suffix:
            one.file.write_bytes(bytes(min(one.size, one.file.stat().st_size + count)))

    def land(self, etag: Etag) -> None:
        self.grow(etag, QUOTA)
        if etag in self.tries:
            self.tries[etag].file = self.tries[etag].file.rename(self.tries[etag].file.with_name(etag.value))

    def finish(self, etag: Etag) -> None:
        self.land(etag)
        if etag in self.tries:
            self.tries.pop(etag).room.close()
            self.want(etag)

    def break_off(self, etag: Etag) -> None:
        if etag in self.tries:
            one = self.tries.pop(etag)
            one.file = one.file.rename(one.file.with_name(f"{etag}.incomplete"))
            self.shelf.clear_unfinished(one.file.parent, etag)
            one.room.close()

    def look(self) -> None:
        assert self.promised() + self.used() <= (self.quota or DISK), "more than there is"


class Memory:
    """Remembers what was wanted, as the seeder's state does."""

    def __init__(self) -> None:
        self.times: dict[Etag, float] = {}

    def wanted(self) -> dict[Etag, float]:
        return dict(self.times)

    def askers(self) -> dict[Etag, dict[str, float]]:
        return {}

    def keep_wanted(self, times: Mapping[Etag, float], gone: Iterable[Etag], askers: Mapping[Etag, dict[str, float]]) -> bool:
        self.times |= times
        for etag in gone:
            self.times.pop(etag, None)
        return True


@pytest.mark.parametrize(("seed", "quota"), [(1, QUOTA), (2, QUOTA), (3, QUOTA), (4, 0)])
def test_no_order_of_events_drops_what_is_wanted_or_refuses_what_fits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int, quota: int
) -> None:
    chance = random.Random(seed)
    world = World(tmp_path, quota=quota, clock=lambda: chance.uniform(0, 1e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(DISK, DISK - world.used()))
    for _ in range(400):
        etag, step = chance.choice(ETAGS), chance.choice(STEPS)
        if step == "begin":
            world.begin(etag, chance.choice([1, 10, 30, 60, QUOTA, QUOTA + 1]))
        elif step == "grow":
            world.grow(etag, chance.randint(1, QUOTA))
        elif step == "land":
            world.land(etag)
        elif step == "finish":
            world.finish(etag)
        elif step == "break off":
            world.break_off(etag)
        elif step == "want":
            world.ask_for(etag)
        elif step == "vanish":
            world.vanish(etag)
        elif step == "restart":
            world.restart()
        world.look()
