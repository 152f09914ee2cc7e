"""What the hook notes of the LAN's manifests, and which of them it believes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llmpt.core.repo import Commit, RepoRef
from llmpt.hook.questions.trusted import TrustedManifests
from llmpt.link import answered
from llmpt.link.answered import Answered
from llmpt.tracker.catalogue import Manifest

HUB = "https://hub.example"
ORG, OTHER = RepoRef("model", "org/name"), RepoRef("model", "org/other")
COMMIT = Commit("c" * 40)


class Lan:
    """Knows a whole commit of every repo of a Hub."""

    def __init__(self, *, is_open: bool = True, hub: str = HUB) -> None:
        self.is_open, self.hub = is_open, hub

    def manifest(self, ref: RepoRef, revision: str) -> Manifest:
        return Manifest(ref, COMMIT, (), True, (), open=self.is_open, hub=self.hub)

    refreshed_manifest = manifest


def trusted(home: Path, lan: Lan) -> TrustedManifests:
    return TrustedManifests(lan, hub=HUB, environ={"HOME": str(home)})


def due(home: Path) -> list[Answered]:
    folder = answered.folder({"HOME": str(home)})
    assert folder is not None
    return answered.due(folder, now=time.time())


def test_what_the_lan_answers_for_is_noted_once_by_a_program(tmp_path: Path) -> None:
    manifests = trusted(tmp_path, Lan())
    for _ in range(3):
        assert manifests.manifest(ORG, COMMIT.value).open
        assert manifests.refreshed_manifest(ORG, "main").open
    assert due(tmp_path) == [Answered(HUB, ORG, COMMIT.value)]


def test_what_the_hub_is_asked_for_anyway_is_not_noted(tmp_path: Path) -> None:
    assert not trusted(tmp_path, Lan(is_open=False)).manifest(ORG, COMMIT.value).open
    assert due(tmp_path) == []


@pytest.mark.parametrize("hub", ["https://hub.private.example", f"{HUB}:8443", HUB.replace("https", "http"), ""])
def test_what_the_lan_knows_of_another_hub_is_no_answer_of_this_one(tmp_path: Path, hub: str) -> None:
    assert not trusted(tmp_path, Lan(hub=hub)).manifest(ORG, COMMIT.value).open
    assert due(tmp_path) == []


def test_a_repo_that_the_agent_found_wrong_is_asked_of_the_hub_also_by_a_program_that_runs(tmp_path: Path) -> None:
    manifests, folder = trusted(tmp_path, Lan()), answered.folder({"HOME": str(tmp_path)})
    assert manifests.manifest(ORG, COMMIT.value).open
    assert folder is not None
    answered.held(folder, Answered(HUB, ORG, COMMIT.value), wrong="config.json is another one")
    assert not manifests.manifest(ORG, COMMIT.value).open
    assert not manifests.refreshed_manifest(ORG, "main").open
    assert manifests.manifest(OTHER, COMMIT.value).open
    assert due(tmp_path) == [Answered(HUB, OTHER, COMMIT.value)]
