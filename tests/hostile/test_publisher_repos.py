"""A publisher tries to have the LAN answer what the Hub would not: with a real tracker, and a stand-in for the Hub."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmpt.agent.sharing.sample import Sample, Sampling
from llmpt.core.repo import RepoRef
from llmpt.host.loops import Health
from llmpt.link import answered
from llmpt.link.answered import Answered
from llmpt.tracker.catalogue import Catalogue
from llmpt.tracker.client import TrackerClient
from tests.support.holder import Holder, holder
from tests.support.hub import FakeHub
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import COMMIT, manifest, small


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    with TrackerProcess(tmp_path_factory.mktemp("publisher") / "data") as process:
        yield process


def say(by: Holder, seeder: str, repo: str, shown: str, age_s: int = 0) -> int:
    said = {"repo_type": "model", "repo_id": repo, "shown": shown, "age_s": age_s}
    status: int = by.send("PUT", f"/api/v1/seeders/{seeder}/repos", {"hub": "https://hub.example", "repos": [said]})[0]
    return status


def is_open(by: Holder, repo: str) -> Any:
    return by.send("GET", f"/api/v1/repos/model/{repo}/revisions/{COMMIT}")[1]["open"]


def test_a_publisher_opens_no_repo_that_it_does_not_name_nor_one_that_a_better_word_closes(tracker: TrackerProcess) -> None:
    appliance = Holder(tracker, tracker.token)
    rogue = holder(tracker, "publish", "mine/*", name="rogue")
    for repo in ("org/closed", "mine/closed"):
        assert appliance.send("POST", "/api/v1/publish", manifest(small("a"), repo_id=repo))[0] == 200
        assert say(rogue, "rogue", repo, "public") == 200
        assert is_open(rogue, repo) is (repo == "mine/closed")
    assert say(appliance, "server", "mine/closed", "restricted", age_s=600) == 200
    for shown in ("public", "named"):
        assert say(rogue, "rogue", "mine/closed", shown) == 200
        assert is_open(rogue, "mine/closed") is False


def test_a_wrong_listing_is_found_by_a_sample_and_the_operator_hears_of_it(tracker: TrackerProcess, tmp_path: Path) -> None:
    rogue, environ = holder(tracker, "publish", name="liar"), {"HOME": str(tmp_path)}
    client = TrackerClient(tracker.url, token=tracker.token)
    with FakeHub() as hub:
        commit = hub.add("org/lied", {"config.json": b"{}"})
        lie = {**small("config.json", 2), "etag": "a" * 40}
        assert rogue.send("POST", "/api/v1/publish", manifest(lie, repo_id="org/lied", commit=commit))[0] == 200
        answered.note(environ, Answered(hub.url, RepoRef("model", "org/lied"), commit))
        folder = answered.folder(environ)
        assert folder is not None

        sampling = Sampling(choose=random.choice)
        Sample(
            folder, manifest=Catalogue(client).manifest, tell=lambda doubt: doubt.tell(client), health=Health(), sampling=sampling
        ).check()
        assert answered.distrusted(environ, hub.url, RepoRef("model", "org/lied"))
    assert f"org/lied@{commit}".encode() in Holder(tracker, tracker.token).send("GET", "/")[1]
