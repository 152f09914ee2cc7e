"""Old clients and new trackers, and the reverse."""

from __future__ import annotations

import pytest

from llmpt_tracker.version import PROTOCOL, VERSION, outdated_client
from tests.unit.tracker.conftest import Api
from tests.unit.tracker.fakes import FakeAnnouncer


@pytest.mark.parametrize(
    ("user_agent", "outdated"),
    [
        ("llmpt/0.0.9", "0.0.9"),
        ("llmpt/0.0", "0.0"),
        ("llmpt/0", "0"),
        ("llmpt/0.1.0", None),
        ("llmpt/0.1", None),
        ("llmpt/0.1.0.dev1", None),
        ("llmpt/0.10", None),
        ("llmpt/17.3", None),
        ("llmpt/unknown", None),
        ("curl/0.0.1", None),
        ("Mozilla/5.0 llmpt/0.0.1", None),
        ("", None),
    ],
)
def test_only_a_client_of_ours_can_be_too_old(user_agent: str, outdated: str | None) -> None:
    assert outdated_client(user_agent) == outdated


@pytest.mark.parametrize("path", ["torrents", "repos", "whoami", "openapi.json", "torrents/x", "nothing"])
def test_every_answer_of_the_api_says_its_version(api: Api, path: str) -> None:
    assert api.get(f"/api/v1/{path}").headers["X-Llmpt-Version"] == VERSION


@pytest.mark.parametrize("path", ["/", "/api/models/org/name/tree/main", "/healthz"])
def test_an_answer_outside_our_own_api_says_that_it_is_ours_too(api: Api, path: str) -> None:
    assert api.get(path).headers["X-Llmpt-Version"] == VERSION


def test_a_refused_stranger_learns_the_version_too(api: Api) -> None:
    answer = api.get("/api/v1/repos", environ_overrides={"REMOTE_ADDR": "8.8.8.8"})
    assert (answer.status_code, answer.headers["X-Llmpt-Version"]) == (403, VERSION)


def test_a_client_that_is_too_old_is_told_which_to_update(api: Api) -> None:
    answer = api.get("/api/v1/repos", headers={"User-Agent": "llmpt/0.0.1"})
    assert answer.status_code == 426
    error = answer.get_json()["error"]
    assert error["code"] == "client_too_old"
    assert "0.0.1" in error["message"]
    assert "update llmpt on this machine" in error["message"]


def test_a_client_that_is_too_old_can_still_look_at_the_page(api: Api) -> None:
    for path in ("/", "/dist/", "/healthz"):
        assert api.get(path, headers={"User-Agent": "llmpt/0.0.1"}).status_code == 200


def test_a_newer_client_is_served(api: Api) -> None:
    assert api.get("/api/v1/repos", headers={"User-Agent": "llmpt/99.0"}).status_code == 200


def test_whoami_says_how_the_tracker_sees_the_asker(api: Api, announcer: FakeAnnouncer) -> None:
    announcer.reachable = {("10.0.0.5", 6882): True, ("10.0.0.5", 6883): False}
    for port, reachable in ((6882, True), (6883, False), (6884, None)):
        answer = api.get(f"/api/v1/whoami?port={port}", environ_overrides={"REMOTE_ADDR": "10.0.0.5"})
        assert answer.get_json() == {
            "address": "10.0.0.5",
            "reachable": reachable,
            "version": VERSION,
            "protocol": PROTOCOL,
            "oldest_client": "0.1.0",
        }


def test_whoami_without_a_port_tries_nothing(api: Api, announcer: FakeAnnouncer) -> None:
    announcer.down = True
    assert api.get("/api/v1/whoami").get_json()["reachable"] is None


@pytest.mark.parametrize("query", ["port=0", "port=65536", "port=99999999999999999999", "port=-1", "port=²", "port=", "host=x"])
def test_whoami_takes_a_port_and_nothing_else(api: Api, query: str) -> None:
    assert api.get(f"/api/v1/whoami?{query}").status_code == 400
