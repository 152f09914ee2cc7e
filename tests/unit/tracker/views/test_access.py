"""Who is answered, and under which name the tracker speaks of itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llmpt.core.networks import CidrSet, parse_address
from llmpt.host.routes import HostNetwork
from llmpt_tracker.app import create_app
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.bodies import packed, torrent
from tests.unit.tracker.conftest import NOW, Api, state_of
from tests.unit.tracker.fakes import FakeAnnouncer


@pytest.mark.parametrize("path", ["/", "/api/v1/torrents", "/api/v1/openapi.json", "/healthz", "/static/tracker.css", "/nowhere"])
def test_an_address_outside_the_networks_gets_no_answer_and_learns_the_setting(api: Api, path: str) -> None:
    answer = api.get(path, environ_overrides={"REMOTE_ADDR": "8.8.8.8"})
    assert answer.status_code == 403
    assert "LLMPT_PEER_CIDRS" in answer.get_data(as_text=True)


def test_a_forged_x_forwarded_for_does_not_let_anyone_in(api: Api) -> None:
    answer = api.get("/", headers={"X-Forwarded-For": "127.0.0.1"}, environ_overrides={"REMOTE_ADDR": "8.8.8.8"})
    assert answer.status_code == 403


def test_a_forged_x_forwarded_for_changes_nobodys_peers(api: Api, announcer: FakeAnnouncer) -> None:
    api.publish({"torrents": packed(torrent("a"))})
    api.get("/api/v1/torrents?include=peers", headers={"X-Forwarded-For": "192.168.1.66"})
    assert announcer.askers[-1] == "127.0.0.1"


def test_the_health_check_of_this_host_is_answered_whatever_the_networks_are(migrated: Path, tmp_path: Path) -> None:
    shutil.copy(migrated, tmp_path / "tracker.db")
    settings = TrackerSettings.read({"LLMPT_DATA": str(tmp_path), "LLMPT_PEER_CIDRS": "192.168.7.0/24"})
    app = create_app(settings, lambda: NOW, FakeAnnouncer())
    assert app.test_client().get("/healthz").status_code == 200
    assert app.test_client().get("/").status_code == 403
    state_of(app).database.engine.dispose()


def test_the_container_beside_ours_may_publish_without_being_named_but_not_look_around(
    migrated: Path, tmp_path: Path, announcer: FakeAnnouncer
) -> None:
    shutil.copy(migrated, tmp_path / "tracker.db")
    settings = TrackerSettings.read({"LLMPT_DATA": str(tmp_path), "LLMPT_PEER_CIDRS": "192.168.7.0/24"})
    network = HostNetwork(frozenset({parse_address("172.18.0.1")}), CidrSet.parse("172.18.0.0/16"), in_container=True)
    client = create_app(settings, lambda: NOW, announcer, network).test_client()

    def status(path: str, method: str, address: str) -> int:
        return client.open(path, method=method, environ_overrides={"REMOTE_ADDR": address}).status_code

    assert status("/api/v1/publish", "POST", "172.18.0.3") == 401  # let in, and asked for its token
    assert status("/api/v1/seeders/x", "PUT", "172.18.0.3") == 401
    assert status("/api/v1/publish", "POST", "172.18.0.1") == 403  # the gateway may be anybody
    assert status("/api/v1/torrents", "GET", "172.18.0.3") == 403
    state_of(client.application).database.engine.dispose()


def test_answers_carry_safe_headers(api: Api) -> None:
    for path in ("/", "/api/v1/torrents", "/nowhere", "/static/tracker.css"):
        with api.get(path) as answer:
            headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert "Access-Control-Allow-Origin" not in headers
        assert "Set-Cookie" not in headers


def test_errors_of_the_api_are_json(api: Api) -> None:
    for answer, status, code in (
        (api.get("/api/v1/nothing"), 404, "not_found"),
        (api.client.delete("/api/v1/torrents"), 405, "method_not_allowed"),
    ):
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)
