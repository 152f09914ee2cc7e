"""What the tracker is told of who may read our repos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from llmpt.core.errors import TrackerRefused, TrackerUnavailable
from llmpt.core.repo import HubAnswer, RepoRef
from llmpt.hub.asking import HubNo, HubUnreachable
from llmpt_seeder.publishing.visibility import Visibilities
from llmpt_seeder.sharing import Sharing
from llmpt_seeder.state import SeederState

PUBLIC, GATED, NAMED, LOST = (RepoRef("model", f"org/{name}") for name in ("public", "gated", "named", "lost"))
DAY_S = 24 * 3600


class World:
    """A seeder that shares what it may, a Hub, and a tracker."""

    def __init__(self, state: SeederState, *patterns: str) -> None:
        self.now = 1_000_000.0
        self.shown: dict[RepoRef, bool] = {PUBLIC: True, GATED: False, NAMED: True}
        self.up = True
        self.asked: list[RepoRef] = []
        self.repos: tuple[RepoRef, ...] = ()
        self.met: tuple[str, str] | None = ("database", "boot")
        self.told: list[dict[str, tuple[str, int]]] = []
        self.failure: Exception | None = None
        self.sharing = Sharing(patterns, memory=state, ask=self.ask, clock=lambda: self.now)
        self.visibilities = Visibilities(
            self.sharing, shared=lambda: self.shared(), tell=self.tell, met=lambda: self.met, clock=lambda: self.now
        )

    def shared(self) -> list[RepoRef]:
        return [repo for repo in self.repos if self.sharing.verdict(repo).shared]

    def ask(self, repo: RepoRef) -> tuple[bool, str]:
        self.asked.append(repo)
        if not self.up:
            raise HubUnreachable("no route")
        return self.shown.get(repo, False), "the Hub says so"

    def tell(self, rows: Sequence[dict[str, Any]]) -> None:
        if self.failure is not None:
            raise self.failure
        self.told.append({row["repo_id"]: (row["shown"], row["age_s"]) for row in rows})

    def step(self, seconds: float = 31.0) -> dict[str, tuple[str, int]]:
        """Let time pass, and one step be done; return what was said last."""
        self.now += seconds
        self.visibilities.step()
        return self.told[-1] if self.told else {}


def test_it_is_said_when_something_changes_and_once_in_an_hour(state: SeederState) -> None:
    world = World(state)
    world.repos = (PUBLIC,)
    assert world.step(0) == {"org/public": ("public", 0)}
    for _ in range(20):
        world.step(1)
    assert len(world.told) == 1
    world.repos = (PUBLIC, LOST)
    world.step(1)
    assert len(world.told) == 1, "one that is not shared is not spoken of: its name may be a secret"
    world.step(3600)
    assert world.told[1:] == [{"org/public": ("public", 3621)}]


def test_a_repo_that_is_public_no_longer_is_restricted_for_the_tracker(state: SeederState) -> None:
    world = World(state)
    world.repos = (PUBLIC,)
    world.step()
    world.shown[PUBLIC] = False
    assert world.step(DAY_S + 1)["org/public"] == ("restricted", 0)
    world.shown[PUBLIC] = True
    assert world.step(DAY_S + 1)["org/public"] == ("public", 0)


def test_what_is_gone_from_here_is_not_spoken_of(state: SeederState) -> None:
    world = World(state)
    world.repos = (PUBLIC,)
    world.step()
    world.repos = ()
    assert world.step() == {}


def test_of_a_named_repo_the_hub_is_asked_once_a_day_whether_it_keeps_it_from_anyone(state: SeederState) -> None:
    world = World(state, "org/named", "org/gated")
    world.repos = (NAMED, GATED)
    assert world.step() == {"org/named": ("named", 0), "org/gated": ("restricted", 0)}
    world.step(3600)
    assert sorted(world.asked) == [GATED, NAMED]
    world.shown |= {NAMED: False, GATED: True}
    assert world.step(DAY_S) == {"org/named": ("restricted", 0), "org/gated": ("named", 0)}


def test_a_named_repo_is_named_where_no_hub_can_be_asked(state: SeederState) -> None:
    world = World(state, "org/*")
    world.up, world.repos = False, (NAMED, GATED)
    assert world.step() == {"org/named": ("named", 0), "org/gated": ("named", 0)}
    assert len(world.asked) == 1, "it is left alone once it was silent"


def test_an_excluded_repo_is_not_spoken_of(state: SeederState) -> None:
    world = World(state, "!org/public")
    world.visibilities.note(PUBLIC, HubAnswer(True, "public on the Hub", world.now))
    assert world.step() == {}


def test_what_upstream_said_counts_at_once_for_repos_that_are_spoken_of(state: SeederState) -> None:
    world = World(state)
    world.repos = (PUBLIC,)
    world.step()
    world.visibilities.note_no(PUBLIC, HubNo(403, "", "a proxy's"))
    assert world.step(1)["org/public"][0] == "public"
    world.visibilities.note_no(PUBLIC, HubNo(403, "GatedRepo", "Access is restricted"))
    assert world.step(0)["org/public"] == ("restricted", 0)
    world.visibilities.note_no(LOST, HubNo(404, "RepoNotFound", "no such repo"))
    assert "org/lost" not in world.step(60)
    world.visibilities.note(LOST, HubAnswer(True, "public on the Hub", world.now))
    assert world.step(0)["org/lost"] == ("public", 0), "upstream shows it, though no cache holds any of it"
    assert "org/lost" not in world.step(DAY_S + 60)


def test_another_tracker_is_told_all_of_it(state: SeederState) -> None:
    world = World(state)
    world.met = None
    world.repos = (PUBLIC,)
    assert world.step() == {}
    for met in (("database", "boot"), ("database", "boot again"), ("another", "boot")):
        world.met = met
        world.step(1)
    assert len(world.told) == 3


@pytest.mark.parametrize("status", [404, 405])
def test_an_older_tracker_is_not_told_and_the_next_one_is(state: SeederState, status: int) -> None:
    world = World(state)
    world.repos = (PUBLIC,)
    world.failure = TrackerRefused("no such route", status=status, code="not_found")
    world.step()
    world.failure = None
    assert world.step(DAY_S) == {}
    world.met = ("database", "updated")
    assert world.step(1) == {"org/public": ("public", 0)}


def test_what_could_not_be_said_is_said_later(state: SeederState) -> None:
    world = World(state)
    world.repos = (PUBLIC,)
    for failure in (TrackerUnavailable("no answer"), TrackerRefused("too often", status=429, code="too_often")):
        world.failure = failure
        assert world.step() == {}
    world.failure = None
    assert world.step(1)["org/public"][0] == "public"
