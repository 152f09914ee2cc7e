"""What a publisher may enter into the catalogue, and what it may not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from sqlalchemy import func, select

from llmpt.core import bencode
from llmpt_tracker.database.models import Base
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import tokens
from tests.unit.tracker.bodies import COMMIT, MIB, OTHER_COMMIT, big, manifest, packed, report, small, torrent
from tests.unit.tracker.conftest import NOW, Api
from tests.unit.tracker.fakes import FakeAnnouncer

MODEL = torrent("model")


def refused(api: Api, body: Any, code: str, status: int = 422) -> str:
    """Publish what must be refused; return the message."""
    answer = api.publish(body)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code), answer.get_data(as_text=True)
    message: str = answer.get_json()["error"]["message"]
    return message


def rows(database: Database) -> dict[str, int]:
    with database.reading() as session:
        return {
            name: session.scalar(select(func.count()).select_from(table)) or 0 for name, table in Base.metadata.tables.items()
        }


def test_a_torrent_and_its_manifest_are_published_and_found(api: Api, announcer: FakeAnnouncer) -> None:
    answer = api.publish(manifest(big("model.safetensors", MODEL), small("config.json"), torrents=packed(MODEL)))
    assert answer.status_code == 200
    figures = answer.get_json()
    assert len(figures.pop("instance_id")) == 36
    assert figures == {"torrents": 1, "new_torrents": 1, "files": 2, "refs_kept": [], "boot_id": "boot-1"}
    (found,) = api.torrents(etag=MODEL.etag.value)
    assert found["info_hash"] == str(MODEL.info_hash)
    assert found["appears_in"] == [{"repo_type": "model", "repo_id": "org/name", "commit": COMMIT, "path": "model.safetensors"}]
    assert announcer.registered == {MODEL.info_hash.truncated}


def test_publishing_twice_changes_nothing(api: Api, database: Database) -> None:
    body = manifest(big("model.safetensors", MODEL), torrents=packed(MODEL))
    api.publish(body)
    before = rows(database)
    assert api.publish(body).get_json()["new_torrents"] == 0
    assert rows(database) == before


def test_a_publish_that_the_announcer_missed_is_told_to_it_by_the_retry(api: Api, announcer: FakeAnnouncer) -> None:
    announcer.down = True
    assert api.publish({"torrents": packed(MODEL)}).status_code == 503
    announcer.down = False
    assert api.publish({"torrents": packed(MODEL)}).status_code == 200
    assert announcer.registered == {MODEL.info_hash.truncated}


def test_a_manifest_grows_and_stays_complete(api: Api) -> None:
    api.publish(manifest(small("a"), complete=True))
    api.publish(manifest(small("b/c"), complete=False))
    answer = api.get(f"/api/v1/repos/model/org/name/revisions/{COMMIT}").get_json()
    assert [file["path"] for file in answer["files"]] == ["a", "b/c"]
    assert answer["complete"] is True


def test_a_ref_follows_the_last_manifest(api: Api) -> None:
    api.publish(manifest(small("a"), refs=["main", "v1.0"]))
    api.publish(manifest(small("a"), refs=["main"], commit=OTHER_COMMIT))
    assert api.get("/api/v1/repos/model/org/name/revisions/main").get_json()["commit"] == OTHER_COMMIT
    assert api.get("/api/v1/repos/model/org/name/revisions/v1.0").get_json()["commit"] == COMMIT


def test_a_file_that_gains_a_swarm_is_found_by_its_repo(api: Api) -> None:
    light = torrent("light", size=5000)
    api.publish(manifest(big("vocab.bin", light)))
    assert api.torrents(repo_id="org/name") == []
    api.publish({"torrents": packed(light)})
    assert [one["etag"] for one in api.torrents(repo_id="org/name")] == [light.etag.value]


def test_a_zero_byte_file_is_published_without_a_swarm(api: Api) -> None:
    assert api.publish(manifest(small(".gitkeep", size=0))).status_code == 200


def test_paths_that_differ_by_case_are_two_files(api: Api) -> None:
    assert api.publish(manifest(small("README.md"), small("readme.md"))).status_code == 200


@pytest.mark.parametrize(
    "path", ["../etc/passwd", "/etc/passwd", "a/../b", "a//b", "C:/x", "a\\b", "", ".", "a/./b", "a\nb", "‮a"]
)
def test_a_path_that_leaves_the_repo_is_refused(api: Api, database: Database, path: str) -> None:
    before = rows(database)
    refused(api, manifest(small("good"), small(path)), "bad_path")
    assert rows(database) == before


def test_a_path_longer_than_a_database_indexes_is_refused(api: Api) -> None:
    refused(api, manifest(small("/".join(["d" * 200] * 11))), "bad_path")


def test_a_file_that_is_also_a_folder_is_refused(api: Api) -> None:
    assert "'a/b'" in refused(api, manifest(small("a/b"), small("a/b/c")), "bad_path")


def test_a_file_that_is_a_folder_of_an_earlier_manifest_is_refused(api: Api) -> None:
    api.publish(manifest(small("a/b")))
    assert "'a' is both a file and a folder of 'a/b'" in refused(api, manifest(small("a")), "bad_path")


def test_a_file_in_what_an_earlier_manifest_has_as_a_file_is_refused(api: Api) -> None:
    api.publish(manifest(small("a/b")))
    assert "'a/b' is both a file and a folder of 'a/b/c/d'" in refused(api, manifest(small("a/b/c/d")), "bad_path")


def test_files_beside_a_folder_of_an_earlier_manifest_are_its_neighbours(api: Api) -> None:
    api.publish(manifest(small("a/b")))
    api.publish(manifest(*map(small, ("a.", "a-/b", "a0", "a/b.", "a/b0"))))


def test_the_same_path_twice_is_refused(api: Api) -> None:
    assert "'a'" in refused(api, manifest(small("a"), small("b"), small("a")), "bad_path")


def test_a_big_file_whose_torrent_is_unknown_is_refused_and_nothing_changes(api: Api, database: Database) -> None:
    before = rows(database)
    assert "model.bin" in refused(api, manifest(small("a"), big("model.bin", torrent("never published"))), "unknown_etag")
    assert rows(database) == before


def test_a_size_that_is_not_the_torrents_is_refused(api: Api) -> None:
    lie = {**big("model.bin", MODEL), "size": MODEL.size + 1}
    refused(api, manifest(lie, torrents=packed(MODEL)), "size_conflict")
    assert api.torrents() == []


def test_another_content_for_the_same_path_of_a_commit_is_refused(api: Api) -> None:
    api.publish(manifest(small("a", size=1)))
    refused(api, manifest(small("a", size=2)), "manifest_conflict")


def test_another_torrent_for_a_published_etag_is_refused(api: Api) -> None:
    api.publish({"torrents": packed(MODEL)})
    refused(api, {"torrents": packed(torrent("model", size=MODEL.size + 1))}, "etag_conflict")


def test_two_torrents_of_one_etag_in_one_body_are_refused(api: Api) -> None:
    refused(api, {"torrents": packed(MODEL, MODEL)}, "bad_metainfo")


@pytest.mark.parametrize(
    "change",
    [
        {"private": 1},
        {"piece length": 1 << 20},
        {"name": "model.safetensors"},
        {"pieces": b"\0" * 20},
    ],
    ids=lambda change: next(iter(change)),
)
def test_metainfo_that_is_not_of_our_policy_is_refused(api: Api, change: dict[str, Any]) -> None:
    outer = bencode.decode(MODEL.encode())
    outer[b"info"].update({name.encode(): value for name, value in change.items()})
    body = {"torrents": [*packed(torrent("fine")), base64.b64encode(bencode.encode(outer)).decode()]}
    assert "torrents.1" in refused(api, body, "bad_metainfo")
    assert api.torrents() == []


def test_a_piece_layer_that_does_not_hash_up_is_refused(api: Api) -> None:
    data = bytearray(MODEL.encode())
    data[-10] ^= 1
    refused(api, {"torrents": [base64.b64encode(bytes(data)).decode()]}, "bad_metainfo")


@pytest.mark.parametrize("text", ["\xeb", "a", "_-", "YQ==\n", "\u0660"])
def test_what_is_no_base64_is_refused(api: Api, text: str) -> None:
    assert "torrents.0: not base64" in refused(api, {"torrents": [text]}, "bad_metainfo")


@pytest.mark.parametrize("data", [b"", b"le" * 10, b"d" * 900, b"i1e", b"d4:infoi-0ee"])
def test_bencode_bombs_and_junk_are_refused(api: Api, data: bytes) -> None:
    refused(api, {"torrents": [base64.b64encode(data).decode()]}, "bad_metainfo")


def test_a_torrents_foreign_trackers_do_not_reach_the_catalogue(api: Api) -> None:
    outer = bencode.decode(MODEL.encode())
    outer |= {b"announce": b"http://foreign/announce", b"url-list": b"http://foreign/", b"nodes": []}
    api.publish({"torrents": [base64.b64encode(bencode.encode(outer)).decode()]})
    served = api.get(f"/api/v1/torrents/{MODEL.info_hash}.torrent").get_data()
    assert b"foreign" not in served
    assert set(bencode.decode(served)) == {b"announce", b"comment", b"info", b"piece layers", b"url-list"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"files":' + b"[" * 5000,
        {},
        {"torrents": []},
        {"torrents": "x"},
        {"surprise": 1},
        {"files": []},
        {"refs": ["main"]},
        manifest(small("a"), complete="yes"),
        manifest({**small("a"), "size": -1}),
        manifest({**small("a"), "size": "12"}),
        manifest({**small("a"), "size": 10**30}),
        manifest({**small("a"), "mode": "120000"}),
    ],
    ids=lambda body: str(body)[:30],
)
def test_a_body_that_makes_no_sense_is_a_bad_request(api: Api, body: Any) -> None:
    refused(api, body, "bad_request", status=400)


@pytest.mark.parametrize(
    "change",
    [
        {"repo_id": "../x"},
        {"repo_id": "a/b/c"},
        {"repo_type": "models"},
        {"commit": "main"},
        {"refs": ["a..b"]},
    ],
    ids=str,
)
def test_a_name_that_the_hub_would_not_have_is_refused(api: Api, change: dict[str, Any]) -> None:
    refused(api, manifest(small("a"), **change), "bad_name")


def test_an_etag_that_is_none_is_refused(api: Api) -> None:
    refused(api, manifest({**small("a"), "etag": '"' + "0" * 38 + '"'}), "bad_etag")
    refused(api, manifest({**small("a"), "lfs": True}), "bad_etag")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer llmpt_pub_unknown", "Basic eDp5"])
def test_publishing_needs_a_token(api: Api, header: str | None) -> None:
    headers = {"Authorization": header} if header is not None else {}
    answer = api.client.post("/api/v1/publish", data=json.dumps({"torrents": packed(MODEL)}), headers=headers)
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers
    assert api.torrents() == []


def test_a_token_in_the_query_counts_for_nothing(api: Api) -> None:
    assert api.client.post(f"/api/v1/publish?token={api.token}", data=b"{}").status_code == 401


def test_a_revoked_token_publishes_no_more(api: Api, database: Database) -> None:
    with database.writing() as session:
        tokens.revoke(session, 1, now=NOW)
    answer = api.publish({"torrents": packed(MODEL)})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (401, "token_revoked")
    assert api.beat(report()).status_code == 401


def test_a_body_too_large_is_refused_unread(api: Api) -> None:
    answer = api.publish(b" " * (10 * MIB + 1))
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (413, "too_large")


def test_a_packed_body_is_refused(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.token}", "Content-Encoding": "gzip"}
    assert api.client.post("/api/v1/publish", data=b"\x1f\x8b", headers=headers).status_code == 415


def test_no_log_line_holds_the_token(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    api.publish({"torrents": packed(MODEL)})
    api.publish({"torrents": packed(MODEL)}, token="llmpt_pub_wrong-but-secret")
    assert api.token not in caplog.text
    assert "wrong-but-secret" not in caplog.text
