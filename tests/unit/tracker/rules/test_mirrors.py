"""Mirrors, what is to be fetched from upstream: the queue's rules, and its routes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

import pytest
from flask import Flask

from llmpt.core.mirrors import MirrorAsk, MirrorProblem, MirrorReport, MirrorState, exactly
from llmpt.core.repo import RepoRef
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused
from llmpt_tracker.mirrored_upstream import MirroredUpstream
from llmpt_tracker.rules import mirrors, tokens
from tests.unit.tracker.bodies import COMMIT, manifest, small
from tests.unit.tracker.conftest import NOW, Api, state_of
from tests.unit.tracker.fakes import FakeBlobs

ORG = RepoRef("model", "org/new")
LISTING = MirrorAsk(ORG, "main")
ALL = MirrorAsk(ORG, "main", ("*",))
SECOND = timedelta(seconds=1)


def ask(database: Database, wanted: MirrorAsk, *, later: timedelta = timedelta(), **more: Any) -> tuple[int, str]:
    with database.writing() as session:
        row = mirrors.ask(session, wanted, now=NOW + later, **more)
        return row.id, row.state.value


def report(database: Database, row_id: int, *, later: timedelta = timedelta(), **said: Any) -> None:
    """Report on a mirror; `message`, `status` and `retry_after_s` are its error's."""
    error = {name: said.pop(name) for name in ("message", "status", "retry_after_s") if name in said}
    state = MirrorState(said.pop("state"))
    with database.writing() as session:
        problem = MirrorProblem(**error) if error else None
        mirrors.report(session, row_id, MirrorReport(state, **said, error=problem), now=NOW + later)


def test_what_is_asked_for_again_is_one_mirror(database: Database) -> None:
    first = ask(database, MirrorAsk(ORG, "main", ("a", "b")))
    assert ask(database, MirrorAsk(ORG, "main", ("b", "a", "b")), later=SECOND) == first
    assert ask(database, MirrorAsk(ORG, "dev", ("a", "b"))) != first
    assert ask(database, MirrorAsk(RepoRef("dataset", "org/new"), "main", ("a", "b"))) != first
    with database.reading() as session:
        assert mirrors.get(session, first[0], now=NOW).wanted_at == NOW + SECOND


def test_what_is_done_is_queued_anew_but_not_at_once(database: Database) -> None:
    row, _ = ask(database, LISTING)
    report(database, row, state="done", commit=COMMIT)
    assert ask(database, LISTING, later=SECOND) == (row, "done")
    assert ask(database, LISTING, later=60 * SECOND) == (row, "queued")


@pytest.mark.parametrize(("retry_after_s", "stands_s"), [(None, 60), (7, 7)])
def test_a_failure_stands_for_a_while_unless_somebody_insists(
    database: Database, retry_after_s: int | None, stands_s: int
) -> None:
    row, _ = ask(database, LISTING)
    report(database, row, state="failed", status=429, message="later", retry_after_s=retry_after_s)
    assert ask(database, LISTING, later=(stands_s - 1) * SECOND) == (row, "failed")
    assert ask(database, LISTING, later=(stands_s + 1) * SECOND) == (row, "queued")
    report(database, row, state="failed", message="again")
    assert ask(database, LISTING, later=SECOND, insist=True) == (row, "queued")


@pytest.mark.parametrize("said", [{"state": "done", "commit": COMMIT}, {"state": "failed", "message": "no"}])
def test_what_ended_in_the_future_stands_no_longer(database: Database, said: dict[str, str]) -> None:
    row, _ = ask(database, LISTING)
    report(database, row, later=3600 * SECOND, **said)
    assert ask(database, LISTING, later=SECOND) == (row, "queued")  # the clock was set back


@pytest.mark.parametrize("said", [{"state": "done", "commit": COMMIT}, {"state": "failed", "message": "no"}])
def test_one_that_looked_at_the_clock_before_it_ended_does_not_begin_it_anew(database: Database, said: dict[str, str]) -> None:
    row, _ = ask(database, LISTING)
    report(database, row, later=SECOND, **said)
    assert ask(database, LISTING) == (row, said["state"])


def test_a_mirror_under_way_is_not_begun_anew(database: Database) -> None:
    row, _ = ask(database, ALL)
    report(database, row, state="running", files_total=3, files_done=1)
    assert ask(database, ALL, later=60 * SECOND, insist=True) == (row, "running")
    with database.reading() as session:
        assert mirrors.get(session, row, now=NOW).report.files_done == 1


def test_what_ended_a_week_ago_is_forgotten(database: Database) -> None:
    old, _ = ask(database, ALL)
    report(database, old, state="done")
    ask(database, LISTING, later=timedelta(days=8))
    with database.reading() as session:
        assert mirrors.find(session, ALL, now=NOW) is None
        assert mirrors.find(session, LISTING, now=NOW) is not None


