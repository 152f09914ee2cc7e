"""Who has what now: each publisher's word for itself, and what is listed by it."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from llmpt_tracker.control.messages import SeederReport, Traffic
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import tokens
from llmpt_tracker.serve.bookkeeping import Bookkeeping
from tests.unit.tracker.bodies import COMMIT, OTHER_COMMIT, big, elsewhere, manifest, packed, report, small, torrent
from tests.unit.tracker.conftest import NOW, Api, publisher
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs
from tests.unit.tracker.hub_client import HubClient

MODEL = torrent("model")
FILES = (big("model.bin", MODEL), small("config.json"))


def say(api: Api, *files: dict[str, Any], seeder: str = "one", **changes: Any) -> None:
    body = manifest(*files, **{"seeder": seeder, "anew": True, "torrents": packed(MODEL), **changes})
    answer = api.publish(body)
    assert answer.status_code == 200, answer.get_data(as_text=True)


def holdings(api: Api, seeder: str = "one") -> dict[str, Any]:
    header = {"Authorization": f"Bearer {api.token}"}
    answer = api.get(f"/api/v1/seeders/{seeder}/holdings", headers=header)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json()
    return found


def repos(api: Api) -> dict[str, list[dict[str, Any]]]:
    return {one["repo_id"]: one["revisions"] for one in api.get("/api/v1/repos").get_json()["repos"]}


def gone(api: Api, seeder: str = "one", commit: str = COMMIT) -> None:
    say(api, seeder=seeder, refs=[], complete=False, torrents=[], commit=commit)


@pytest.fixture
def hub(app: Flask, blobs: FakeBlobs, announcer: FakeAnnouncer) -> HubClient:
    return HubClient(app, blobs, announcer)


def test_what_its_publisher_withdraws_is_listed_nowhere(api: Api, hub: HubClient) -> None:
    say(api, *FILES)
    assert list(repos(api)) == ["org/name"]
    gone(api)
    assert repos(api) == {}
    assert api.torrents() == []
    page = api.get("/").get_data(as_text=True)
    assert "org/name" not in page
    assert "Nothing is published yet" in page
    assert hub.json("/api/models") == []
    for path in ("/api/models/org/name", "/api/models/org/name/refs", "/api/models/org/name/tree/main"):
        answer = hub.get(path)
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_what_a_commit_holds_stays_known(api: Api, hub: HubClient) -> None:
    say(api, *FILES)
    gone(api)
    known = api.get(f"/api/v1/repos/model/org/name/revisions/{COMMIT}").get_json()
    assert [(file["path"], file["here"]) for file in known["files"]] == [("config.json", False), ("model.bin", False)]
    assert len(hub.json(f"/api/models/org/name/tree/{COMMIT}")) == 2
    assert api.torrents(etag=MODEL.etag.value)[0]["etag"] == MODEL.etag.value  # a machine that has it finds its swarm


def test_a_single_file_that_is_withdrawn_is_here_no_longer(api: Api) -> None:
    say(api, *FILES)
    say(api, elsewhere(FILES[0]), FILES[1])
    (revision,) = repos(api)["org/name"]
    assert (revision["files"], revision["files_here"]) == (2, 1)
    assert api.torrents() == []


def test_a_ref_that_is_withdrawn_while_its_commit_stays_is_gone(api: Api, hub: HubClient) -> None:
    say(api, *FILES, refs=["main", "v1"])
    say(api, *FILES)
    assert repos(api)["org/name"][0]["refs"] == ["main"]
    assert hub.get("/api/models/org/name/revision/v1").headers["X-Error-Code"] == "RevisionNotFound"


def test_what_another_publisher_has_too_stays(api: Api) -> None:
    say(api, *FILES)
    api.beat(report(), seeder="one")
    say(api, FILES[1], seeder="two", complete=False, torrents=[])
    gone(api)
    (revision,) = repos(api)["org/name"]
    assert (revision["refs"], revision["files_here"]) == (["main"], 1)
    gone(api, seeder="two")
    assert repos(api) == {}


def test_what_was_said_without_a_name_stays(app: Flask, api: Api) -> None:
    publisher(app).publish(manifest(*FILES, torrents=packed(MODEL)))
    say(api, *FILES)
    gone(api)
    assert repos(api)["org/name"][0]["files_here"] == 2


def test_a_part_takes_nothing_back(api: Api) -> None:
    say(api, FILES[0], refs=[], complete=False, more=True)
    say(api, FILES[1], anew=False)
    assert repos(api)["org/name"][0]["files_here"] == 2


@pytest.mark.parametrize("odd", [{"seeder": "a b"}, {"seeder": None}, {"seeder": ""}])
def test_taking_back_needs_a_name(api: Api, odd: dict[str, Any]) -> None:
    assert api.publish(manifest(small("a"), **{"anew": True, **odd})).status_code == 400


def test_a_seeder_is_told_what_is_here_on_its_word(app: Flask, api: Api) -> None:
    publisher(app).publish(manifest(small("else"), commit=OTHER_COMMIT, refs=["dev"]))
    say(api, *FILES, elsewhere(small("x")))
    told = holdings(api)
    place = {"repo_type": "model", "repo_id": "org/name"}
    assert told["commits"] == [{**place, "commit": COMMIT, "complete": True, "files": 3, "here": 2, "torrents": 1}]
    assert told["refs"] == [{**place, "name": "main", "commit": COMMIT}]
    assert api.beat(report(), seeder="one").get_json()["holdings"] == told["digest"]
    assert holdings(api, "two")["commits"] == []


def test_a_ref_that_another_publisher_moved_is_told_as_that(api: Api) -> None:
    say(api, *FILES)
    api.beat(report(), seeder="one")
    say(api, small("a"), seeder="two", commit=OTHER_COMMIT, torrents=[])
    assert holdings(api)["refs"][0]["commit"] is None
    gone(api, seeder="two", commit=OTHER_COMMIT)
    assert holdings(api)["refs"][0]["commit"] == OTHER_COMMIT  # which is wrong, and the first one's to mend


@pytest.mark.parametrize("table", ["blobs", "files", "metainfo", "refs", "revisions", "repos"])
@pytest.mark.parametrize("keys", ["on", "off"])
def test_a_row_that_is_lost_is_missed_and_comes_back(api: Api, database: Database, table: str, keys: str) -> None:
    say(api, *FILES)
    before = holdings(api)
    on, off = "PRAGMA foreign_keys=on", "PRAGMA foreign_keys=off"
    if database.engine.dialect.name == "postgresql":
        on, off = "SET session_replication_role = origin", "SET session_replication_role = replica"
    with database.engine.connect() as connection:
        for statement in ("ROLLBACK", on if keys == "on" else off, f"DELETE FROM {table}", on):
            connection.exec_driver_sql(statement)
        connection.commit()
    assert holdings(api)["digest"] != before["digest"]
    say(api, *FILES)
    assert holdings(api) == before
    answer = api.torrents(etag=MODEL.etag.value, include="metainfo")
    assert answer[0]["metainfo"] == packed(MODEL)[0]


def test_a_seeder_whose_memory_is_new_takes_the_place_of_the_one_before(api: Api, announcer: FakeAnnouncer) -> None:
    say(api, *FILES, seeder="old")
    say(api, small("b"), seeder="new", commit=OTHER_COMMIT, torrents=[])
    assert [one["commit"] for one in repos(api)["org/name"]] == [OTHER_COMMIT]
    api.beat(report(), seeder="new")
    say(api, *FILES, seeder="third")  # beside one that is alive
    assert len(repos(api)["org/name"]) == 2


class Observer:
    """What an announcer sees: the swarms that machines seed, and the seeders it has heard of."""

    def __init__(self) -> None:
        self.kept_by_machines: set[bytes] = set()
        self.heard: list[str] = []

    def newly_completed(self) -> dict[bytes, int]:
        return {}

    def traffic(self) -> Traffic:
        return Traffic()

    def kept(self, swarms: list[bytes]) -> frozenset[bytes]:
        return frozenset(self.kept_by_machines.intersection(swarms))

    def seeders(self) -> list[SeederReport]:
        return [SeederReport(name, 1.0) for name in self.heard]


def test_what_machines_of_the_lan_seed_is_here_as_long_as_they_do(api: Api, database: Database) -> None:
    say(api, *FILES)
    gone(api)
    observer = Observer()
    observer.kept_by_machines = {MODEL.info_hash.truncated}
    books = Bookkeeping(observer, database)  # type: ignore[arg-type]
    books.keep()
    (revision,) = repos(api)["org/name"]
    assert (revision["refs"], revision["files_here"]) == (["main"], 1)
    observer.kept_by_machines.clear()
    books.keep()
    assert repos(api) == {}


def test_what_a_machine_shares_is_here_at_once(api: Api, database: Database) -> None:
    api.publish(manifest(elsewhere(FILES[0])))
    secret = tokens.new_secret(tokens.SHARE)
    with database.writing() as session:
        tokens.add(session, secret, name="ann", now=NOW, scope=tokens.SHARE)
    assert repos(api) == {}
    assert api.publish({"torrents": packed(MODEL)}, token=secret).status_code == 200
    assert repos(api)["org/name"][0]["files_here"] == 1


def test_a_seeder_that_is_silent_for_a_day_has_nothing(api: Api, database: Database) -> None:
    say(api, *FILES)
    observer, now = Observer(), [0.0]
    books = Bookkeeping(observer, database, silent_s=100, monotonic=lambda: now[0])  # type: ignore[arg-type]
    books.keep()
    assert list(repos(api)) == ["org/name"]  # the announcer is new: it has heard of none
    now[0], observer.heard = 101.0, ["one"]
    books.keep()
    assert list(repos(api)) == ["org/name"]
    observer.heard = []
    books.keep()
    assert repos(api) == {}


def test_what_was_said_before_seeders_had_names_gives_way_to_the_first(api: Api, database: Database) -> None:
    publisher_body = manifest(*FILES, torrents=packed(MODEL))
    api.publish(publisher_body)
    with database.writing() as session:
        session.execute(text("UPDATE files SET holders = 4611686018427387904"))
        session.execute(text("UPDATE refs SET holders = 4611686018427387904"))
    assert list(repos(api)) == ["org/name"]
    say(api, small("b"), commit=OTHER_COMMIT, torrents=[], refs=[])
    assert [one["commit"] for one in repos(api)["org/name"]] == [OTHER_COMMIT]
