"""The pages in a real browser: of an empty tracker, with one repo, and with 100,000 torrents; narrow and dark, wide and light."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support import javascript
from tests.support.browser import CHROMIUM
from tests.support.catalogue import fill
from tests.support.holder import Holder
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import big, manifest, packed, report, small, torrent

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

PAGES = ("/", "/repos", "/activity", "/servers", "/install")
ADMIN = "/admin"
REPO = "/repos/model/org/name"
HUGE = ("/repos?sort=size", "/repos?q=llama&sort=name", "/repos/dataset/big/listing")
LOOKS = ((360, True), (1280, False))
AXE_IN = {True: {"empty", "one"}, False: {"one", "huge"}}  # it takes longer than all else
MODEL = torrent("model")
HASHING = {"blobs_done": 1, "blobs_total": 4, "bytes_done": 10, "bytes_total": 90, "current": "model.bin"}
BEFORE = report(problems=[{"what": "blobs/x", "reason": "rotten"}], hashing=HASHING)
AFTER = report(problems=[{"what": "blobs/x", "reason": "rotten, and read once more"}])


class Seen:
    """What a browser saw: `visits`, each with its state of the tracker, `refreshed`, and the figures of /metrics by state.

    `password`: the token of an admin
    """

    def __init__(self) -> None:
        self.password = ""
        self.visits: list[dict[str, Any]] = []
        self.refreshed: dict[str, Any] = {}
        self.metrics: dict[str, dict[str, float]] = {}

    def look(self, state: str, tracker: TrackerProcess, paths: tuple[str, ...], **more: Any) -> None:
        """Visit these pages in every look, with the password that /admin wants."""
        assert CHROMIUM is not None
        url = tracker.url.replace("://", f"://me:{self.password}@")
        visits = [
            {"url": (url if path == ADMIN else tracker.url) + path, "width": width, "dark": dark, "axe": state in AXE_IN[dark]}
            for path in paths
            for width, dark in LOOKS
        ]
        found = javascript.looks_at_pages({"visits": visits, **more}, CHROMIUM)
        self.visits += [{**one, "state": state, "path": urlsplit(one["url"]).path} for one in found["visits"]]
        self.refreshed = found["refreshed"] or self.refreshed
        with urllib.request.urlopen(f"{tracker.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        self.metrics[state] = {name: float(value) for name, value in re.findall(r"^(llmpt_\w+) (\S+)$", text, re.MULTILINE)}

    def wrong(self, what: str) -> list[str]:
        """Return the visits of which something is to be said."""
        return [f"{one['state']} {one['path']} at {one['width']}: {one[what]}" for one in self.visits if one[what]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    javascript.modules(javascript.AXE)
    javascript.modules(javascript.PLAYWRIGHT)
    data: Path = tmp_path_factory.mktemp("pages") / "data"
    found = Seen()
    with TrackerProcess(data) as tracker:
        found.look("empty", tracker, PAGES)
        appliance = Holder(tracker, tracker.token)
        files = (big("model.safetensors", MODEL), small("a-name-that-is-long/" + "and-has-no-blank" * 8))
        assert appliance.send("POST", "/api/v1/publish", manifest(*files, torrents=packed(MODEL)))[0] == 200
        beats = {"put": f"{tracker.url}/api/v1/seeders/server", "token": tracker.token, "before": BEFORE, "after": AFTER}
        assert appliance.send("PUT", "/api/v1/seeders/server", BEFORE)[0] == 200
        found.password = tracker.make_token("--scope", "admin", "--name", "operator")
        found.look("one", tracker, (*PAGES, REPO, ADMIN), refresh={"url": f"{tracker.url}/servers", **beats})
        tracker.stop()
        fill(data / "tracker.db", repos=800, files=100, in_one=20_000)
        tracker.start()
        found.look("huge", tracker, ("/", *HUGE))
    return found


@pytest.mark.parametrize(
    "what", ["violations", "overflow", "elsewhere", "errors"], ids=["accessible", "fits", "from here alone", "without errors"]
)
def test_every_page_is_as_it_should_be(seen: Seen, what: str) -> None:
    assert seen.wrong(what) == []


@pytest.mark.parametrize(("state", "repos"), [("empty", 0), ("one", 1), ("huge", 802)])
def test_a_figure_on_the_page_is_that_of_the_metrics(seen: Seen, state: str, repos: int) -> None:
    figures = seen.metrics[state]
    assert figures["llmpt_repos"] == repos
    for one in seen.visits:
        if one["state"] == state and one["path"] == "/":
            assert [int(text.replace(",", "")) for text in one["tiles"][:2]] == [repos, figures["llmpt_blobs"]]


def test_a_refresh_changes_the_text_and_keeps_focus_and_what_is_open(seen: Seen) -> None:
    assert seen.refreshed == {"elsewhere": [], "errors": [], "open": True, "focus": True}
