"""What a token may do, for which repos and until when; how it gets another secret; what is noted of its use."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmpt.core.repo import RepoRef
from llmpt_tracker.cli import cli
from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused
from llmpt_tracker.notes import Notes
from llmpt_tracker.rules import audit, tokens
from llmpt_tracker.rules.rights import PREFIXES, READ, Rights, grants, may
from llmpt_tracker.serve.token_file import ensure_token
from tests.unit.tracker.conftest import NOW, Api

MODEL, DATASET = RepoRef("model", "org/m"), RepoRef("dataset", "org/d")


def made(database: Database, rights: Rights) -> str:
    secret = tokens.new_secret(*rights.scopes)
    with database.writing() as session:
        tokens.grant(session, secret, rights, name="t", now=NOW)
    return secret


def refusal(database: Database, secret: str, *scopes: str, later: timedelta = timedelta()) -> str | None:
    """Return the code with which a token is refused; None when it is not."""
    with database.reading() as session:
        try:
            tokens.authenticate(session, f"Bearer {secret}", scopes or ("publish",), now=NOW + later)
        except Refused as no:
            return no.code
    return None


@pytest.mark.parametrize("scope", PREFIXES)
def test_the_prefix_says_the_scope(scope: str) -> None:
    assert tokens.new_secret(scope).startswith(PREFIXES[scope])


def test_a_publisher_may_ask_for_mirrors_and_read_and_a_reader_only_read(database: Database) -> None:
    publisher, reader = made(database, Rights.read("publish")), made(database, Rights.read("read"))
    assert [refusal(database, publisher, scope) for scope in ("publish", "mirror", "read", "admin")] == [None] * 3 + ["scope"]
    assert [refusal(database, reader, scope) for scope in ("publish", "mirror", "read", "share")] == ["scope"] * 2 + [
        None,
        "scope",
    ]


def test_a_token_names_repos_and_without_patterns_all(database: Database) -> None:
    named = PublisherToken(scope="read", repos="org/*,!org/secret")
    assert [grants(named).allows(repo) for repo in (MODEL, DATASET, RepoRef("model", "org/secret"))] == [True, False, False]
    assert grants(PublisherToken(scope="publish", repos=None)).allows(DATASET)


@pytest.mark.parametrize(("scopes", "repos"), [("root", None), ("", None), ("read", ""), ("read", "!"), ("read", "x" * 400)])
def test_rights_that_there_are_not_are_a_sentence(scopes: str, repos: str | None) -> None:
    with pytest.raises(Refused):
        Rights.read(scopes, repos)


def test_a_token_ends_when_it_was_said_to(database: Database) -> None:
    secret = made(database, Rights(expires_at=NOW + timedelta(days=1)))
    assert refusal(database, secret) is None
    assert refusal(database, secret, later=timedelta(days=1)) == "token_expired"


def test_a_rotated_token_has_two_secrets_for_a_while_and_then_one(database: Database) -> None:
    old = made(database, Rights.read("mirror,share"))
    with database.writing() as session:
        _, new = tokens.rotate(session, 1, now=NOW, overlap=timedelta(hours=1))
    assert new.startswith("llmpt_mirror_")
    assert [refusal(database, one, "share") for one in (old, new)] == [None, None]
    later = timedelta(hours=1)
    assert [refusal(database, one, "share", later=later) for one in (old, new)] == ["token_rotated", None]


def test_a_token_that_is_over_is_not_rotated(database: Database) -> None:
    made(database, Rights(expires_at=NOW))
    with pytest.raises(Refused, match="is over"), database.writing() as session:
        tokens.rotate(session, 1, now=NOW)


def test_rotating_the_seeders_token_puts_the_new_one_into_its_file(tmp_path: Path) -> None:
    environ = {"LLMPT_DATA": str(tmp_path)}
    file, run = tmp_path / "publish.token", CliRunner()
    run.invoke(cli, ["token", "list"], env=environ)  # makes the database
    with Database(f"sqlite:///{tmp_path}/tracker.db") as database:
        ensure_token(file, database, now=NOW)
        old = file.read_text().strip()
        said = run.invoke(cli, ["token", "rotate", "1", "--overlap", "0m"], env=environ)
        new = file.read_text().strip()
        assert new not in said.output
        assert str(file) in said.output
        later = timedelta(days=3650)  # than this computer's clock
        assert [refusal(database, one, later=later) for one in (old, new)] == ["token_rotated", None]
        file.write_text(old)  # as from a backup: what was rotated away is not taken in anew
        ensure_token(file, database, now=NOW)
        assert refusal(database, old, later=later) == "token_rotated"


def test_tokens_are_made_and_listed_by_the_command_and_stand_in_the_audit_log(tmp_path: Path) -> None:
    environ, run = {"LLMPT_DATA": str(tmp_path)}, CliRunner()
    options = ["--scope", "read,mirror", "--repos", "org/*", "--expires", "90d", "--name", "ann"]
    secret = run.invoke(cli, ["token", "create", *options], env=environ).output.strip()
    assert secret.startswith("llmpt_mirror_")
    run.invoke(cli, ["token", "revoke", "1"], env=environ)
    listed = run.invoke(cli, ["token", "list"], env=environ).output
    assert all(word in listed for word in ("revoked", "never used", "mirror,read", "org/*", "ann"))
    log = run.invoke(cli, ["audit", "--json", "--since", "1h"], env=environ).output
    assert [line.split('"event": "')[1].split('"')[0] for line in log.splitlines()] == ["token_made", "token_revoked"]
    assert secret not in listed + log
    assert run.invoke(cli, ["audit", "--since", "yesterday"], env=environ).exit_code == 2
    assert run.invoke(cli, ["token", "create", "--scope", "root"], env=environ).exit_code == 1


def test_the_use_of_a_token_is_written_once_a_minute_and_not_with_each_request(database: Database) -> None:
    made(database, Rights())
    now = 0.0
    notes = Notes(database, lambda: NOW, monotonic=lambda: now)
    for _ in range(100):
        notes.used(1)
    with database.reading() as session:
        assert tokens.get(session, 1).last_used_at is None
    notes.write()
    with database.reading() as session:
        assert tokens.get(session, 1).last_used_at == NOW


def test_a_flood_of_refusals_is_a_few_lines_of_the_audit_log(database: Database) -> None:
    notes = Notes(database, lambda: NOW, lines=3)
    for number in range(1000):
        notes.often(audit.REFUSED, audit.Actor(address=f"10.0.0.{number}"), "x")
    notes.write()
    with database.reading() as session:
        assert [one.times for one in audit.entries(session)] == [1, 1, 1, 997]


def test_of_each_kind_the_newest_lines_are_kept(database: Database) -> None:
    with database.writing() as session:
        audit.note(session, audit.PUBLISHED, audit.OPERATOR, now=NOW)
        for number in range(5):
            audit.note(session, audit.REFUSED, audit.OPERATOR, now=NOW, number=number)
        audit.note(session, audit.DELETED, audit.OPERATOR, now=NOW - timedelta(days=500))
        session.flush()
        audit.prune(session, now=NOW, kept_rows=2)
    with database.reading() as session:
        kept = [(one.event, one.detail.get("number")) for one in audit.entries(session)]
    assert kept == [("published", None), ("refused", 3), ("refused", 4)]


def test_a_token_publishes_the_repos_that_it_names_and_no_other(api: Api, database: Database) -> None:
    secret = made(database, Rights.read("publish", "org/*"))
    body = {"repo_type": "model", "commit": "1" * 40, "refs": ["main"], "files": []}
    assert api.publish({**body, "repo_id": "org/m"}, token=secret).status_code == 200
    refused = api.publish({**body, "repo_id": "other/m"}, token=secret)
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "repo_not_granted")  # type: ignore[index]
    assert "token create --repos" in refused.json["error"]["message"]  # type: ignore[index]
    assert may(PublisherToken(scope="publish"), READ)
