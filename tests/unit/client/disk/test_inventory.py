"""The inventory: each blob is hashed once in its life, and a file that changed is another file."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import StateUnavailable
from llmpt.disk.inventory import Inventory, KnownBlob
from llmpt.disk.stamp import FileStamp
from llmpt.disk.torrents import create_torrent
from tests.support.cache_builder import lfs_sha256

BIG = os.urandom(200_000)  # four pieces
SMALL = b"one piece"


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    with Inventory(tmp_path / "state" / "inventory.db") as inventory:
        yield inventory


def blob(folder: Path, data: bytes) -> tuple[Etag, Path, FileStamp]:
    etag = lfs_sha256(data)
    path = folder / etag
    path.write_bytes(data)
    return Etag(etag), path, FileStamp.of(path.stat())


def known(inventory: Inventory) -> KnownBlob:
    """Return the only blob that is known."""
    (found,) = inventory.blobs()
    return found


@pytest.mark.parametrize("data", [BIG, SMALL])
def test_what_was_hashed_is_known_with_its_whole_metainfo(inventory: Inventory, tmp_path: Path, data: bytes) -> None:
    etag, path, stamp = blob(tmp_path, data)
    metainfo = create_torrent(path)
    inventory.remember(path, stamp, metainfo)
    assert known(inventory) == KnownBlob(etag, path, stamp, metainfo.root, None)
    assert inventory.metainfo(etag) == metainfo


def test_knowledge_outlives_the_process(tmp_path: Path) -> None:
    etag, path, stamp = blob(tmp_path, BIG)
    with Inventory(tmp_path / "db") as first:
        first.remember(path, stamp, create_torrent(path))
    with Inventory(tmp_path / "db") as second:
        assert (known(second).etag, known(second).stamp) == (etag, stamp)
        assert second.metainfo(etag) == create_torrent(path)


def test_a_file_that_is_changed_in_place_and_given_its_old_mtime_is_another(tmp_path: Path) -> None:
    _, path, stamp = blob(tmp_path, SMALL)
    path.write_bytes(SMALL[::-1])
    os.utime(path, ns=(stamp.mtime_ns, stamp.mtime_ns))
    changed = FileStamp.of(path.stat())
    assert changed.without_ctime == stamp.without_ctime
    assert changed != stamp


def forget_ctimes(inventory: Inventory) -> None:
    """Let the inventory be as an earlier version has left it."""
    with inventory.transaction() as sql:
        sql.execute("DELETE FROM known_ctimes")


def test_what_an_earlier_version_has_read_is_known_without_being_read_again(inventory: Inventory, tmp_path: Path) -> None:
    _, path, stamp = blob(tmp_path, SMALL)
    inventory.remember(path, stamp, create_torrent(path))
    forget_ctimes(inventory)
    assert known(inventory).stamp == stamp.without_ctime
    path.chmod(0o200)  # it cannot be read, but by root
    inventory.note_ctimes()
    assert known(inventory).stamp == FileStamp.of(path.stat())


def test_what_has_changed_since_an_earlier_version_read_it_is_not_taken_for_it(inventory: Inventory, tmp_path: Path) -> None:
    _, path, stamp = blob(tmp_path, SMALL)
    inventory.remember(path, stamp, create_torrent(path))
    forget_ctimes(inventory)
    path.write_bytes(SMALL[::-1])
    os.utime(path, ns=(1, 1))
    inventory.note_ctimes()
    assert known(inventory).stamp == stamp.without_ctime


def test_a_row_that_an_earlier_version_writes_beside_ours_is_believed_of_no_other_file(
    inventory: Inventory, tmp_path: Path
) -> None:
    etag, path, stamp = blob(tmp_path, SMALL)
    metainfo = create_torrent(path)
    inventory.remember(path, stamp, metainfo)
    path.write_bytes(SMALL)
    row = (etag.value, os.fsencode(path), path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino, metainfo.root, None)
    with inventory.transaction() as sql:
        sql.execute("INSERT OR REPLACE INTO known_blobs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    assert known(inventory).stamp != FileStamp.of(path.stat())


def test_a_condemned_file_is_known_as_bad_and_gives_no_metainfo(inventory: Inventory, tmp_path: Path) -> None:
    etag, path, stamp = blob(tmp_path, SMALL)
    inventory.condemn(etag, path, stamp, "rotten")
    assert (known(inventory).root, known(inventory).problem) == (None, "rotten")
    assert inventory.metainfo(etag) is None


def test_a_good_copy_is_found_beside_a_bad_one(inventory: Inventory, tmp_path: Path) -> None:
    etag, path, stamp = blob(tmp_path, SMALL)
    inventory.condemn(etag, tmp_path / "a bad copy", FileStamp(1, 2, 3), "rotten")
    inventory.remember(path, stamp, create_torrent(path))
    assert inventory.metainfo(etag) is not None


def test_what_is_forgotten_leaves_nothing_behind_unless_another_copy_is_known(inventory: Inventory, tmp_path: Path) -> None:
    etag, path, stamp = blob(tmp_path, BIG)
    metainfo = create_torrent(path)
    inventory.remember(path, stamp, metainfo)
    inventory.remember(tmp_path / "copy", stamp, metainfo)
    inventory.forget(etag, path)
    assert inventory.metainfo(etag) == metainfo
    inventory.forget(etag, tmp_path / "copy")
    assert inventory.metainfo(etag) is None
    assert list(inventory.blobs()) == []
    with inventory.transaction() as sql:
        assert sql.execute("SELECT count(*) FROM piece_layers").fetchone() == (0,)
        assert sql.execute("SELECT count(*) FROM known_ctimes").fetchone() == (0,)


def test_paths_that_are_no_text_are_kept(inventory: Inventory, tmp_path: Path) -> None:
    etag, path, stamp = blob(tmp_path, SMALL)
    odd = path.rename(tmp_path / os.fsdecode(b"\xff\xfe"))
    inventory.remember(odd, stamp, create_torrent(odd, etag=etag))
    assert known(inventory).path == odd


def test_a_transaction_that_fails_changes_nothing(inventory: Inventory) -> None:
    etag = Etag(lfs_sha256(SMALL))

    def fail() -> None:
        with inventory.transaction() as sql:
            sql.execute("INSERT INTO known_blobs VALUES (?, ?, 1, 1, 1, NULL, 'x')", (etag.value, b"p"))
            raise RuntimeError

    pytest.raises(RuntimeError, fail)
    assert list(inventory.blobs()) == []


def fill(inventory: Inventory) -> None:
    """Let the database have no more room, as on a full disk."""
    with inventory.transaction() as sql:
        (pages,) = sql.execute("PRAGMA page_count").fetchone()
    inventory._connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_said_in_a_sentence_that_names_the_file_and_harms_nothing_else(
    inventory: Inventory, tmp_path: Path
) -> None:
    def remember_many() -> None:
        for number in range(10_000):
            inventory.remember_partial(tmp_path / f"{number:0200}", 1, 1.0)

    fill(inventory)
    with pytest.raises(StateUnavailable, match=r"the state at .*cannot be used: database or disk is full"):
        remember_many()
    inventory._connection.execute("PRAGMA max_page_count = 100000")
    inventory.remember_partial(tmp_path / "later", 1, 1.0)


def test_a_file_that_is_no_database_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"something else" * 1000)
    with pytest.raises(StateUnavailable, match=r"x\.db cannot be used: file is not a database"):
        Inventory(tmp_path / "x.db")


def test_a_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnavailable, match=r"x\.db cannot be used: (Not a directory|File exists)"):
        Inventory(tmp_path / "file" / "x.db")


def test_an_inventory_that_is_closed_is_unavailable_to_threads_that_come_late(tmp_path: Path) -> None:
    with Inventory(tmp_path / "x.db") as inventory:
        pass
    for late in (lambda: inventory.partials(), lambda: list(inventory.blobs()), lambda: inventory.forget_partial(tmp_path)):
        with pytest.raises(StateUnavailable, match="closed"):
            late()


def test_unfinished_files_are_found_while_they_lie_where_they_lay(inventory: Inventory, tmp_path: Path) -> None:
    for name in ("old", "new", "moved", "finished", "gone"):
        path = tmp_path / f"{name}.incomplete"
        path.write_bytes(b"half")
        inventory.remember_partial(path, path.stat().st_ino, 100.0 if name == "old" else 200.0)
    (tmp_path / "moved.incomplete").rename(tmp_path / "moved")
    (tmp_path / "moved.incomplete").write_bytes(b"of somebody else")
    (tmp_path / "gone.incomplete").unlink()
    inventory.forget_partial(tmp_path / "finished.incomplete")
    assert [path.name for path in inventory.partials()] == ["new.incomplete", "old.incomplete"]
    assert [path.name for path in inventory.partials(asked_before=150)] == ["old.incomplete"]


def test_threads_may_share_it(inventory: Inventory, tmp_path: Path) -> None:
    _, path, stamp = blob(tmp_path, SMALL)
    metainfo = create_torrent(path)

    def work(number: int) -> None:
        for i in range(20):
            inventory.remember(tmp_path / f"{number}-{i}", stamp, metainfo)
            list(inventory.blobs())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(inventory.blobs())) == 80


def test_what_it_says_of_repos_and_paths_is_for_its_user_alone(tmp_path: Path) -> None:
    with Inventory(tmp_path / "known.db"):
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_to_forget_a_blob_looks_at_no_other(inventory: Inventory, tmp_path: Path) -> None:
    etag, path, stamp = blob(tmp_path, BIG)
    inventory.remember(path, stamp, create_torrent(path))
    statements: list[str] = []
    with inventory.transaction() as sql:
        sql.set_trace_callback(statements.append)
    inventory.forget(etag, path)
    with inventory.transaction() as sql:
        sql.set_trace_callback(None)
        deletes = [one for one in statements if one.startswith("DELETE")]
        plans = [row[3] for one in deletes for row in sql.execute(f"EXPLAIN QUERY PLAN {one}")]
    assert len(deletes) == 3
    assert [plan for plan in plans if plan.startswith("SCAN") and "CONSTANT" not in plan] == []
