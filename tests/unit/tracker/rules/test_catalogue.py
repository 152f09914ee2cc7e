"""What the catalogue answers to those who want to download."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from llmpt.core import bencode
from llmpt.core.metainfo import Metainfo
from llmpt_tracker.control.messages import Swarm, SwarmPeer
from tests.unit.tracker.bodies import COMMIT, MIB, OTHER_COMMIT, big, manifest, packed, small, torrent
from tests.unit.tracker.conftest import Api
from tests.unit.tracker.fakes import FakeAnnouncer

A, B, C = torrent("a"), torrent("b", size=9 * MIB), torrent("c", size=2 * MIB)


@pytest.fixture
def catalogue(api: Api) -> Api:
    """Two repos: a model with two commits that share a blob, a dataset with one."""
    api.publish({"torrents": packed(A, B, C)})
    api.publish(manifest(big("model.safetensors", A), small("config.json"), refs=["main"]))
    api.publish(
        manifest(big("model.safetensors", A), big("extra.bin", B), commit=OTHER_COMMIT, refs=["refs/pr/1"], complete=False)
    )
    api.publish(manifest(big("train.parquet", C), repo_type="dataset", repo_id="squad"))
    return api


def etags(entries: list[dict[str, Any]]) -> set[str]:
    return {entry["etag"] for entry in entries}


def test_without_filters_everything_is_listed_newest_first(catalogue: Api) -> None:
    assert [one["etag"] for one in catalogue.torrents()] == [C.etag.value, B.etag.value, A.etag.value]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"etag": A.etag.value}, [A]),
        ({"info_hash": str(A.info_hash)}, [A]),
        ({"info_hash": A.info_hash.truncated.hex()}, [A]),
        ({"repo_id": "org/name"}, [A, B]),
        ({"repo_id": "org/name", "repo_type": "dataset"}, []),
        ({"repo_id": "ORG/Name", "repo_type": "model"}, [A, B]),
        ({"repo_id": "SQuAD"}, [C]),
        ({"repo_type": "dataset"}, [C]),
        ({"repo_id": "org/name", "revision": "main"}, [A]),
        ({"repo_id": "org/name", "revision": "refs/pr/1"}, [A, B]),
        ({"revision": OTHER_COMMIT}, [A, B]),
        ({"path": "extra.bin"}, [B]),
        ({"repo_id": "org/name", "revision": "main", "path": "extra.bin"}, []),
        ({"etag": "0" * 64}, []),
        ({"repo_id": "nobody/nothing"}, []),
    ],
    ids=lambda value: "&".join(value) if isinstance(value, dict) else f"{len(value)}",
)
def test_filters_are_exact(catalogue: Api, query: dict[str, str], expected: list[Metainfo]) -> None:
    assert etags(catalogue.torrents(**query)) == {meta.etag.value for meta in expected}


def test_an_entry_says_what_a_client_needs(catalogue: Api, announcer: FakeAnnouncer) -> None:
    peers = (SwarmPeer(None, 6881), SwarmPeer("192.168.1.9", 6882))
    announcer.live[A.info_hash.truncated.hex()] = Swarm(2, 1, 7, peers)
    (entry,) = catalogue.torrents(etag=A.etag.value, include="metainfo,peers")
    assert Metainfo.parse(base64.b64decode(entry.pop("metainfo"))) == A
    assert entry.pop("peers") == [{"address": None, "port": 6881}, {"address": "192.168.1.9", "port": 6882}]
    assert [place["commit"] for place in entry.pop("appears_in")] == [OTHER_COMMIT, COMMIT]
    assert entry == {
        "info_hash": str(A.info_hash),
        "etag": A.etag.value,
        "size": 3 * MIB,
        "piece_length": 64 << 10,
        "seeders": 2,
        "leechers": 1,
        "completed": 7,
        "magnet": f"{A.magnet}&tr=http%3A%2F%2Flocalhost%3A6969%2Fannounce",
    }


def test_a_page_says_from_which_size_on_files_have_a_swarm(api: Api) -> None:
    assert api.get("/api/v1/torrents").get_json()["min_blob_bytes"] == 1 << 20


def test_what_was_not_asked_for_is_left_out(catalogue: Api) -> None:
    assert not {"metainfo", "peers"} & set(catalogue.torrents(etag=A.etag.value)[0])


def test_pages_hold_everything_once(catalogue: Api) -> None:
    seen, cursor = [], None
    for _ in range(3):
        answer = catalogue.get("/api/v1/torrents", query_string={"limit": 1, **({"cursor": cursor} if cursor else {})}).get_json()
        seen += [one["etag"] for one in answer["torrents"]]
        cursor = answer["next"]
    assert seen == [C.etag.value, B.etag.value, A.etag.value]
    assert cursor is None


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=201",
        "limit=1e3",
        "limit=99999999999999999999",
        "limit=",
        "cursor=x",
        "cursor=%00",
        "cursor=4pyT",
        "etag=abc",
        "etag=ABCDEF",
        "info_hash=abc",
        "info_hash=%12%34",
        "include=everything",
        "path=../x",
        "revision=a..b",
        "repo_id=a/b/c",
        "repo_type=models",
        "surprise=1",
        "limit=1&limit=2",
        "q=",
        "q=%20-/%22",
        "q=a&q=b",
        "q=" + "+".join(f"word{n}" for n in range(17)),
        "q=" + 301 * "a",
    ],
)
def test_a_query_that_makes_no_sense_is_a_bad_request(catalogue: Api, query: str) -> None:
    answer = catalogue.get(f"/api/v1/torrents?{query}")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "bad_request")


def test_one_torrent_by_either_length_of_its_hash(catalogue: Api) -> None:
    for name in (str(A.info_hash), A.info_hash.truncated.hex(), str(A.info_hash).upper()):
        assert catalogue.get(f"/api/v1/torrents/{name}").get_json()["etag"] == A.etag.value


@pytest.mark.parametrize("suffix", ["", ".torrent", "/peers"])
def test_an_unknown_torrent_is_not_found(catalogue: Api, suffix: str) -> None:
    answer = catalogue.get(f"/api/v1/torrents/{'0' * 64}{suffix}")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("host", "announce", "web_seed"),
    [
        ("server:8000", "http://server:6969/announce", "http://server:8000"),
        ("192.168.1.10:8000", "http://192.168.1.10:6969/announce", "http://192.168.1.10:8000"),
        ("[fd00::1]:8000", "http://[fd00::1]:6969/announce", "http://[fd00::1]:8000"),
        ("server", "http://server:6969/announce", "http://server"),
        ("a:99999", "http://localhost:6969/announce", "http://localhost:8000"),
    ],
)
def test_the_torrent_file_names_us_as_it_was_asked_for(catalogue: Api, host: str, announce: str, web_seed: str) -> None:
    answer = catalogue.get(f"/api/v1/torrents/{A.info_hash}.torrent", headers={"Host": host})
    assert answer.mimetype == "application/x-bittorrent"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{A.etag}.torrent"'
    outer = bencode.decode(answer.get_data())
    assert outer[b"announce"].decode() == announce
    assert outer[b"url-list"] == [f"{web_seed}/blobs/".encode()]
    assert outer[b"comment"].decode().endswith(f"over HTTP: {web_seed}/blobs/{A.etag}?name=model.safetensors")
    assert Metainfo.parse(answer.get_data()) == A


def test_peers_are_as_the_asker_may_see_them(catalogue: Api, announcer: FakeAnnouncer) -> None:
    announcer.live[A.info_hash.truncated.hex()] = Swarm(1, 0, 0, (SwarmPeer(None, 6881),))
    answer = catalogue.get(f"/api/v1/torrents/{A.info_hash}/peers", environ_overrides={"REMOTE_ADDR": "192.168.1.77"})
    assert answer.get_json() == {"peers": [{"address": None, "port": 6881}], "boot_id": "boot-1"}
    assert announcer.askers[-1] == "192.168.1.77"


def test_repos_are_listed_with_their_revisions(catalogue: Api) -> None:
    answer = catalogue.get("/api/v1/repos").get_json()
    assert [(one["repo_type"], one["repo_id"]) for one in answer["repos"]] == [("dataset", "squad"), ("model", "org/name")]
    newest, first = answer["repos"][1]["revisions"]
    assert (newest["commit"], newest["refs"], newest["complete"], newest["files"]) == (OTHER_COMMIT, ["refs/pr/1"], False, 2)
    assert (first["commit"], first["refs"], first["complete"], first["size"]) == (COMMIT, ["main"], True, 3 * MIB + 612)
    page = catalogue.get("/api/v1/repos?limit=1").get_json()
    assert catalogue.get(f"/api/v1/repos?cursor={page['next']}").get_json()["repos"] == answer["repos"][1:]


@pytest.mark.parametrize("revision", ["main", COMMIT, "refs/pr/1", "refs%2Fpr%2F1"])
def test_a_manifest_is_found_by_commit_and_by_ref(catalogue: Api, revision: str) -> None:
    answer = catalogue.get(f"/api/v1/repos/model/org/name/revisions/{revision}").get_json()
    assert "model.safetensors" in [file["path"] for file in answer["files"]]


def test_a_manifest_is_found_in_any_case_and_has_the_name_that_is_written_here(catalogue: Api) -> None:
    told, asked = (
        catalogue.get(f"/api/v1/repos/model/{name}/revisions/{COMMIT}").get_json() for name in ("org/name", "Org/NAME")
    )
    assert asked == told
    assert asked["repo_id"] == "org/name"


@pytest.mark.parametrize(
    "path", ["model/org/none/revisions/main", "model/org/name/revisions/nope", "dataset/org/name/revisions/main"]
)
def test_an_unknown_manifest_is_not_found(catalogue: Api, path: str) -> None:
    assert catalogue.get(f"/api/v1/repos/{path}").status_code == 404


def test_a_blob_that_stands_everywhere_is_listed_with_twenty_places(api: Api) -> None:
    api.publish(manifest(*(big(f"copy-{n}.bin", A) for n in range(30)), torrents=packed(A)))
    assert len(api.torrents()[0]["appears_in"]) == 20


def test_without_the_announcer_a_lookup_is_unavailable_and_says_so(catalogue: Api, announcer: FakeAnnouncer) -> None:
    announcer.down = True
    answer = catalogue.get("/api/v1/torrents")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "announcer_unavailable")
    assert "Retry-After" in answer.headers
