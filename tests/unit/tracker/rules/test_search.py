"""Finding repos and files by words."""

from __future__ import annotations

import sqlite3
from pathlib import Path as File

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select

from llmpt_tracker.database import schema
from llmpt_tracker.database.models import Path, Repo
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules import search
from llmpt_tracker.rules.catalogue import repos
from tests.unit.tracker.bodies import COMMIT, MIB, OTHER_COMMIT, big, manifest, packed, small, torrent
from tests.unit.tracker.conftest import NOW, Api

A, B, C = torrent("a"), torrent("b", size=9 * MIB), torrent("c", size=2 * MIB)


@pytest.fixture
def published(api: Api) -> Api:
    api.publish({"torrents": packed(A, B, C)})
    api.publish(manifest(big("all-MiniLM-L6-v2.Q4_K_M.gguf", A), small("README.md"), repo_id="acme/MiniLM-GGUF"))
    api.publish(manifest(big("onnx/model.onnx", B), small("config.json"), repo_id="sentence-transformers/all-MiniLM-L6-v2"))
    api.publish(manifest(big("data/train-00000-of-00001.parquet", C), repo_type="dataset", repo_id="squad"))
    return api


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("minilm", {A, B}),
        ("MiniLM", {A, B}),
        ("mini", {A, B}),
        ("lm", set()),
        ("minilm gguf", {A}),
        ("gguf minilm", {A}),
        ("sentence-transformers/all-MiniLM-L6-v2", {B}),
        ("sentence onnx", {B}),
        ("q4 k m", {A}),
        ("Q4_K_M", {A}),
        ("00000", {C}),
        ("train parquet", {C}),
        ("minilm parquet", set()),
        ("squad", {C}),
        ("config", set()),
        ('"minilm" OR squad', set()),
        ("minilm*", {A, B}),
        ("minilm' & !x", set()),
        ("NOT NEAR", set()),
        ("ä", set()),
    ],
)
def test_a_file_is_found_by_beginnings_of_words_of_its_repo_and_path(published: Api, question: str, found: set[object]) -> None:
    assert {one["etag"] for one in published.torrents(q=question)} == {meta.etag.value for meta in (A, B, C) if meta in found}


@pytest.mark.parametrize(
    ("question", "repos"),
    [
        ("minilm", ["sentence-transformers/all-MiniLM-L6-v2", "acme/MiniLM-GGUF"]),
        ("acme readme", ["acme/MiniLM-GGUF"]),
        ("config", ["sentence-transformers/all-MiniLM-L6-v2"]),
        ("squad", ["squad"]),
        ("nothing", []),
    ],
)
def test_a_repo_is_found_by_its_name_and_by_its_files(published: Api, question: str, repos: list[str]) -> None:
    answer = published.get("/api/v1/repos", query_string={"q": question}).get_json()
    assert [one["repo_id"] for one in answer["repos"]] == repos


def test_words_and_filters_hold_together_and_only_such_places_are_shown(published: Api) -> None:
    published.publish(manifest(big("copy of a.bin", A), repo_id="other/copy"))
    assert [one["etag"] for one in published.torrents(q="minilm", repo_id="other/copy")] == []
    (found,) = published.torrents(q="gguf")
    assert [at["path"] for at in found["appears_in"]] == ["all-MiniLM-L6-v2.Q4_K_M.gguf"]


def test_what_is_found_comes_in_pages(published: Api) -> None:
    first = published.get("/api/v1/torrents?q=minilm&limit=1").get_json()
    second = published.get(f"/api/v1/torrents?q=minilm&limit=1&cursor={first['next']}").get_json()
    assert [page["torrents"][0]["etag"] for page in (first, second)] == [B.etag.value, A.etag.value]
    assert second["next"] is None


