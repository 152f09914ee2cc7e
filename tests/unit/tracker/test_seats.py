"""What must never wait takes no seat; what may gets one, or is told to come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask

from llmpt_tracker.seats import Seats, is_vital
from llmpt_tracker.state import attach
from tests.unit.tracker.bodies import manifest, report, small
from tests.unit.tracker.conftest import Api, state_of

VITAL = ["/", "/healthz", "/api/v1/torrents?etag=" + "ab" * 32, "/api/v1/whoami"]
OTHERS = ["/org/name/resolve/main/config.json", "/api/models/org/name", "/blobs/" + "ab" * 32]


@pytest.fixture
def seats(app: Flask) -> Iterator[Seats]:
    before, seats = state_of(app), Seats(1)
    attach(app, replace(before, seats=seats))
    yield seats
    attach(app, before)


def test_what_keeps_the_lan_going_is_answered_when_all_seats_are_taken(api: Api, seats: Seats) -> None:
    assert seats.take()
    assert [api.get(path).status_code for path in VITAL] == [200] * len(VITAL)
    assert api.beat(report()).status_code == 200
    assert api.post("leases", {"machine": "m", "stall_timeout_s": 5.0, "wants": []}).status_code == 200
    assert api.publish(manifest(small("config.json"))).status_code == 200, "what others wait for"
    assert all(is_vital(path) for path in VITAL)


@pytest.mark.parametrize("path", OTHERS)
def test_others_are_told_to_come_back_and_never_that_there_is_nothing(api: Api, seats: Seats, path: str) -> None:
    assert seats.take()
    answer = api.client.get(path, environ_overrides={"RAW_URI": path})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    seats.give_back()
    assert api.client.get(path, environ_overrides={"RAW_URI": path}).status_code in (200, 404)


def test_a_seat_is_given_back_whatever_came_of_the_request(api: Api, seats: Seats) -> None:
    api.publish(manifest(small("config.json")))
    for path in (*OTHERS, "/nothing", "/api/models/a/b/c/d", "/org/name/resolve/main/../x"):
        api.get(path)
    assert seats.take(), "the one seat is free"


def test_that_all_are_taken_is_told() -> None:
    reached: list[str] = []
    seats = Seats(0, on_full=lambda: reached.append("full"))
    assert not seats.take()
    assert reached == ["full"]
