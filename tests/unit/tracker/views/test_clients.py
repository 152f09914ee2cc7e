"""Nothing is done for a client that has gone."""

from __future__ import annotations

import socket

import pytest

from llmpt_tracker.database.sessions import Database
from llmpt_tracker.views.clients import GONE
from tests.unit.tracker.conftest import Api, state_of

PATHS = ["/api/v1/torrents", "/api/models/org/name", "/org/name/resolve/main/a", "/"]


@pytest.mark.parametrize("path", PATHS)
def test_a_client_that_has_gone_costs_nothing(api: Api, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_of(api.client.application)
    monkeypatch.setattr(Database, "reading", lambda _: pytest.fail("the database was asked"))
    ours, client = socket.socketpair()
    with ours:
        client.close()
        answer = api.client.get(path, environ_overrides={"gunicorn.socket": ours, "RAW_URI": path})
    assert answer.status_code == GONE
    assert state.seats.take(), "and no seat is lost"
    state.seats.give_back()


def test_a_client_that_is_there_is_answered(api: Api) -> None:
    ours, client = socket.socketpair()
    with ours, client:
        assert api.client.get("/api/v1/torrents", environ_overrides={"gunicorn.socket": ours}).status_code == 200