def test_each_file_stands_on_one_page_wherever_it_is_found(api: Api) -> None:
    """Also where a path has had several contents, and where repos have the same."""
    many = [torrent(f"many{number}", size=2 * MIB) for number in range(5)]
    for number, one in enumerate(many):
        api.publish(manifest(big("model.bin", one), torrents=packed(one), commit=f"{number:040x}"))
    api.publish(manifest(big("other.bin", many[0]), big("third.bin", many[3]), repo_id="org/name-fork"))
    for limit in (1, 2, 3, 50):
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = api.get(f"/api/v1/torrents?q=name+bin&limit={limit}{cursor}").get_json()
            found += [one["etag"] for one in page["torrents"]]
            assert len(page["torrents"]) <= limit
            cursor = f"&cursor={page['next']}" if page["next"] else None
        expected = [many[3], many[0], many[4], many[2], many[1]]
        assert sorted(found[:2]) == sorted(one.etag.value for one in expected[:2])
        assert found[2:] == [one.etag.value for one in expected[2:]]


def test_each_repo_stands_on_one_page(published: Api) -> None:
    published.publish(manifest(small("late minilm.txt"), repo_id="acme/MiniLM-GGUF", commit=OTHER_COMMIT))
    for limit in (1, 2, 50):
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = published.get(f"/api/v1/repos?q=minilm&limit={limit}{cursor}").get_json()
            found += [one["repo_id"] for one in page["repos"]]
            cursor = f"&cursor={page['next']}" if page["next"] else None
        assert found == ["acme/MiniLM-GGUF", "sentence-transformers/all-MiniLM-L6-v2"]


@pytest.mark.parametrize("question", ["a\U0001e922b", "\U0001e922", "ß²", "x" * 200, "ⲁ transformers", "٣"])
def test_letters_that_sqlite_may_not_know_are_no_error(published: Api, question: str) -> None:
    assert published.torrents(q=question) == []
    assert published.get("/api/v1/repos", query_string={"q": question}).get_json()["repos"] == []


def test_a_path_of_many_revisions_is_kept_once(api: Api, database: Database) -> None:
    for commit in (COMMIT, OTHER_COMMIT, COMMIT):
        api.publish(manifest(small("config.json"), small("vocab.txt"), commit=commit))
    with database.reading() as session:
        assert sorted(session.scalars(select(Path.path))) == ["config.json", "vocab.txt"]


def test_what_is_deleted_is_not_found(published: Api, database: Database) -> None:
    with database.writing() as session:
        session.delete(session.scalars(select(Repo).where(Repo.name == "squad")).one())
    assert published.torrents(q="squad") == []
    if database.engine.dialect.name != "sqlite":
        return
    with database.reading() as session:  # raises when index and table have come apart
        session.connection().exec_driver_sql("insert into search (search, rank) values ('integrity-check', 1)")


@pytest.mark.parametrize(
    "question",
    ["mini", "minilm gguf", "00000", "squ", "k m", "nothing", "sentence tra", "transformers", "minilm ä", "ⲁ"],
)
def test_a_database_without_an_index_of_ours_finds_the_same(published: Api, database: Database, question: str) -> None:
    terms, own = search.terms(question), database.engine.dialect.name
    with database.reading() as session:
        found, expected = (session.scalars(search.newest(select(Path.path), dialect, terms)).all() for dialect in ("other", own))
    assert found == expected


def test_what_nobody_can_look_for_is_refused() -> None:
    with pytest.raises(Refused, match="words to look for"):
        search.terms(" -*/ ")


def test_a_catalogue_of_before_is_found_in_too(tmp_path: File) -> None:
    with Database(f"sqlite:///{tmp_path / 'tracker.db'}") as database:
        with database.engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(schema.MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
        with sqlite3.connect(tmp_path / "tracker.db") as old:
            old.execute("insert into repos values (1, 'model', 'org/Name')")
            for number, commit in enumerate((COMMIT, OTHER_COMMIT), 1):
                old.execute("insert into revisions values (?, 1, ?, 0, '2026-01-01')", (number, commit))
                old.execute("insert into files values (?, 'onnx/model.onnx', 5, 'e', 0, null)", (number,))
        old.close()
        schema.migrate(database, backups=tmp_path / "backups", now=NOW)
        with database.reading() as session:
            (found,), _ = repos.list_repos(session, limit=10, before=None, terms=("onnx", "nam"))
            assert found.repo.id == "org/Name"
