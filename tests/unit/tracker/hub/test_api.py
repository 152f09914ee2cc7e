"""The Hub's metadata routes: info, tree, paths-info, refs, commits, the list, and the odd ones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from llmpt.core.browsers import Origins
from tests.unit.tracker.bodies import COMMIT, OTHER_COMMIT, manifest, small
from tests.unit.tracker.conftest import Api, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs
from tests.unit.tracker.hub_client import CARD, PART_COMMIT, WEIGHTS, WHOLE, HubClient, publish_all

PATHS = sorted(line["path"] for line in WHOLE)
FOLDERS = ["data", "data/deep", "ünï"]
DATE = "2026-11-22T12:00:00.000Z"


@pytest.fixture
def hub(app: Flask, api: Api, blobs: FakeBlobs, announcer: FakeAnnouncer) -> HubClient:
    client = HubClient(app, blobs, announcer)
    publish_all(api, client)
    return client


def agent(version: str) -> dict[str, str]:
    return {"User-Agent": f"unknown/None; hf_hub/{version}; python/3.11"}


@pytest.mark.parametrize(
    "target",
    [
        "/api/models/org/name",
        "/api/models/org/name/revision/main",
        "/api/models/org/name/revision/HEAD",
        f"/api/models/org/name/revision/{COMMIT}",
    ],
)
def test_info(hub: HubClient, target: str) -> None:
    shown = hub.json(target)
    assert (shown["id"], shown["modelId"], shown["author"], shown["sha"]) == ("org/name", "org/name", "org", COMMIT)
    assert (shown["private"], shown["gated"], shown["disabled"]) == (False, False, False)
    assert (shown["lastModified"], shown["createdAt"]) == (DATE, DATE)
    assert shown["siblings"] == [{"rfilename": path} for path in PATHS]
    assert (shown["cardData"], shown["pipeline_tag"], shown["library_name"]) == (CARD, "text-generation", "transformers")
    assert shown["tags"] == ["transformers", "tiny", "text-generation", "en", "license:mit"]


def test_what_upstream_has_found_out_of_a_repo_stays_when_its_readme_comes(hub: HubClient, api: Api) -> None:
    found_out = {"pipeline_tag": "fill-mask", "library_name": "transformers", "tags": ["safetensors", "bert"]}
    for card in (found_out, {"license": "mit", "tags": ["own"], "pipeline_tag": "text-generation"}):
        api.publish(manifest(small("config.json"), repo_id="org/learned", card=card))
    shown = hub.json("/api/models/org/learned")
    assert (shown["pipeline_tag"], shown["library_name"]) == ("text-generation", "transformers")
    assert shown["tags"] == ["transformers", "own", "safetensors", "bert", "text-generation", "license:mit"]


def test_a_library_that_an_older_card_names_among_its_tags_is_one(hub: HubClient, api: Api) -> None:
    api.publish(manifest(small("config.json"), repo_id="org/old", card={"tags": ["bert", "sentence-transformers"]}))
    api.publish(manifest(small("config.json"), repo_id="org/odd", card={"library_name": 7, "pipeline_tag": ["x"], "tags": [7]}))
    assert hub.json("/api/models/org/old")["library_name"] == "sentence-transformers"
    assert not {"library_name", "pipeline_tag"} & hub.json("/api/models/org/odd").keys()


def test_info_with_blobs(hub: HubClient) -> None:
    siblings = {one["rfilename"]: one for one in hub.json("/api/models/org/name?blobs=True&securityStatus=true")["siblings"]}
    config = small("config.json")
    assert siblings["config.json"] == {"rfilename": "config.json", "size": 612, "blobId": config["etag"]}
    weights = siblings["model.safetensors"]
    assert weights["lfs"] == {"sha256": WEIGHTS.etag.value, "size": WEIGHTS.size, "pointerSize": 132}
    assert weights["blobId"] not in (WEIGHTS.etag.value, "")


def test_a_repo_of_one_name_and_other_types(hub: HubClient) -> None:
    assert hub.json("/api/datasets/squad")["sha"] == OTHER_COMMIT
    assert hub.json("/api/spaces/org/name/revision/main")["siblings"] == [{"rfilename": "app.py"}]
    assert hub.get("/api/models/squad").headers["X-Error-Code"] == "RepoNotFound"


def test_siblings_and_tree_agree(hub: HubClient) -> None:
    for repo in ("org/name", "org/part"):
        listed = hub.json(f"/api/models/{repo}/tree/main?recursive=true&expand=false")
        assert [one["path"] for one in listed if one["type"] == "file"] == [
            one["rfilename"] for one in hub.json(f"/api/models/{repo}")["siblings"]
        ]


def test_the_whole_tree(hub: HubClient) -> None:
    entries = hub.json("/api/models/org/name/tree/main?recursive=True&expand=False&limit=2&cursor=x")
    assert [one["path"] for one in entries] == sorted([*PATHS, *FOLDERS])
    weights = next(one for one in entries if one["path"] == "model.safetensors")
    assert weights["lfs"] == {"oid": WEIGHTS.etag.value, "size": WEIGHTS.size, "pointerSize": 132}
    assert not [one for one in entries if "xetHash" in one or "lastCommit" in one]
    folder = next(one for one in entries if one["path"] == "data")
    assert (folder["type"], folder["size"], len(folder["oid"])) == ("directory", 0, 40)


@pytest.mark.parametrize(
    ("target", "paths"),
    [
        ("tree/main", ["config.json", "data", "data-1.json", "empty.txt", "model.safetensors", "small.bin", "ünï"]),
        ("tree/main/data", ["data/a.json", "data/deep"]),
        ("tree/main/data/", ["data/a.json", "data/deep"]),
        ("tree/main/data?recursive=true", ["data/a.json", "data/deep", "data/deep/b c.json"]),
        ("tree/main/data%2Fdeep", ["data/deep/b c.json"]),
        ("tree/feature%2Fx/%C3%BCn%C3%AF", ["ünï/cödé #1%.txt"]),
    ],
)
def test_a_folder_of_the_tree(hub: HubClient, target: str, paths: list[str]) -> None:
    assert [one["path"] for one in hub.json(f"/api/models/org/name/{target}")] == paths


@pytest.mark.parametrize(
    ("repo", "below", "commit"), [("org/name", "none", COMMIT), ("org/part", "none", None), ("org/name", "..", None)]
)
def test_an_unknown_folder(hub: HubClient, repo: str, below: str, commit: str | None) -> None:
    answer = hub.get(f"/api/models/{repo}/tree/main/{below}")
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert answer.headers.get("X-Repo-Commit") == commit


def test_the_last_commit_is_told_to_those_who_ask(hub: HubClient) -> None:
    entries = hub.json("/api/models/org/name/tree/main?expand=true")
    assert [one["lastCommit"] for one in entries] == [{"id": COMMIT, "title": "", "date": DATE}] * len(entries)


PART = f"/api/models/org/part/tree/{PART_COMMIT}?recursive=true&expand=false"


@pytest.mark.parametrize("version", ["1.22.0", "1.25.9"])
def test_versions_that_would_keep_a_partial_listing_get_none(hub: HubClient, version: str) -> None:
    answer = hub.get(PART, headers=agent(version))
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "RevisionNotFound")
    assert "1.26" in answer.get_json()["error"]
    assert hub.get("/api/models/org/part/tree/main?recursive=true", headers=agent(version)).status_code == 200
    assert hub.get(f"/api/models/org/name/tree/{COMMIT}?recursive=true", headers=agent(version)).status_code == 200


@pytest.mark.parametrize("version", ["1.26.0", "1.33.0", "2.4.0"])
def test_later_ones_are_told_not_to_keep_it(hub: HubClient, version: str) -> None:
    marked = [one["path"] for one in hub.json(PART, headers=agent(version)) if one.get("xetHash") == "partial"]
    assert marked == ["data/a.json"]  # the smallest
    for target in (
        f"/api/models/org/part/tree/{PART_COMMIT}",
        "/api/models/org/part/tree/main?recursive=true",
        f"/api/models/org/name/tree/{COMMIT}?recursive=true",
    ):
        assert "xetHash" not in hub.get(target, headers=agent(version)).get_data(as_text=True)


@pytest.mark.parametrize("version", ["0.23.5", "1.21.0"])
def test_everybody_else_gets_the_plain_list(hub: HubClient, version: str) -> None:
    assert hub.json(PART, headers=agent(version)) == hub.json(PART, headers={"User-Agent": "curl/8"})
    assert "xetHash" not in hub.get(PART).get_data(as_text=True)


def test_paths_info_by_form_and_by_json(hub: HubClient) -> None:
    wanted = ["config.json", "data", "data/deep/", "none", "model.safetensors", "config.json", "../x", "dat"]
    target = "/api/models/org/name/paths-info/main"
    by_form = hub.ask("POST", target, data={"paths": wanted, "expand": "False"}).get_json()
    by_json = hub.ask("POST", target, json={"paths": wanted, "expand": False, "more": 1}).get_json()
    assert by_form == by_json
    assert [one["path"] for one in by_form] == ["config.json", "data", "data/deep", "model.safetensors"]
    tree = {one["path"]: one for one in hub.json("/api/models/org/name/tree/main?recursive=true")}
    assert by_form == [tree[one["path"]] for one in by_form]
    expanded = hub.ask("POST", target, data={"paths": ["data"], "expand": "True"}).get_json()
    assert expanded[0]["lastCommit"]["id"] == COMMIT


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"data": b"{", "content_type": "application/json"}, 400),
        ({"data": b'{"paths": 3}', "content_type": "application/json"}, 400),
        ({"data": b'{"paths": ' + b"[" * 50_000, "content_type": "application/json"}, 400),
        ({"data": b'{"paths": ["\\ud800"]}', "content_type": "application/json"}, 400),
        ({"data": b"paths=a&" * 20_000}, 400),
        ({"data": b"paths=" + b"a" * (2 << 20)}, 413),
        ({"data": b"\xff\xfe&paths=%ff%00"}, 200),
        ({"data": b""}, 200),
    ],
)
def test_paths_info_of_nonsense(hub: HubClient, body: dict[str, Any], status: int) -> None:
    answer = hub.ask("POST", "/api/models/org/name/paths-info/main", **body)
    assert answer.status_code == status
    assert answer.get_json() == [] if status == 200 else "error" in answer.get_json()


def test_refs(hub: HubClient) -> None:
    shown = hub.json("/api/models/org/name/refs?include_prs=1")
    assert shown == {
        "branches": [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": COMMIT} for name in ("feature/x", "main")],
        "converts": [{"name": "parquet", "ref": "refs/convert/parquet", "targetCommit": COMMIT}],
        "tags": [],
        "pullRequests": [{"name": "refs/pr/1", "ref": "refs/pr/1", "targetCommit": COMMIT}],
    }
    assert "pullRequests" not in hub.json("/api/models/org/name/refs")


def test_a_ref_that_reads_as_a_version_is_a_tag(hub: HubClient, api: Api) -> None:
    refs = ["main", "v1", "v1.0", "2.3.1-rc1", "v-1.0x", "release-1.0"]
    assert api.publish(manifest(small("x"), repo_id="org/kernel", commit=OTHER_COMMIT, refs=refs)).status_code == 200
    shown = hub.json("/api/models/org/kernel/refs")
    assert [(one["name"], one["ref"]) for one in shown["tags"]] == [
        ("2.3.1-rc1", "refs/tags/2.3.1-rc1"),
        ("v1.0", "refs/tags/v1.0"),
    ]
    assert [one["name"] for one in shown["branches"]] == ["main", "release-1.0", "v-1.0x", "v1"]


def test_commits_and_access(hub: HubClient) -> None:
    (commit,) = hub.json("/api/models/org/name/commits/main?p=0")
    assert (commit["id"], commit["authors"], commit["date"]) == (COMMIT, [], DATE)
    assert hub.get("/api/models/org/name/commits/main?limit=1").headers["X-Total-Count"] == "1"
    assert hub.get("/api/models/org/name/auth-check").status_code == 200
    assert hub.get("/api/models/org/none/auth-check").headers["X-Error-Code"] == "RepoNotFound"


def test_the_list(api: Api, hub: HubClient) -> None:
    def ids(query: str) -> list[str]:
        return [one["id"] for one in hub.json(f"/api/models?{query}")]

    assert api.publish(manifest(small("x"), repo_id="Other/NAMED_too")).status_code == 200
    assert ids("") == ["Other/NAMED_too", "org/part", "org/name"]  # the newest first
    assert ids("search=NAME") == ids("search=name") == ["Other/NAMED_too", "org/name"]
    assert ids("author=org") == ["org/part", "org/name"]
    assert ids("author=or") == []
    assert ids("filter=tiny&filter=license:mit") == ["org/name"]
    assert ids("filter=tiny,none") == []
    assert ids("search=_ame") == []  # no pattern
    assert "siblings" not in hub.json("/api/models")[0]
    assert hub.json("/api/models?full=true&sort=lastModified&direction=-1&search=part")[0]["siblings"]
    assert [one["id"] for one in hub.json("/api/datasets")] == ["squad"]
    assert hub.json("/api/kernels") == []


def test_the_list_comes_in_pages(hub: HubClient) -> None:
    first = hub.get("/api/models?limit=1&search=org", headers={"Host": "server:8000"})
    assert [one["id"] for one in first.get_json()] == ["org/part"]
    url, relation = first.headers["Link"].split("; ")
    assert relation == 'rel="next"'
    assert url.startswith("<http://server:8000/api/models?")
    second = hub.get(url.strip("<>").removeprefix("http://server:8000"))
    assert [one["id"] for one in second.get_json()] == ["org/name"]
    assert "Link" not in second.headers
    assert hub.get("/api/models?cursor=bad").status_code == 400


def test_the_odd_probes(hub: HubClient) -> None:
    who = hub.get("/api/whoami-v2")
    assert (who.status_code, set(who.get_json())) == (401, {"error"})
    told = hub.json("/api/whoami-v2", headers={"Authorization": "Bearer hf_any"})
    assert (told["name"], told["orgs"], told["auth"]["accessToken"]["role"]) == ("anonymous", [], "read")
    assert hub.json("/api/agent-harnesses") == {"standardEnvVars": [], "harnesses": {}}
    for method in ("HEAD", "GET"):
        assert (hub.ask(method, "/api/telemetry/a/b").status_code, hub.ask(method, "/api/telemetry/a/b").data) == (200, b"")
    for target in ("/api/models/org/name/discussions?p=0", f"/api/models/org/name/xet-read-token/{COMMIT}", "/api/none"):
        answer = hub.get(target)
        assert (answer.status_code, set(answer.get_json())) == (404, {"error"})


def test_a_repo_is_found_however_its_name_is_written(hub: HubClient, api: Api) -> None:
    hub.all_are_here()
    for target in ("/api/models/ORG/Name", "/api/models/Org/NAME/revision/main"):
        assert hub.json(target)["id"] == "org/name"
    assert hub.json("/api/models/Org/Name/tree/main/data")[0]["path"] == "data/a.json"
    assert hub.head("/Org/Name/resolve/main/model.safetensors").headers["X-Repo-Commit"] == COMMIT
    assert hub.get("/Org/None/resolve/main/x").headers["X-Error-Code"] == "RepoNotFound"
    assert api.publish(manifest(small("x"), repo_id="Org/Name", commit=OTHER_COMMIT)).status_code == 200
    assert hub.json("/api/models/Org/Name")["sha"] == OTHER_COMMIT  # where two are written alike, each has its own
    assert hub.json("/api/models/org/name")["sha"] == COMMIT


def test_a_gguf_file_is_found_by_its_quantisation(hub: HubClient, api: Api) -> None:
    files = [small("m-Q4_K_M.gguf"), small("m-Q8_0.gguf")]
    assert api.publish(manifest(*files, repo_id="org/m-GGUF", commit=OTHER_COMMIT)).status_code == 200
    assert hub.json("/v2/Org/m-gguf/manifests/q8_0")["ggufFile"]["rfilename"] == "m-Q8_0.gguf"
    assert hub.get("/v2/org/m-GGUF/manifests/Q2_K").headers["X-Error-Code"] == "EntryNotFound"
    assert hub.get("/v2/org/none/manifests/latest").headers["X-Error-Code"] == "RepoNotFound"


PAGE = {"Origin": "https://page.lan", "User-Agent": "Mozilla/5.0", "Sec-Fetch-Site": "cross-site"}


def test_a_page_reads_what_the_hub_gives_only_where_the_operator_named_its_origin(
    hub: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.all_are_here()
    assert hub.get("/api/models/org/name", headers=PAGE).status_code == 403
    settings = replace(state_of(hub.app).settings, origins=Origins.parse("https://page.lan"))
    monkeypatch.setitem(hub.app.extensions, "llmpt", replace(state_of(hub.app), settings=settings))
    for method, target, status in (
        ("GET", "/api/models/org/name", 200),
        ("GET", "/api/models/org/none", 404),
        ("GET", "/org/name/resolve/main/model.safetensors", 302),
        ("OPTIONS", "/api/models/org/name/paths-info/main", 204),
    ):
        answer = hub.ask(method, target, headers={**PAGE, "Access-Control-Request-Headers": "content-type"})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, "https://page.lan"), target
        assert answer.headers["Vary"] == "Origin"
        assert "X-Error-Code" in answer.headers["Access-Control-Expose-Headers"]
    for origin in ("https://other.lan", "https://page.lan.evil.example", "null"):
        for method in ("GET", "OPTIONS"):
            answer = hub.ask(method, "/api/models/org/name", headers={**PAGE, "Origin": origin})
            assert (answer.status_code, "Access-Control-Allow-Origin" in answer.headers) == (403, False)
    assert hub.get("/api/v1/repos", headers=PAGE).status_code == 403
    assert hub.ask("POST", "/api/models/org/name/commit/main", headers=PAGE).status_code == 403
    assert "Access-Control-Allow-Origin" not in hub.get("/api/models/org/name").headers


def test_an_owner_is_known_by_its_repos(hub: HubClient) -> None:
    told = hub.json("/api/organizations/ORG/overview")
    assert (told["name"], told["numModels"], told["numSpaces"], told["numDatasets"]) == ("ORG", 2, 1, 0)
    assert hub.get("/api/users/or/overview").status_code == 404


def test_what_is_not_here_of_a_repo_that_is_not_here_either_names_the_repo(hub: HubClient) -> None:
    for target in ("/api/models/org/none/discussions", "/api/datasets/none/xet-read-token/main", "/api/models/org/none/a/b"):
        assert (hub.get(target).status_code, hub.get(target).headers["X-Error-Code"]) == (404, "RepoNotFound"), target
    assert "X-Error-Code" not in hub.get("/api/models/org/name/discussions").headers


def test_git_and_uploads_are_told_in_a_sentence_what_helps(hub: HubClient) -> None:
    for method, target in (("GET", "/org/name/info/refs?service=git-upload-pack"), ("POST", "/org/name.git/git-receive-pack")):
        answer = hub.ask(method, target)
        assert (answer.status_code, answer.mimetype) == (403, "text/plain")
        assert "hf download org/name" in answer.get_data(as_text=True)
    answer = hub.ask("POST", "/datasets/squad.git/info/lfs/objects/batch", json={})
    assert (answer.status_code, answer.mimetype) == (403, "application/vnd.git-lfs+json")
    assert "hf download squad" in answer.get_data(as_text=True)
    for target in ("repos/create", "models/org/name/commit/main", "models/org/none/preupload/main", "validate-yaml"):
        answer = hub.ask("POST", f"/api/{target}", json={})
        assert (answer.status_code, "no uploads" in answer.headers["X-Error-Message"]) == (403, True), target


def test_a_method_that_is_not_for_that_route(hub: HubClient) -> None:
    for method, target in (
        ("POST", "/api/models/org/name"),
        ("GET", "/api/models/org/name/paths-info/main"),
        ("DELETE", "/api/models"),
    ):
        answer = hub.ask(method, target)
        assert (answer.status_code, set(answer.get_json())) == (405, {"error"})
        assert answer.headers["Allow"]


def test_nothing_is_packed(hub: HubClient) -> None:
    answer = hub.get("/api/models/org/name", headers={"Accept-Encoding": "gzip, deflate, br"})
    assert "Content-Encoding" not in answer.headers
    assert json.loads(answer.data)["id"] == "org/name"


def test_a_dead_announcer_is_no_not_found(hub: HubClient) -> None:
    hub.announcer.down = True
    answer = hub.head("/org/name/resolve/main/model.safetensors")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_ten_thousand_paths_cost_a_few_looks_and_no_folder_among_them_is_missed(hub: HubClient, app: Flask) -> None:
    asked = [f"nothing {number}" for number in range(9_990)] + [
        "data",
        "data/deep",
        "dat",
        "data-1.json",
        "config.json",
        "data/a.json",
    ]
    looks: list[str] = []
    engine = state_of(app).database.engine

    def note(*said: Any) -> None:
        looks.append(said[2])

    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = hub.ask("POST", "/api/models/org/name/paths-info/main", json={"paths": asked})
    finally:
        event.remove(engine, "before_cursor_execute", note)
    found = {one["path"]: one["type"] for one in answer.get_json()}
    assert found == {
        "data": "directory", "data/deep": "directory", "data-1.json": "file", "config.json": "file", "data/a.json": "file",
    }  # fmt: skip
    assert len(looks) < 40
