"""Large repos, and many of them: answers come in pages, and take as many statements as small ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event

from llmpt.identity.keys import ServerKey
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.identity import Identity
from llmpt_tracker.state import attach
from tests.unit.tracker.bodies import COMMIT, manifest, small
from tests.unit.tracker.conftest import Api, state_of

ROUTE = f"/api/v1/repos/model/org/name/revisions/{COMMIT}"
PATHS = [f"data/{number:02}.txt" for number in range(7)]


def selects(database: Database, ask: Callable[[], object]) -> int:
    """Return how many statements a question takes."""
    found: list[str] = []

    def note(*said: object) -> None:
        found.append(str(said[2]))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    return sum("SELECT" in one for one in found)


def publish(api: Api, paths: list[str], repo_id: str = "org/name") -> None:
    assert api.publish(manifest(*map(small, paths), repo_id=repo_id)).status_code == 200


def test_a_manifest_comes_in_pages_each_of_which_goes_on_where_the_last_has_ended(api: Api) -> None:
    publish(api, PATHS)
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        answer = api.get(ROUTE, query_string=query).get_json()
        found += [one["path"] for one in answer["files"]]
        cursor, pages = answer["next"], pages + 1
    assert (found, pages) == (PATHS, 3)
    assert api.get(ROUTE, query_string={"limit": "7"}).get_json()["next"] is None
    whole = api.get(ROUTE).get_json()
    assert ([one["path"] for one in whole["files"]], whole["next"]) == (PATHS, None)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "5001"}, {"cursor": "Li4vLi4"}, {"cursor": "?"}, {"cursor": "_w"}])
def test_what_is_no_page_is_refused(api: Api, query: dict[str, str]) -> None:
    publish(api, PATHS)
    answer = api.get(ROUTE, query_string=query)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "bad_request")


def test_the_first_page_is_signed_for_the_whole(api: Api, app: Flask, tmp_path: Path) -> None:
    publish(api, PATHS)
    state = state_of(app)
    ServerKey.generate().write(tmp_path / "server.key")
    attach(app, replace(state, identity=Identity(tmp_path / "server.key")))
    try:
        whole, part = (api.get(ROUTE, query_string={"signed": "1", **more}).get_json() for more in ({}, {"limit": "3"}))
        assert part["signature"]["signature"] == whole["signature"]["signature"]
        assert "signature" not in api.get(ROUTE, query_string={"signed": "1", "cursor": part["next"]}).get_json()
    finally:
        attach(app, state)


def test_a_manifest_takes_as_many_statements_whatever_its_size(api: Api, database: Database) -> None:
    publish(api, PATHS[:1])
    few = selects(database, lambda: api.get(ROUTE))
    publish(api, [f"many/{number}" for number in range(300)])
    assert selects(database, lambda: api.get(ROUTE)) == few <= 6


def test_the_hubs_list_with_files_takes_as_many_statements_whatever_the_number_of_repos(api: Api, database: Database) -> None:
    publish(api, PATHS, "org/first")
    one = selects(database, lambda: api.get("/api/models?full=true"))
    for number in range(12):
        publish(api, PATHS[: number % 7 + 1], f"org/other-{number}")
    assert selects(database, lambda: api.get("/api/models?full=true")) == one
    listed = {repo["id"]: repo["siblings"] for repo in api.get("/api/models?full=true").get_json()}
    assert len(listed) == 13
    assert [file["rfilename"] for file in listed["org/other-2"]] == PATHS[:3]
