"""What an operator says of the queue: by the rules, over the API, on /admin and at the command line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask

from llmpt.core.errors import InvalidInput
from llmpt.core.mirrors import OPEN, MirrorAsk, MirrorReport, MirrorState
from llmpt.core.orders import MirrorOrders
from llmpt.core.repo import RepoRef
from llmpt_tracker.cli import cli
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import audit, mirrors, orders, tokens
from llmpt_tracker.rules.audit import OPERATOR
from llmpt_tracker.rules.rights import Rights
from tests.unit.tracker.conftest import NOW, state_of
from tests.unit.tracker.fakes import FakeBlobs

ORG, OTHER = RepoRef("model", "org/new"), RepoRef("dataset", "org/other")
ALL = MirrorAsk(ORG, "main", ("*",))
HOUR = timedelta(hours=1)


def ask(database: Database, wanted: MirrorAsk = ALL, *, later: timedelta = timedelta(), insist: bool = False) -> tuple[int, str]:
    with database.writing() as session:
        row = mirrors.ask(session, wanted, now=NOW + later, insist=insist)
        return row.id, row.state.value


def order(database: Database) -> list[str]:
    with database.reading() as session:
        found, _ = mirrors.next_page(session, states=OPEN, limit=50, after=None, listings=True, now=NOW)
        return [str(one.ask) for one in found]


def test_what_is_cancelled_takes_no_report_and_is_not_begun_anew_but_by_hand(database: Database) -> None:
    number, _ = ask(database)
    with database.writing() as session:
        assert orders.cancel_repo(session, ORG, OPERATOR, now=NOW) == 1
        assert orders.orders(session, now=NOW).cancelled == {number}
    with database.writing() as session, pytest.raises(Refused, match="has cancelled") as no:
        mirrors.report(session, number, MirrorReport(MirrorState.RUNNING), now=NOW)
    assert no.value.status == 409
    assert ask(database, later=23 * HOUR) == (number, "cancelled")
    assert order(database) == []
    assert ask(database, later=HOUR, insist=True) == (number, "queued")
    with database.reading() as session:
        assert orders.orders(session, now=NOW).cancelled == frozenset()


def test_only_what_is_open_can_be_cancelled(database: Database) -> None:
    number, _ = ask(database)
    with database.writing() as session:
        mirrors.report(session, number, MirrorReport(MirrorState.DONE, "c" * 40), now=NOW)
    with database.writing() as session:
        with pytest.raises(Refused, match="is done already"):
            orders.cancel_one(session, number, OPERATOR, now=NOW)
        with pytest.raises(Refused, match="with the number 99"):
            orders.cancel_one(session, 99, OPERATOR, now=NOW)
        with pytest.raises(Refused, match="nothing of org/new"):
            orders.cancel_repo(session, ORG, OPERATOR, now=NOW)


def test_an_order_is_for_a_repo_however_its_name_is_written(database: Database) -> None:
    ask(database)
    ask(database, MirrorAsk(OTHER, "main", ("*",)))
    loud = RepoRef("dataset", "Org/OTHER")
    with database.writing() as session:
        orders.pin(session, loud, OPERATOR, now=NOW)
        orders.pin(session, OTHER, OPERATOR, now=NOW)
        assert orders.pinned(session) == [loud]
    assert order(database) == [f"{OTHER}@main", f"{ORG}@main"]
    with database.writing() as session:
        orders.unpin(session, OTHER, OPERATOR, now=NOW)
        assert orders.cancel_repo(session, RepoRef("model", "ORG/New"), OPERATOR, now=NOW) == 1
    assert order(database) == [f"{OTHER}@main"]


def test_what_is_pinned_goes_before_other_files_and_after_listings(database: Database) -> None:
    ask(database)
    ask(database, MirrorAsk(OTHER, "main", ("*",)))
    ask(database, MirrorAsk(RepoRef("model", "org/listed"), "main"))
    with database.writing() as session:
        orders.pin(session, OTHER, OPERATOR, now=NOW)
        orders.pin(session, OTHER, OPERATOR, now=NOW)
        assert orders.orders(session, now=NOW).pinned == {OTHER}
    assert order(database) == [f"{RepoRef('model', 'org/listed')}@main", f"{OTHER}@main", f"{ORG}@main"]
    with database.reading() as session:  # page by page, too
        key, seen = None, []
        while True:
            found, key = mirrors.next_page(session, states=OPEN, limit=1, after=key, listings=True, now=NOW)
            seen += [str(one.ask) for one in found]
            if key is None:
                break
    assert seen == order(database)
    with database.writing() as session:
        orders.unpin(session, OTHER, OPERATOR, now=NOW)
        with pytest.raises(Refused, match="is not pinned"):
            orders.unpin(session, OTHER, OPERATOR, now=NOW)
        noted, _ = audit.page(session, limit=9)
    assert [one.event for one in noted] == [audit.UNPINNED, audit.PINNED]  # that nothing was done is not noted


def bearer(app: Flask, scope: str, repos: str | None = None) -> dict[str, str]:
    secret = tokens.new_secret(scope)
    with state_of(app).database.writing() as session:
        tokens.grant(session, secret, Rights.read(scope, repos), name=f"the {scope}'s", now=NOW)
    return {"Authorization": f"Bearer {secret}"}


def test_over_the_api_an_admin_cancels_and_pins_and_the_seeder_is_knocked_for(app: Flask, blobs: FakeBlobs) -> None:
    client, admin, seeder = app.test_client(), bearer(app, "admin"), bearer(app, "publish")
    number, _ = ask(state_of(app).database)
    answer = client.delete(f"/api/v1/mirrors/{number}", headers=admin)
    assert (answer.status_code, answer.json["state"]) == (200, "cancelled")  # type: ignore[index]
    assert client.delete(f"/api/v1/mirrors/{number}", headers=admin).status_code == 409
    assert client.put("/api/v1/pins/dataset/org/other", headers=admin).json == {
        "repo_type": "dataset",
        "repo_id": "org/other",
        "pinned": True,
    }
    said = MirrorOrders.parse(client.get("/api/v1/mirrors/orders", headers=seeder).json)
    assert said == MirrorOrders(frozenset({number}), frozenset({OTHER}))
    assert blobs.knocks == 2
    assert client.delete("/api/v1/pins/dataset/org/other", headers=admin).status_code == 200
    assert client.delete("/api/v1/pins/dataset/org/other", headers=admin).status_code == 404
    with state_of(app).database.reading() as session:
        noted, _ = audit.page(session, limit=9)
    by_admin = [one.event for one in noted if one.actor.token == "the admin's"]
    assert by_admin == [audit.UNPINNED, audit.PINNED, audit.MIRROR_CANCELLED]


def test_no_other_token_orders_anything(app: Flask) -> None:
    client, number = app.test_client(), ask(state_of(app).database)[0]
    for scope, repos in (("publish", None), ("mirror", None), ("read", None), ("share", None), ("admin", "other/*")):
        its = bearer(app, scope, repos)
        assert client.delete(f"/api/v1/mirrors/{number}", headers=its).status_code == 403
        assert client.put("/api/v1/pins/model/org/new", headers=its).status_code == 403
    assert client.delete(f"/api/v1/mirrors/{number}").status_code == 401
    assert client.put("/api/v1/pins/model/org/new").status_code == 401
    assert client.get("/api/v1/mirrors/orders").status_code == 401
    assert ask(state_of(app).database) == (number, "queued")


@pytest.mark.parametrize(
    "said",
    [
        None,
        {"cancelled": [], "pinned": {}},
        {"cancelled": [True], "pinned": []},
        {"cancelled": ["1"], "pinned": []},
        {"cancelled": [], "pinned": [{"repo_type": "model", "repo_id": "../x"}]},
    ],
)
def test_orders_that_make_no_sense_are_none(said: object) -> None:
    with pytest.raises(InvalidInput):
        MirrorOrders.parse(said)


def test_at_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LLMPT_DATA", str(tmp_path / "data"))

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, ["queue", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert run("pin", "datasets/org/other") == f"pinned: {OTHER}\n"
    assert run("list") == f"pinned  {OTHER}\nnothing is to be fetched\n"
    assert run("unpin", "datasets/org/other") == f"not pinned any more: {OTHER}\n"
    with pytest.raises(Refused, match="nothing of org/new"):
        run("cancel", "org/new")
    with pytest.raises(Refused, match="with the number 7"):
        run("cancel", "7")
