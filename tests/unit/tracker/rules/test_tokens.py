"""Publisher tokens, and the file that holds the first one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import tokens
from llmpt_tracker.serve.token_file import ensure_token
from tests.unit.tracker.conftest import NOW


def may_publish(database: Database, secret: str) -> bool:
    with database.reading() as session:
        try:
            tokens.authenticate(session, f"Bearer {secret}")
        except Refused:
            return False
        return True


def test_only_the_hash_of_a_token_is_kept(database: Database) -> None:
    secret = tokens.new_secret()
    assert secret.startswith("llmpt_pub_")
    assert len(secret) == len("llmpt_pub_") + 43
    with database.writing() as session:
        tokens.add(session, secret, name="x", now=NOW)
        stored = session.execute(text("select * from publisher_tokens")).one()
    assert secret not in repr(stored)
    assert may_publish(database, secret)


@pytest.mark.parametrize("name", ["", "x" * 81, "a\nb", "\x1b[31m"])
def test_a_tokens_name_can_be_shown(database: Database, name: str) -> None:
    with pytest.raises(Refused), database.writing() as session:
        tokens.add(session, tokens.new_secret(), name=name, now=NOW)


def test_the_first_start_makes_a_token_that_only_its_owner_reads(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    file = tmp_path / "publish.token"
    ensure_token(file, database, now=NOW)
    secret = file.read_text().strip()
    assert may_publish(database, secret)
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret not in caplog.text
    assert [path.name for path in tmp_path.glob("*token*")] == ["publish.token"]


def test_the_next_start_keeps_it(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "publish.token"
    ensure_token(file, database, now=NOW)
    secret = file.read_text()
    ensure_token(file, database, now=NOW)
    assert file.read_text() == secret
    with database.reading() as session:
        assert [one.appliance for one in tokens.listed(session)] == [True]


def test_a_new_database_learns_the_token_that_the_seeder_has(database: Database, tmp_path: Path) -> None:
    secret = tokens.new_secret()
    (tmp_path / "publish.token").write_text(secret + "\n")
    ensure_token(tmp_path / "publish.token", database, now=NOW)
    assert may_publish(database, secret)


def test_a_revoked_token_is_not_revived_by_its_file(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "publish.token"
    ensure_token(file, database, now=NOW)
    with database.writing() as session:
        tokens.revoke(session, 1, now=NOW)
    ensure_token(file, database, now=NOW)
    assert not may_publish(database, file.read_text().strip())


def test_a_file_that_holds_something_else_gives_nobody_a_right(database: Database, tmp_path: Path) -> None:
    (tmp_path / "publish.token").write_text("password\n")
    ensure_token(tmp_path / "publish.token", database, now=NOW)
    assert not may_publish(database, "password")
