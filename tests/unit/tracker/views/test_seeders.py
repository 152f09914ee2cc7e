"""The heartbeat of a seeder."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from tests.unit.tracker.bodies import report
from tests.unit.tracker.conftest import Api
from tests.unit.tracker.fakes import FakeAnnouncer


def test_a_heartbeat_learns_where_to_announce(api: Api, announcer: FakeAnnouncer) -> None:
    answer = api.beat(report()).get_json()
    key = sha256(f"{sha256(api.token.encode()).hexdigest()}:server".encode()).hexdigest()[:32]
    assert len(answer.pop("instance_id")) == 36
    assert len(answer.pop("holdings")) == 32
    assert answer == {"boot_id": "boot-1", "announce_port": 6969, "announce_key": key, "min_blob_bytes": 1 << 20}
    assert announcer.beats["server"][0] == key
    assert announcer.addresses["server"] == "127.0.0.1"


def test_what_it_says_of_itself_reaches_the_announcer_whole(api: Api, announcer: FakeAnnouncer) -> None:
    hashing = {"blobs_done": 1, "blobs_total": 4, "bytes_done": 10, "bytes_total": 90, "current": "model.bin"}
    problems = [{"what": "blobs/x", "reason": "not what its etag says"}]
    body = report(blob_port=8001, blob_tls=True, http_bytes=7, upstream="http://hub", hashing=hashing, problems=problems)
    assert api.beat(body).status_code == 200
    assert announcer.beats["server"][1] == {**body, "peer_http_bytes": 0, "token_id": 1, "for_all": False}


def test_names_of_files_reach_nobodys_eyes_with_what_is_not_printable(api: Api, announcer: FakeAnnouncer) -> None:
    hashing = {"blobs_done": 1, "blobs_total": 4, "bytes_done": 10, "bytes_total": 90, "current": "a\x9b2J"}
    body = report(hashing=hashing, problems=[{"what": "blobs/\u202exe.gpj", "reason": "\x1b[2J no\n"}])
    assert api.beat(body).status_code == 200
    said = announcer.beats["server"][1]
    assert said["problems"] == [{"what": "blobs/?xe.gpj", "reason": "?[2J no?"}]
    assert said["hashing"]["current"] == "a?2J"


def test_two_seeders_have_two_keys(api: Api) -> None:
    first, second = (api.beat(report(), seeder=name).get_json()["announce_key"] for name in ("a", "b"))
    assert first != second


def test_a_heartbeat_needs_a_token(api: Api, announcer: FakeAnnouncer) -> None:
    assert api.beat(report(), token="llmpt_pub_x").status_code == 401
    assert announcer.beats == {}


@pytest.mark.parametrize(
    "change",
    [{"port": 0}, {"port": 70000}, {"port": "6881"}, {"blobs": -1}, {"surprise": 1}, {"hashing": {}}, {"version": "x" * 99}],
    ids=str,
)
def test_a_heartbeat_that_makes_no_sense_is_refused(api: Api, change: dict[str, Any]) -> None:
    assert api.beat(report(**change)).status_code == 400


def test_a_heartbeat_has_its_own_limit(api: Api) -> None:
    assert api.beat(report(problems=[{"what": "x" * 4000, "reason": ""}] * 100)).status_code == 413


@pytest.mark.parametrize("name", ["a b", "x" * 65, "%00", "a'b"])
def test_an_id_that_is_none_is_refused(api: Api, name: str) -> None:
    assert api.beat(report(), seeder=name).status_code == 422


def test_the_announcer_being_away_is_try_again(api: Api, announcer: FakeAnnouncer) -> None:
    announcer.down = True
    assert api.beat(report()).status_code == 503
