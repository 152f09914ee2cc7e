"""A state file that cannot be used is one sentence: the file, what it holds, what to do; and nothing is overwritten."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from llmpt.core.errors import LlmptError, StateUnavailable
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.serve.parent import open_database
from llmpt_tracker.serve.state_files import usable
from llmpt_tracker.serve.token_file import ensure_token
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.conftest import NOW

Break = Callable[[Path], None]


def garbage(file: Path) -> None:
    file.write_bytes(os.urandom(9000))


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:8192])


def overwritten(file: Path) -> None:
    """Every page but the first, as a disk that lies leaves them."""
    data = file.read_bytes()
    file.write_bytes(data[:4096] + b"\xaa" * (len(data) - 4096))


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_folder_for_its_wal(file: Path) -> None:
    file.with_name("tracker.db-wal").mkdir()


def a_link_to_nowhere(file: Path) -> None:
    file.unlink()
    file.symlink_to("/nowhere/tracker.db")


@pytest.mark.parametrize("broken", [garbage, truncated, overwritten, a_folder, a_folder_for_its_wal, a_link_to_nowhere])
def test_a_database_that_cannot_be_used_is_one_sentence(settings: TrackerSettings, broken: Break) -> None:
    broken(settings.sqlite_file)
    with pytest.raises(StateUnavailable) as error:
        open_database(settings)
    said = str(error.value)
    assert said.startswith(f"{settings.sqlite_file} cannot be used: ")
    assert "It holds the catalogue, tokens, and what is to be fetched; " in said
    assert "\n" not in said
    assert re.search(r"move it away|remove that folder", said)


def test_a_copy_that_was_made_before_an_update_is_named(settings: TrackerSettings) -> None:
    backups = settings.data / "backups"
    backups.mkdir()
    (backups / "tracker-x-before-0006.db").touch()
    garbage(settings.sqlite_file)
    with pytest.raises(StateUnavailable, match=re.escape(f"a copy from {backups}")):
        open_database(settings)


def test_a_file_in_the_place_of_the_copies_is_named(settings: TrackerSettings) -> None:
    settings.sqlite_file.unlink()
    with sqlite3.connect(settings.sqlite_file) as old:
        old.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        old.execute("INSERT INTO alembic_version VALUES ('0001')")
    old.close()
    (settings.data / "backups").touch()
    with pytest.raises(LlmptError, match="backups"):
        open_database(settings)


def test_an_empty_database_is_made_anew(settings: TrackerSettings) -> None:
    settings.sqlite_file.write_bytes(b"")
    with open_database(settings) as database:
        database.ping()


@pytest.mark.parametrize("broken", [lambda file: file.mkdir(), lambda file: file.symlink_to("/nowhere/token")])
def test_a_token_file_that_cannot_be_used_is_one_sentence(database: Database, tmp_path: Path, broken: Break) -> None:
    file = tmp_path / "publish.token"
    broken(file)
    if file.is_symlink():  # a link is replaced: it leads nowhere
        ensure_token(file, database, now=NOW)
        assert file.read_text().startswith("llmpt_pub_")
        return
    with pytest.raises(StateUnavailable, match="holds the token with which the seeder publishes; remove that folder"):
        ensure_token(file, database, now=NOW)


def test_a_file_of_another_user_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "tracker.db"
    with pytest.raises(StateUnavailable) as error, usable(file, "the catalogue", "mend it"):
        raise PermissionError(13, "Permission denied", str(file))
    said = f"user {os.geteuid()} may not use it. It holds the catalogue; make it that user's: chown {os.geteuid()} {file}*"
    assert str(error.value) == f"{file} cannot be used: {said}"


def test_an_empty_token_file_is_filled(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "publish.token"
    file.touch()
    ensure_token(file, database, now=NOW)
    assert file.read_text().startswith("llmpt_pub_")
