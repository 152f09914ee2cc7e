"""A machine with a token to share tries to be a word on repos: with a real tracker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.holder import Holder, holder
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import COMMIT, manifest, small

ROUTE = f"/api/v1/repos/model/org/gated/revisions/{COMMIT}"


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    with TrackerProcess(tmp_path_factory.mktemp("sharer") / "data") as process:
        Holder(process, process.token).send("POST", "/api/v1/publish", manifest(small("a"), repo_id="org/gated"))
        yield process


def told(asker: Holder) -> Any:
    return asker.send("GET", ROUTE)[1]


def test_a_machine_that_shares_opens_no_repo_by_its_word(tracker: TrackerProcess) -> None:
    machine = holder(tracker, "share", name="a machine")
    said = {"repo_type": "model", "repo_id": "org/gated", "shown": "public", "age_s": 0}
    assert machine.send("PUT", "/api/v1/seeders/server/repos", {"repos": [said]})[0] == 403
    assert told(machine)["open"] is False


def test_a_machine_that_doubts_a_listing_changes_nothing(tracker: TrackerProcess) -> None:
    machine, before = holder(tracker, "share", name="a doubter"), told(Holder(tracker, tracker.token))
    said = {"repo_type": "model", "repo_id": "org/gated", "commit": COMMIT, "path": "a", "reason": "<b>another\x1b[2J"}
    answers = [machine.send("POST", "/api/v1/doubts", said)[0] for _ in range(60)]
    assert answers[0] == 200
    assert answers[-1] == 429
    assert told(machine) == before
