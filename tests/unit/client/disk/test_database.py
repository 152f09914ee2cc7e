"""The file in which is remembered: damaged, unreadable, on a full disk, or nowhere at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from llmpt.core.errors import StateUnavailable
from llmpt.core.repo import HubAnswer, RepoRef
from llmpt.disk.database import Way, opened
from llmpt.disk.inventory import Inventory
from tests.support.small_disk import SmallDisk, small_disk

REPO, ANSWER = RepoRef("model", "org/name"), HubAnswer(True, "public", 1.0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in which an answer stands, closed."""
    with Inventory(tmp_path / "x.db") as inventory:
        inventory.keep_hub_answer(REPO, ANSWER)
    return tmp_path / "x.db"


def best(database: Path) -> tuple[Inventory, str | None]:
    return opened(lambda way: Inventory(database, way), database)


def keeps(inventory: Inventory) -> bool:
    """Whether it remembers what is new; it is asked for a page or two."""
    other = RepoRef("model", "org/other")
    try:
        inventory.keep_hub_answer(other, HubAnswer(True, "x" * 9000, 2.0))
    except StateUnavailable:
        return False
    return inventory.hub_answer(other) is not None


def test_a_good_file_is_opened_without_a_word(file: Path) -> None:
    inventory, words = best(file)
    with inventory:
        assert words is None
        assert inventory.hub_answer(REPO) == ANSWER


@pytest.mark.parametrize("killed", [False, True])
def test_on_a_full_disk_what_is_known_counts_and_what_is_new_is_kept_when_there_is_room(disk: SmallDisk, killed: bool) -> None:
    database = disk.root / "x.db"
    first = Inventory(database)
    first.keep_hub_answer(REPO, ANSWER)
    if killed:  # what it leaves is the file, the log beside it, and no room
        copies = {path.name: path.read_bytes() for path in disk.root.iterdir()}
    first.close()
    if killed:
        for name, content in copies.items():
            (disk.root / name).write_bytes(content)
    disk.fill()
    inventory, words = best(database)
    with inventory:
        assert (words is None) == killed  # then the room is there already
        assert inventory.hub_answer(REPO) == ANSWER
        assert not keeps(inventory)
        disk.free()
        assert keeps(inventory)


def test_a_first_start_on_a_full_disk_remembers_for_its_life(disk: SmallDisk) -> None:
    disk.fill()
    inventory, words = best(disk.root / "x.db")
    with inventory:
        assert words is not None
        assert keeps(inventory)


@pytest.mark.parametrize("kind", ["garbage", "a folder", "a header only"])
def test_what_is_no_file_of_ours_is_set_aside_and_made_anew(file: Path, kind: str) -> None:
    if kind == "a folder":
        file.unlink()
        file.mkdir()
        (file / "something").touch()
    else:
        file.write_bytes(file.read_bytes()[:100] + b"x" * 9000 if kind == "a header only" else b"garbage" * 1000)
    inventory, words = best(file)
    with inventory:
        assert words is not None
        assert str(file) in words
        assert "set aside as" in words
        assert file.with_name("x.db.bad").exists()
        assert keeps(inventory)


def test_a_file_that_is_found_to_be_damaged_later_is_made_anew_then(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as broken:
        broken.seek(4096)
        broken.write(b"\xff" * (size - 4096))
    inventory, _ = best(file)
    with inventory:
        try:
            inventory.hub_answer(REPO)
        except StateUnavailable:
            pass
        assert keeps(inventory)
    assert file.with_name("x.db.bad").exists()


def test_a_file_that_another_process_uses_is_never_set_aside(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmpt.disk.database.BUSY_TIMEOUT_S", 0.01)
    with Inventory(file, Way.ALONE) as other:
        other.keep_hub_answer(REPO, ANSWER)
        inventory, words = best(file)
        with inventory:
            assert words is not None
            assert "locked" in words
    with Inventory(file) as again:
        assert again.hub_answer(REPO) == ANSWER


def test_where_nothing_can_be_had_it_remembers_for_its_life(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    inventory, words = best(tmp_path / "file" / "x.db")
    with inventory:
        assert words is not None
        assert "x.db" in words
        assert keeps(inventory)


def test_a_damaged_file_of_which_sqlite_quotes_bytes_that_are_no_text_is_set_aside(file: Path) -> None:
    with closing(sqlite3.connect(file)) as sql:
        sql.execute("PRAGMA writable_schema = ON")
        sql.execute("UPDATE sqlite_master SET name = CAST(x'f3f3' AS TEXT), sql = 'CREATE nonsense' WHERE type = 'table'")
        sql.commit()
    inventory, words = best(file)
    with inventory:
        assert words is not None
        assert "set aside" in words
        assert keeps(inventory)