def test_names_that_were_made_up_are_forgotten_soon(database: Database) -> None:
    row, _ = ask(database, LISTING)
    report(database, row, state="failed", status=401, message="Repository Not Found")
    ask(database, ALL, later=timedelta(minutes=11))
    with database.reading() as session:
        assert mirrors.find(session, LISTING, now=NOW) is None


def test_the_queue_has_an_end(database: Database) -> None:
    ask(database, LISTING, most=2)
    row, _ = ask(database, ALL, most=2)
    with pytest.raises(Refused, match="2 things"):
        ask(database, MirrorAsk(ORG, "dev"), most=2)
    report(database, row, state="done")
    assert ask(database, MirrorAsk(ORG, "dev"), most=2)[1] == "queued"


@pytest.mark.parametrize("path", ["a[1].bin", "what?.txt", "*", "plain.bin"])
def test_a_pattern_for_one_file_fits_that_file_only(path: str) -> None:
    assert fnmatchcase(path, exactly(path))
    assert not fnmatchcase(path + "x", exactly(path))
    assert not fnmatchcase("a1.bin", exactly(path))


def test_the_files_of_a_commit_are_summed_up_over_all_who_want_some(database: Database) -> None:
    for number, (path, state) in enumerate((("a", "done"), ("b", "running"))):
        row, _ = ask(database, MirrorAsk(ORG, COMMIT, (path,)))
        figures: dict[str, Any] = {"files_total": 1, "files_done": 1 - number, "bytes_total": 10, "bytes_done": 10 - 3 * number}
        report(database, row, state=state, commit=COMMIT, **figures)
    ask(database, LISTING)
    with database.reading() as session:
        (one,) = mirrors.progress(session, since=NOW - SECOND, limit=5)
    assert (one.repo, one.revision, one.state) == (ORG, COMMIT, "running")
    assert (one.files_total, one.files_done, one.bytes_total, one.bytes_done) == (2, 1, 20, 17)


