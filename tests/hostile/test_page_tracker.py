"""A web page in a visitor's browser, against port 8000: one visit to an evil page, and what is left of it."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from llmpt.tracker.client import TrackerClient
from tests.support.browser import CHROMIUM, page_server, visit
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import MIB, big, manifest, packed, torrent

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

SECRET = torrent("secret", 300 * MIB)
BEAT = {"port": 6881, "version": "1", "blobs": 0, "bytes": 0, "uploaded_bytes": 0, "upload_rate_bytes_s": 0}

EVIL = """<!doctype html><meta name="referrer" content="no-referrer"><title>evil</title>
<img src="{tracker}/evil/pulled/resolve/main/config.json">
<img src="{tracker}/api/v1/whoami?port={port}">
<iframe name="sink"></iframe>
<form id="form" target="sink" method="post" enctype="text/plain" action="{tracker}/api/v1/tokens">
<input name='{{"name":"form' value='"}}'></form>
<script>
document.getElementById("form").submit();
const body = '{{"name":"evil fetch"}}', url = "{tracker}/api/v1/tokens";
const told = [];
const tries = [
  () => fetch(url, {{method: "POST", mode: "no-cors", body}}),
  () => fetch(url, {{method: "POST", mode: "no-cors", body: new Blob([body])}}),
  () => fetch(url, {{method: "POST", mode: "no-cors", body: new URLSearchParams({{name: "evil"}})}}),
  () => navigator.sendBeacon(url, body),
  () => fetch("{tracker}/api/v1/torrents").then(answer => answer.text()).then(text => told.push(text)),
  () => fetch("{tracker}/evil/fetched/resolve/main/config.json", {{mode: "no-cors"}}),
];
Promise.allSettled(tries.map(one => one())).then(() => {{ document.body.append("over: " + told.join()); }});
</script>"""


@dataclass(frozen=True)
class Aftermath:
    """What one visit left.

    read: what the page could read
    rebound: what a page reads under its own name, which leads to the tracker
    tokens: the names of tokens to share that were made
    pulled: repos that the server was made to fetch
    connected: whether the server connected to a port of the visitor's machine
    """

    read: str
    rebound: str
    tokens: list[str]
    pulled: list[str]
    connected: bool


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """Have a browser visit the page, and look at the tracker afterwards."""
    folder = tmp_path_factory.mktemp("page")
    with TrackerProcess(folder / "data") as tracker, socket.create_server(("127.0.0.1", 0)) as visitor:
        client = TrackerClient(tracker.url, token=tracker.token)
        client.publish({"torrents": packed(SECRET)})
        client.publish(manifest(big("secret.bin", SECRET)))
        beat(tracker)
        page = EVIL.format(tracker=tracker.url, port=visitor.getsockname()[1])
        names = "MAP evil.example 127.0.0.1"
        with page_server(page) as port:
            read = visit(f"http://evil.example:{port}/", folder / "one", names=names)
        rebound = visit(f"http://evil.example:{tracker.http_port}/api/v1/torrents", folder / "two", names=names)
        visitor.setblocking(False)
        connected = False
        with contextlib.suppress(BlockingIOError):
            visitor.accept()[0].close()
            connected = True
        with contextlib.closing(sqlite3.connect(f"file:{folder / 'data' / 'tracker.db'}?mode=ro", uri=True)) as database:
            tokens = [name for (name,) in database.execute("SELECT name FROM publisher_tokens WHERE scope = 'share'")]
            pulled = [name for (name,) in database.execute("SELECT repo_name FROM mirrors")]
        yield Aftermath(read, rebound, tokens, pulled, connected)


def beat(tracker: TrackerProcess) -> None:
    """Be a seeder that fetches from a Hub."""
    body = json.dumps({**BEAT, "upstream": "http://127.0.0.1:9"}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {tracker.token}"}
    request = urllib.request.Request(f"{tracker.url}/api/v1/seeders/x", body, headers, method="PUT")
    urllib.request.urlopen(request, timeout=5).close()


def test_the_page_was_shown_and_reads_nothing(aftermath: Aftermath) -> None:
    assert "over:" in aftermath.read
    assert SECRET.etag.value not in aftermath.read


def test_a_name_that_is_led_to_the_tracker_reads_nothing_and_is_told_the_setting(aftermath: Aftermath) -> None:
    assert SECRET.etag.value not in aftermath.rebound
    assert "LLMPT_HOSTS" in aftermath.rebound


def test_forms_and_requests_without_cors_get_no_token(aftermath: Aftermath) -> None:
    assert aftermath.tokens == []


def test_an_image_has_nothing_fetched_from_the_hub(aftermath: Aftermath) -> None:
    assert aftermath.pulled == []


def test_an_image_makes_the_server_connect_nowhere(aftermath: Aftermath) -> None:
    assert not aftermath.connected
