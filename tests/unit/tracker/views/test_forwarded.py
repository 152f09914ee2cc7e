"""What a trusted proxy says of how it was reached is in every address that is handed out; what anybody else says is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from llmpt.core import bencode
from llmpt_tracker.app import create_app
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.bodies import big, manifest, packed, small, torrent
from tests.unit.tracker.conftest import NOW, publisher
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs

MODEL = torrent("model")
SAID = {
    "X-Forwarded-For": "10.0.0.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "hub.lan",
    "X-Forwarded-Prefix": "/llmpt/",
}


@pytest.fixture
def proxied(settings: TrackerSettings, tmp_path: Path) -> Flask:
    environ = {"LLMPT_DATA": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "LLMPT_TRUSTED_PROXIES": "127.0.0.1,10.9.0.0/16"}
    blobs = FakeBlobs()
    blobs.held = {MODEL.etag.value}
    app = create_app(TrackerSettings.read(environ), lambda: NOW, FakeAnnouncer(), blobs=blobs)
    api = publisher(app)
    for number in range(2):
        api.publish(manifest(big("m", MODEL), small("a"), repo_id=f"org/{number}", torrents=packed(MODEL)))
    return app


def addresses(client: FlaskClient, headers: dict[str, str], remote: str = "127.0.0.1") -> dict[str, str]:
    """Return every address that an answer holds."""
    more = {"headers": {"Host": "server:8000", **headers}, "environ_overrides": {"REMOTE_ADDR": remote}}
    link = client.get("/api/models?limit=1", **more).headers["Link"]
    stored = bencode.decode(client.get(f"/api/v1/torrents/{MODEL.info_hash}.torrent", **more).data)
    assert isinstance(stored, dict)
    page = client.get("/", **more).get_data(as_text=True)
    return {
        "link": link.partition("/api/models")[0],
        "seed": stored[b"url-list"][0].decode(),
        "announce": stored[b"announce"].decode(),
        "join": page.partition("llmpt join ")[2].split()[0],
        "style": page.partition('stylesheet" href="')[2].split('"')[0],
        "blob": client.get(f"/blobs/{MODEL.etag}", **more).headers["Location"].partition("/blobs/")[0],
        "openapi": json.loads(client.get("/api/v1/openapi.json", **more).data)["servers"][0]["url"],
    }


def test_behind_a_proxy_every_address_is_the_proxys(proxied: Flask) -> None:
    base = "https://hub.lan/llmpt"
    assert addresses(proxied.test_client(), SAID) == {
        "link": f"<{base}",
        "seed": f"{base}/blobs/",
        "announce": "http://hub.lan:6969/announce",
        "join": base,
        "style": "/llmpt/static/tracker.css",
        "blob": "http://hub.lan:8001",
        "openapi": base,
    }


def test_what_a_stranger_says_is_nothing(proxied: Flask) -> None:
    found = addresses(proxied.test_client(), SAID, remote="192.168.1.5")
    assert found["join"] == found["openapi"] == "http://server:8000"
    assert found["style"] == "/static/tracker.css"


@pytest.mark.parametrize(
    ("said", "base"),
    [
        ({"X-Forwarded-Proto": "https"}, "https://server:8000"),
        ({"X-Forwarded-Host": "hub.lan:8443", "X-Forwarded-Proto": "https"}, "https://hub.lan:8443"),
        ({"X-Forwarded-Host": "hub.lan", "X-Forwarded-Port": "8443", "X-Forwarded-Proto": "https"}, "https://hub.lan:8443"),
        ({"X-Forwarded-Host": "hub.lan", "X-Forwarded-Port": "443", "X-Forwarded-Proto": "HTTPS"}, "https://hub.lan"),
        ({"X-Forwarded-Host": "hub.lan"}, "http://hub.lan"),
        ({"X-Forwarded-Host": "[fd00::1]", "X-Forwarded-Proto": "https"}, "https://[fd00::1]"),
        ({"X-Forwarded-Host": 'a"b', "X-Forwarded-Proto": "gopher", "X-Forwarded-Prefix": "//evil"}, "http://server:8000"),
        ({"X-Forwarded-Port": "9" * 500, "X-Forwarded-Host": "hub.lan"}, "http://hub.lan"),
        # two proxies of ours, the outer one first; and a client that says so itself, to a proxy that appends
        ({"X-Forwarded-For": "10.0.0.7, 10.9.0.1", "X-Forwarded-Proto": "https, http"}, "https://server:8000"),
        ({"X-Forwarded-For": "10.0.0.7", "X-Forwarded-Host": "evil.example, hub.lan"}, "http://hub.lan"),
    ],
)
def test_each_word_of_a_proxy_counts_for_itself(proxied: Flask, said: dict[str, str], base: str) -> None:
    assert addresses(proxied.test_client(), said)["join"] == base
