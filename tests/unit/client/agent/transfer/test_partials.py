"""Unfinished files: kept for a week, and then only our own are removed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.agent.transfer.partials import KEEP_S, Partials
from llmpt.disk.inventory import Inventory

NAME = "a" * 64 + ".0123abcd.incomplete"


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    with Inventory(tmp_path / "agent.db") as inventory:
        yield inventory


@pytest.fixture
def clock() -> Clock:
    return Clock()


def partial(folder: Path, name: str = NAME) -> Path:
    path = folder / name
    path.write_bytes(b"some")
    return path


def asked(inventory: Inventory, clock: Clock, path: Path) -> Partials:
    partials = Partials(inventory, clock=clock)
    partials.asked(path, path.lstat().st_ino)
    return partials


def test_what_nobody_asked_for_in_a_week_is_removed(tmp_path: Path, inventory: Inventory, clock: Clock) -> None:
    path = partial(tmp_path)
    partials = asked(inventory, clock, path)
    clock.now += KEEP_S - 1
    partials.sweep()
    assert path.exists()
    clock.now += 2
    Partials(inventory, clock=clock).sweep()  # also after a restart
    assert not path.exists()
    assert inventory.partials() == []


def test_each_try_counts(tmp_path: Path, inventory: Inventory, clock: Clock) -> None:
    path = partial(tmp_path)
    asked(inventory, clock, path)
    clock.now += KEEP_S - 1
    partials = asked(inventory, clock, path)
    clock.now += 2
    partials.sweep()
    assert path.exists()


def test_a_file_in_use_stays(tmp_path: Path, inventory: Inventory, clock: Clock) -> None:
    path = partial(tmp_path)
    partials = asked(inventory, clock, path)
    clock.now += KEEP_S + 1
    with path.open("rb+") as used:
        fcntl.flock(used, fcntl.LOCK_EX)
        partials.sweep()
    assert path.exists()
    partials.sweep()
    assert not path.exists(), "it was not forgotten"


def test_where_locks_say_nothing_what_was_written_to_of_late_stays(
    tmp_path: Path, inventory: Inventory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = partial(tmp_path)
    partials = asked(inventory, clock, path)
    clock.now += KEEP_S + 2
    os.utime(path, (clock.now - KEEP_S + 1,) * 2)
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    partials.sweep()
    assert path.exists()
    clock.now += 2
    partials.sweep()
    assert not path.exists()


@pytest.mark.parametrize("other", ["another file", "link", "folder", "finished"])
def test_nothing_else_is_removed(tmp_path: Path, inventory: Inventory, clock: Clock, other: str) -> None:
    path = partial(tmp_path)
    partials = asked(inventory, clock, path)
    precious = partial(tmp_path, "precious")
    if other == "finished":
        partials.done(path)
    elif other != "another file":
        path.unlink()
        if other == "folder":
            path.mkdir()
        else:
            path.symlink_to(precious)
    else:
        path.rename(tmp_path / "elsewhere")
        precious.rename(path)
        precious = path
    clock.now += KEEP_S + 1
    partials.sweep()
    assert path.exists()
    assert precious.read_bytes() == b"some"


def test_a_name_that_is_none_of_ours_is_not_remembered(tmp_path: Path, inventory: Inventory, clock: Clock) -> None:
    asked(inventory, clock, partial(tmp_path, "model.safetensors"))
    asked(inventory, clock, partial(tmp_path, "a" * 64 + ".incomplete"))  # the library's
    assert inventory.partials() == []


def test_what_lies_beside_the_whole_file_goes_soon(tmp_path: Path, inventory: Inventory, clock: Clock) -> None:
    path = partial(tmp_path)
    partials = asked(inventory, clock, path)
    clock.now += 100
    partials.sweep()
    assert path.exists()
    (tmp_path / ("a" * 64)).write_bytes(b"the whole, which came another way")
    partials.sweep()
    assert not path.exists()
    assert inventory.partials() == []


def test_what_a_program_leaves_that_has_the_file_is_removed_unless_another_uses_it(
    tmp_path: Path, inventory: Inventory, clock: Clock
) -> None:
    path = partial(tmp_path)
    partials = asked(inventory, clock, path)
    with path.open("rb+") as used:
        fcntl.flock(used, fcntl.LOCK_EX)
        partials.left(path)
    assert inventory.partials() == [path]
    partials.left(path)
    assert not path.exists()
    assert inventory.partials() == []


def test_no_file_is_removed_that_is_not_named_as_ours(tmp_path: Path, inventory: Inventory, clock: Clock) -> None:
    path = partial(tmp_path, "theirs.incomplete")
    asked(inventory, clock, path).left(path)
    assert path.exists()