@pytest.fixture
def fetching(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has an upstream."""
    state = state_of(app)
    behind = MirroredUpstream(lambda: "http://hub", database=state.database, clock=state.clock, knock=state.blobs.knock)
    monkeypatch.setitem(app.extensions, "llmpt", replace(state, behind=behind))


@pytest.mark.usefixtures("fetching")
def test_a_publisher_and_a_sharer_may_ask_and_the_seeder_is_knocked_for(api: Api, app: Flask, database: Database) -> None:
    blobs = state_of(app).blobs
    assert isinstance(blobs, FakeBlobs)
    knocks = blobs.knocks
    answer = api.send("POST", "/api/v1/mirrors", {"repo_id": "org/new"})
    assert (answer.status_code, answer.get_json()["include"], answer.get_json()["state"]) == (202, ["*"], "queued")
    assert blobs.knocks == knocks + 1
    share = tokens.SHARE_PREFIX + "x" * 40
    with database.writing() as session:
        tokens.add(session, share, name="ann", now=NOW, scope=tokens.SHARE)
    again = api.send("POST", "/api/v1/mirrors", {"repo_id": "org/new"}, token=share)
    assert (again.status_code, again.get_json()["id"]) == (202, answer.get_json()["id"])
    assert api.send("POST", "/api/v1/mirrors", {"repo_id": "org/new"}, token="llmpt_pub_x").status_code == 401
    assert api.send("PUT", "/api/v1/mirrors/1", {"state": "done"}, token=share).status_code == 403


@pytest.mark.usefixtures("fetching")
def test_a_repo_that_is_here_is_asked_for_under_its_name(api: Api) -> None:
    api.publish(manifest(small("config.json"), repo_id="org/Cased"))
    assert api.send("POST", "/api/v1/mirrors", {"repo_id": "ORG/cased"}).get_json()["repo_id"] == "org/Cased"


@pytest.mark.usefixtures("fetching")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"repo_id": "../etc"}, 422),
        ({"repo_id": "org/new", "revision": "a..b"}, 422),
        ({"repo_id": "org/new", "include": [""]}, 422),
        ({"repo_id": "org/new", "include": ["a\nb"]}, 422),
        ({"repo_id": "org/new", "include": "a"}, 400),
        ({"repo_id": "org/new", "include": ["a"] * 1001}, 400),
        ({"repo_id": "org/new", "include": ["\ud800"]}, 400),
        ({"repo_id": "org/new", "revision": None}, 400),
        ({"repo_id": "org/new", "odd": 1}, 400),
        ({"repo_id": 7}, 400),
        ([], 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"\xff", 400),
    ],
)
def test_what_cannot_be_mirrored_is_refused(api: Api, body: Any, status: int) -> None:
    assert api.send("POST", "/api/v1/mirrors", body).status_code == status


def test_a_server_without_an_upstream_says_so(api: Api) -> None:
    answer = api.send("POST", "/api/v1/mirrors", {"repo_id": "org/new"})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (409, "upstream_off")


def test_who_asked_for_which_listing_is_told_to_the_seeder_only(api: Api, database: Database) -> None:
    listing, _ = ask(database, LISTING)
    files, _ = ask(database, ALL)
    header = {"Authorization": f"Bearer {api.token}"}
    assert [row["id"] for row in api.get("/api/v1/mirrors").get_json()["mirrors"]] == [files]
    assert [row["id"] for row in api.get("/api/v1/mirrors", headers=header).get_json()["mirrors"]] == [files, listing]
    assert api.get(f"/api/v1/mirrors/{listing}").status_code == 404
    assert api.get(f"/api/v1/mirrors/{listing}", headers=header).status_code == 200
    assert api.get(f"/api/v1/mirrors/{files}").status_code == 200


def test_mirrors_come_in_pages_and_by_state(api: Api, database: Database) -> None:
    rows = [ask(database, MirrorAsk(ORG, "main", (str(number),)))[0] for number in range(3)]
    report(database, rows[0], state="done")
    first = api.get("/api/v1/mirrors?limit=2").get_json()
    second = api.get(f"/api/v1/mirrors?limit=2&cursor={first['next']}").get_json()
    assert [row["id"] for row in first["mirrors"] + second["mirrors"]] == rows[::-1]
    assert second["next"] is None
    assert [row["id"] for row in api.get("/api/v1/mirrors?state=done,failed").get_json()["mirrors"]] == rows[:1]


@pytest.mark.usefixtures("fetching")
def test_the_seeders_word_is_kept_and_the_page_shows_it(api: Api) -> None:
    row = api.send("POST", "/api/v1/mirrors", {"repo_id": "org/new"}).get_json()["id"]
    figures = {"files_total": 12, "files_done": 3, "bytes_total": 2_000_000, "bytes_done": 500_000}
    error = {"message": "upstream asks to wait", "status": 429, "retry_after_s": 30}
    said = api.send("PUT", f"/api/v1/mirrors/{row}", {"state": "queued", "commit": COMMIT, **figures, "error": error})
    assert said.status_code == 200
    known = api.get(f"/api/v1/mirrors/{row}").get_json()
    assert {name: known[name] for name in figures} == figures
    assert known["error"] == {**error, "code": None}
    text = api.get("/activity").get_data(as_text=True)
    assert "Fetched by this server" in text
    assert "3 of 12" in text
    assert "500 kB of 2.0 MB" in text
    assert "upstream asks to wait" in text
    assert api.send("PUT", "/api/v1/mirrors/999", {"state": "done"}).status_code == 404


@pytest.mark.usefixtures("fetching")
def test_a_number_that_no_database_holds_is_refused_in_words(api: Api) -> None:
    row, huge = api.send("POST", "/api/v1/mirrors", {"repo_id": "org/new"}).get_json()["id"], 10**30
    assert api.get(f"/api/v1/mirrors/{huge}").status_code == 404
    assert api.send("PUT", f"/api/v1/mirrors/{huge}", {"state": "done"}).status_code == 404
    for name in ("files_total", "files_done", "bytes_total", "bytes_done"):
        assert api.send("PUT", f"/api/v1/mirrors/{row}", {"state": "running", name: huge}).status_code == 400
    assert api.send("PUT", f"/api/v1/mirrors/{row}", {"state": "lost"}).status_code == 400


def test_what_is_to_be_taken_comes_listings_first_then_what_was_asked_for_first(database: Database, api: Api) -> None:
    files = [ask(database, MirrorAsk(ORG, "main", (f"{number}",)))[0] for number in range(5)]
    listings = [ask(database, MirrorAsk(ORG, f"branch-{number}"))[0] for number in range(3)]
    report(database, files[0], state="done", commit=COMMIT)
    header = {"Authorization": f"Bearer {api.token}"}
    found: list[int] = []
    query = {"state": "queued,running", "order": "next", "limit": "2"}
    while True:
        page = api.client.get("/api/v1/mirrors", query_string=query, headers=header).get_json()
        found += [one["id"] for one in page["mirrors"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert found == [*listings, *files[1:]]
    told = api.get("/api/v1/mirrors?order=next&state=queued").get_json()["mirrors"]
    assert [one["id"] for one in told] == files[1:], "bare listings are told to publishers only"
    assert api.get("/api/v1/mirrors?order=oldest").status_code == 400
