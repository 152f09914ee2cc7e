"""Whole listings: what is known of and what is here, what the Hub does not have, and what the README says of itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from llmpt_tracker.database.models import Absent, Revision
from llmpt_tracker.database.sessions import Database
from tests.unit.tracker.bodies import COMMIT, MIB, big, elsewhere, manifest, packed, small, torrent
from tests.unit.tracker.conftest import Api

MODEL = torrent("model")


def published(api: Api, body: dict[str, Any]) -> None:
    answer = api.publish(body)
    assert answer.status_code == 200, answer.get_data(as_text=True)


def refused(api: Api, body: dict[str, Any], code: str, status: int = 422) -> str:
    answer = api.publish(body)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)
    return str(answer.get_json()["error"]["message"])


def files(api: Api) -> dict[str, bool]:
    answer = api.get(f"/api/v1/repos/model/org/name/revisions/{COMMIT}").get_json()
    return {file["path"]: file["here"] for file in answer["files"]}


def absent(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(Absent.path).order_by(Absent.path)))


def test_a_file_that_is_only_known_of_needs_no_torrent(api: Api) -> None:
    published(api, manifest(small("a"), elsewhere(big("model.bin", MODEL))))
    assert files(api) == {"a": True, "model.bin": False}


def test_a_file_that_is_here_needs_one_as_ever(api: Api) -> None:
    refused(api, manifest(small("a"), {**big("model.bin", MODEL), "here": True}), "unknown_etag")


def test_what_is_known_of_comes_here_and_stays(api: Api) -> None:
    published(api, manifest(elsewhere(big("model.bin", MODEL)), elsewhere(small("a"))))
    published(api, manifest(big("model.bin", MODEL), small("a"), torrents=packed(MODEL)))
    assert files(api) == {"a": True, "model.bin": True}
    published(api, manifest(elsewhere(big("model.bin", MODEL)), elsewhere(small("a"))))
    assert files(api) == {"a": True, "model.bin": True}
    assert api.torrents(path="model.bin")[0]["etag"] == MODEL.etag.value


def test_a_file_comes_here_with_its_torrent(api: Api) -> None:
    published(api, manifest(elsewhere(big("model.bin", MODEL))))
    published(api, {"torrents": packed(MODEL)})
    assert files(api) == {"model.bin": True}
    assert api.torrents(repo_id="org/name")[0]["etag"] == MODEL.etag.value


def test_a_torrent_alone_is_not_the_word_that_a_file_of_later_is_here(api: Api) -> None:
    published(api, {"torrents": packed(MODEL)})
    published(api, manifest(elsewhere(big("model.bin", MODEL))))
    assert files(api) == {"model.bin": False}


def test_the_size_of_a_file_that_is_not_here_is_its_torrents_too(api: Api) -> None:
    published(api, {"torrents": packed(MODEL)})
    refused(api, manifest(elsewhere({**big("model.bin", MODEL), "size": 5})), "size_conflict")


def test_a_revision_says_how_much_of_it_is_listed_and_how_much_is_here(api: Api, database: Database) -> None:
    body = manifest(big("model.bin", MODEL), small("a"), elsewhere(big("other.bin", torrent("other", size=7 * MIB))))
    published(api, {**body, "torrents": packed(MODEL)})
    (row,) = api.get("/api/v1/repos").get_json()["repos"][0]["revisions"]
    assert (row["files"], row["size"]) == (3, 10 * MIB + 612)
    assert (row["files_here"], row["size_here"]) == (2, 3 * MIB + 612)
    page = api.get("/repos/model/org/name/revisions/main").get_data(as_text=True)
    assert "Whole listing: 2 of 3 files here, 3.1 MB of 10.5 MB" in page
    assert page.count("not here") == 1
    assert ">2 of 3<" in api.get("/").get_data(as_text=True)


def test_a_revision_that_is_known_in_part_is_shown_as_that(api: Api) -> None:
    published(api, manifest(small("a"), complete=False))
    assert "Known in part: 1 file here" in api.get("/repos/model/org/name/revisions/main").get_data(as_text=True)
    assert "known in part" in api.get("/").get_data(as_text=True)


def test_a_listing_that_comes_in_parts_is_complete_with_the_last(api: Api) -> None:
    published(api, manifest(small("a"), elsewhere(small("b")), complete=False, refs=[]))
    assert api.get(f"/api/v1/repos/model/org/name/revisions/{COMMIT}").get_json()["complete"] is False
    published(api, manifest(elsewhere(small("c"))))
    answer = api.get("/api/v1/repos/model/org/name/revisions/main").get_json()
    assert (answer["complete"], len(answer["files"])) == (True, 3)


def test_what_the_hub_does_not_have_is_kept(api: Api, database: Database) -> None:
    for _ in range(2):
        published(api, manifest(small("a"), complete=False, absent=["adapter_config.json", "sub/x", "sub/x"]))
    assert absent(database) == ["adapter_config.json", "sub/x"]


def test_a_file_that_is_published_is_absent_no_longer_and_never_again(api: Api, database: Database) -> None:
    published(api, manifest(small("a"), complete=False, absent=["b", "c"]))
    published(api, manifest(elsewhere(small("b")), complete=False))
    assert absent(database) == ["c"]
    published(api, manifest(small("a"), complete=False, absent=["b", "c"]))
    assert absent(database) == ["c"]


def test_a_path_that_is_a_file_and_absent_is_refused(api: Api, database: Database) -> None:
    assert "'a'" in refused(api, manifest(small("a"), absent=["a"]), "bad_path")
    refused(api, manifest(small("a"), absent=["../b"]), "bad_path")
    assert absent(database) == []


def test_absence_alone_is_no_manifest(api: Api) -> None:
    refused(api, {"absent": ["a"]}, "bad_request", status=400)


def test_the_card_of_a_revision_is_kept(api: Api, database: Database) -> None:
    card = {"license": "mit", "language": ["no", "日本語"], "model-index": [{"results": [{"value": 1.5}]}], "n": None}
    published(api, manifest(small("a"), card=card))
    published(api, manifest(small("a")))
    with database.reading() as session:
        assert json.loads(session.scalars(select(Revision.card)).one() or "") == card


@pytest.mark.parametrize("card", [{"x": "y" * (64 << 10)}, {"x": float("nan")}, {"x": float("inf")}], ids=["long", "nan", "inf"])
def test_a_card_that_cannot_be_served_is_refused(api: Api, card: dict[str, Any]) -> None:
    answer = api.publish(manifest(small("a"), card=card))
    assert answer.status_code in (400, 422)
    assert api.get("/api/v1/repos").get_json()["repos"] == []


@pytest.mark.parametrize("text", [r'{"x": "\ud800"}', "[1]", '"x"'])
def test_a_card_that_is_no_object_of_text_is_refused(api: Api, text: str) -> None:
    body = json.dumps(manifest(small("a"), card=7)).replace("7}", text + "}")
    assert api.publish(body.encode()).status_code in (400, 422)


def test_more_files_than_one_statement_takes_are_entered_at_once(api: Api) -> None:
    published(api, manifest(*(elsewhere(small(f"data/{n:05}.txt")) for n in range(1200))))
    published(api, manifest(*(small(f"data/{n:05}.txt") for n in range(1200))))
    assert list(files(api).values()) == [True] * 1200
