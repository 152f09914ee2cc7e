"""A backup is one whole moment of the server, or nothing; a restore puts back what was found whole, and keeps what was there."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llmpt.core.errors import StateUnavailable
from llmpt_tracker.rules import tokens
from llmpt_tracker.serve import backup, folder_lock
from llmpt_tracker.serve.key_file import ensure_key
from llmpt_tracker.serve.parent import open_database
from llmpt_tracker.serve.token_file import ensure_token
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.conftest import NOW

LATER = NOW.replace(hour=13)


def settings_in(folder: Path) -> TrackerSettings:
    return TrackerSettings.read({"LLMPT_DATA": str(folder), "XDG_CONFIG_HOME": str(folder / "none")})


@pytest.fixture
def server(settings: TrackerSettings) -> TrackerSettings:
    """A server with a key, the seeder's token, and a token of ann's."""
    ensure_key(settings.key_file)
    with open_database(settings) as database:
        ensure_token(settings.token_file, database, now=NOW)
        with database.writing() as session:
            tokens.add(session, "llmpt_pub_ann", name="ann", now=NOW)
    return settings


@pytest.fixture
def made(server: TrackerSettings, tmp_path: Path) -> Path:
    """A backup of that server."""
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "llmpt.backup"
    backup.write(server, file, overwrite=False, now=NOW)
    return file


def names(settings: TrackerSettings) -> list[str]:
    with open_database(settings) as database, database.reading() as session:
        return [one.name for one in tokens.listed(session)]


def rename(settings: TrackerSettings, name: str) -> None:
    with contextlib.closing(sqlite3.connect(settings.sqlite_file)) as database, database:
        database.execute("update publisher_tokens set name = ?", (name,))


def test_another_machine_becomes_the_same_server(server: TrackerSettings, made: Path, tmp_path: Path) -> None:
    other = settings_in(tmp_path / "other")
    said, kept = backup.restore(other, made, now=LATER)
    assert (said.made_at, said.schema, kept) == (NOW, said.schema, [])
    assert names(other) == names(server) == [tokens.APPLIANCE, "ann"]
    assert ensure_key(other.key_file).public.fingerprint == ensure_key(server.key_file).public.fingerprint
    assert other.token_file.read_bytes() == server.token_file.read_bytes()
    left = {path.name: path.stat().st_mode & 0o777 for path in other.data.iterdir()}
    assert left == dict.fromkeys(("tracker.db", "server.key", "publish.token", folder_lock.NAME), 0o600)


def test_a_backup_holds_what_was_committed_and_is_its_owners_alone(server: TrackerSettings, tmp_path: Path) -> None:
    target = tmp_path / "llmpt.backup"
    with open_database(server) as database, database.writing() as session:
        tokens.add(session, "llmpt_pub_eve", name="eve", now=NOW)  # not committed yet: a writer is in the middle
        session.flush()
        backup.write(server, target, overwrite=False, now=NOW)
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as tar:
        assert tar.getnames() == [backup.CONTENTS, "tracker.db", "server.key", "publish.token"]
    other = settings_in(tmp_path / "other")
    backup.restore(other, target, now=LATER)
    assert "eve" in names(server)
    assert "eve" not in names(other)


def test_what_was_there_is_kept(server: TrackerSettings, made: Path) -> None:
    with contextlib.closing(sqlite3.connect(server.sqlite_file)) as database:  # open: what is written next stays in the -wal
        database.execute("pragma journal_mode=wal")
        rename(server, "newer")
        assert server.sqlite_file.with_name("tracker.db-wal").stat().st_size
        backup.restore(server, made, now=LATER)
    assert names(server) == [tokens.APPLIANCE, "ann"]
    aside = server.data / f"tracker.db.before-{LATER:%Y%m%dT%H%M%SZ}"
    with contextlib.closing(sqlite3.connect(aside)) as old:
        assert old.execute("select distinct name from publisher_tokens").fetchall() == [("newer",)]
    assert not list(server.data.glob("server.key.before-*"))  # it was the same


def test_a_damaged_catalogue_and_another_key_make_room(server: TrackerSettings, made: Path, tmp_path: Path) -> None:
    fingerprint = ensure_key(server.key_file).public.fingerprint
    server.key_file.unlink()
    other_key = ensure_key(server.key_file).public.fingerprint
    server.sqlite_file.write_bytes(b"rubbish" * 1000)
    server.sqlite_file.with_name("tracker.db-wal").write_bytes(b"more of it" * 1000)
    _, kept = backup.restore(server, made, now=LATER)
    assert names(server) == [tokens.APPLIANCE, "ann"]
    assert ensure_key(server.key_file).public.fingerprint == fingerprint != other_key
    assert sorted(one.name.partition(".before")[0] for one in kept) == ["server.key", "tracker.db"]
    assert {one.read_bytes()[:7] for one in kept if one.name.startswith("tracker")} == {b"rubbish"}


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flipped(file: Path) -> None:
    """One byte of the database is another one."""
    data = bytearray(file.read_bytes())
    data[data.index(b"SQLite format 3") + 5000] ^= 1
    file.write_bytes(data)


def rubbish(file: Path) -> None:
    file.write_bytes(os.urandom(5000))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def without_its_catalogue(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"tracker.db"', b'"tracker.no"'))


@pytest.mark.parametrize("broken", [cut, flipped, rubbish, empty, without_its_catalogue])
def test_a_damaged_backup_changes_nothing(server: TrackerSettings, made: Path, broken: Callable[[Path], None]) -> None:
    rename(server, "as it is")
    before = {path.name for path in server.data.iterdir()}
    broken(made)
    with pytest.raises(StateUnavailable, match="is no backup of llmpt-tracker, or is damaged"):
        backup.restore(server, made, now=LATER)
    assert {path.name for path in server.data.iterdir()} == before
    assert set(names(server)) == {"as it is"}


def test_a_backup_of_a_newer_version_changes_nothing(server: TrackerSettings, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(server.sqlite_file)) as database, database:
        ((schema,),) = database.execute("select version_num from alembic_version").fetchall()
        database.execute("update alembic_version set version_num = '9999'")
    backup.write(server, target := tmp_path / "newer.backup", overwrite=False, now=NOW)
    with contextlib.closing(sqlite3.connect(server.sqlite_file)) as database, database:
        database.execute("update alembic_version set version_num = ?", (schema,))
    with pytest.raises(StateUnavailable, match="made by a newer llmpt"):
        backup.restore(server, target, now=LATER)
    assert names(server) == [tokens.APPLIANCE, "ann"]


def test_a_format_of_a_newer_version_is_named(server: TrackerSettings, made: Path) -> None:
    data = made.read_bytes()
    made.write_bytes(data.replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(StateUnavailable, match="format 2"):
        backup.restore(server, made, now=LATER)


def test_a_file_that_is_there_stays_unless_it_is_told(server: TrackerSettings, made: Path) -> None:
    whole = made.read_bytes()
    with pytest.raises(StateUnavailable, match="--overwrite"):
        backup.write(server, made, overwrite=False, now=LATER)
    assert made.read_bytes() == whole
    backup.write(server, made, overwrite=True, now=LATER)
    with tarfile.open(made) as tar:
        contents = tar.extractfile(backup.CONTENTS)
        assert contents is not None
        assert json.load(contents)["made_at"] == LATER.isoformat()


def test_a_backup_that_cannot_be_written_leaves_nothing(
    server: TrackerSettings, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    whole = made.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateUnavailable, match=f"the disk of {made.parent} is full"):
        backup.write(server, made, overwrite=True, now=LATER)
    with pytest.raises(StateUnavailable, match=f"the disk of {server.data} is full"):
        backup.restore(server, made, now=LATER)
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    assert made.read_bytes() == whole
    assert not list(server.data.glob(".*"))


def test_a_damaged_catalogue_is_not_backed_up(server: TrackerSettings, tmp_path: Path) -> None:
    data = server.sqlite_file.read_bytes()
    server.sqlite_file.write_bytes(data[:4096] + b"\xaa" * (len(data) - 4096))
    with pytest.raises(StateUnavailable, match="cannot be backed up"):
        backup.write(server, tmp_path / "llmpt.backup", overwrite=False, now=NOW)
    assert not list(tmp_path.glob("*llmpt.backup*"))


def test_while_a_tracker_runs_nothing_is_restored_and_the_other_way_round(server: TrackerSettings, made: Path) -> None:
    with folder_lock.shared(server.data), folder_lock.shared(server.data):
        with pytest.raises(StateUnavailable, match="stop it first"):
            backup.restore(server, made, now=LATER)
        backup.write(server, made, overwrite=True, now=LATER)
    with folder_lock.alone(server.data), pytest.raises(StateUnavailable, match="being restored"), folder_lock.shared(server.data):
        pass
    backup.restore(server, made, now=LATER)


def test_another_database_and_no_database_are_told(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable, match="LLMPT_DATA says where"):
        backup.write(settings_in(tmp_path), tmp_path / "x", overwrite=False, now=NOW)
    environ = {"LLMPT_DATA": str(tmp_path), "LLMPT_DATABASE_URL": "postgresql+psycopg://me:secret@host/name"}
    with pytest.raises(StateUnavailable, match=r"\(postgresql\+psycopg://me:\*\*\*@host/name\).*pg_dump"):
        backup.write(TrackerSettings.read(environ), tmp_path / "x", overwrite=False, now=NOW)


def test_a_backup_that_is_not_there_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable, match="No such file"):
        backup.restore(settings_in(tmp_path / "data"), tmp_path / "none", now=NOW)
    assert not (tmp_path / "data").exists()
