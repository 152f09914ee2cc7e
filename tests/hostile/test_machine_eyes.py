"""A machine that wants to know which other one fetches what."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.leases import LeaseRole, Poll, Want
from llmpt.core.repo import RepoRef
from llmpt.tracker.client import TrackerClient
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually

ETAG, REPO = Etag("a" * 64), RepoRef("model", "org/secret-plans")
ANN = "anns-laptop"


class Watched:
    """A tracker, of whose machines Ann's fetches a file for which Eve's waits."""

    def __init__(self, tracker: TrackerProcess) -> None:
        self.url = tracker.url
        machines = {name: TrackerClient(self.url, token=TrackerClient(self.url).share_token(name)) for name in (ANN, "eve")}
        want = (Want(ETAG, 5 << 20, REPO),)
        ann = eventually(lambda: machines[ANN].leases(Poll("ann", 60.0, want)).grants[0].fetcher, what="the first lease")
        assert ann == ANN, "it knows its own name"
        (self.eve,) = machines["eve"].leases(Poll("eve", 60.0, want)).grants

    def read(self, path: str, token: str | None = None) -> str:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {token}"} if token else {})
        with urllib.request.urlopen(request) as answer:
            return str(answer.read().decode())


@pytest.mark.parametrize("shown", ["0", "1"])
def test_no_machine_reads_which_one_fetches_what(tmp_path: Path, shown: str) -> None:
    with TrackerProcess(tmp_path / "data", settings={"LLMPT_SHOW_MACHINES": shown}) as tracker:
        watched = Watched(tracker)
        assert (watched.eve.role, watched.eve.fetcher) == (LeaseRole.WAIT, ANN if shown == "1" else "another machine")
        page = watched.read("/activity")
        assert ETAG.value[:16] in page, "what is fetched is shown"
        for text in (page, watched.read("/api/v1/mirrors"), watched.read("/api/v1/torrents?include=peers")):
            assert (ANN in text) == (shown == "1" and text is page)


def test_an_operator_does(tmp_path: Path) -> None:
    with TrackerProcess(tmp_path / "data") as tracker:
        watched = Watched(tracker)
        assert ANN in watched.read("/activity", tracker.make_token("--scope", "admin"))
