"""When the Hub is asked for a listing, and when it is left alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker
from llmpt.core.repo import RepoRef
from llmpt.host.loops import Health, start
from llmpt.hub.asking import HubNo, HubUnreachable
from llmpt.hub.visibility import HUB_PAUSES
from llmpt_seeder.cache.listing import ListedFile
from llmpt_seeder.hub.listings import HubListings
from llmpt_seeder.state import SeederState
from tests.support.cache_builder import commit_id, git_sha1
from tests.support.waiting import eventually
from tests.unit.seeder.fakes import FakeHubTree

REPO, OTHER = RepoRef("model", "org/name"), RepoRef("dataset", "org/other")
A, B = commit_id("a"), commit_id("b")
FILES = {"ünïcode.txt": ListedFile(Etag(git_sha1(b"x")), 1)}
DAY_S = 24 * 3600.0


class World:
    def __init__(self, state: SeederState) -> None:
        self.state, self.hub, self.now, self.news = state, FakeHubTree(), 1_000_000.0, 0
        self.stop = threading.Event()
        self.breaker = Breaker(HUB_PAUSES, clock=lambda: self.now, chance=lambda: 0.0)
        self.restart()

    def restart(self) -> None:
        self.listings = HubListings(
            memory=self.state,
            fetch=self.hub,
            hub=self.breaker,
            clock=lambda: self.now,
            on_news=self._on_news,
            stop=self.stop,
        )

    def _on_news(self) -> None:
        self.news += 1

    def ask_all(self) -> list[str]:
        before = len(self.hub.asked)
        while self.listings.ask():
            pass
        return self.hub.asked[before:]


@pytest.fixture
def world(state: SeederState) -> Iterator[World]:
    world = World(state)
    yield world
    world.stop.set()


def test_a_listing_is_asked_for_once_and_remembered_for_ever(world: World) -> None:
    world.hub.answers[A] = FILES
    world.listings.want({(REPO, A): True})
    assert world.listings.of(REPO, A) is None
    assert world.ask_all() == [A]
    assert world.news == 1
    world.restart()
    world.now += 1000 * DAY_S
    world.listings.want({(REPO, A): True})
    assert world.ask_all() == []
    assert world.listings.of(REPO, A) == FILES


def test_a_hub_that_cannot_be_reached_costs_one_question_and_not_one_for_each_repo(world: World) -> None:
    world.hub.up = False
    world.listings.want({(REPO, A): True, (OTHER, B): True})
    assert len(world.ask_all()) == 1
    world.now += 31
    assert len(world.ask_all()) == 1
    world.now += 31
    assert world.ask_all() == []
    world.now += 31
    world.hub.up = True
    world.hub.answers |= {A: FILES, B: FILES}
    assert sorted(world.ask_all()) == sorted([A, B])


def test_a_question_about_what_is_public_quiets_these_too(world: World) -> None:
    world.listings.want({(REPO, A): True})
    world.breaker.failed(HubUnreachable("no route"))
    assert world.ask_all() == []


def test_no_is_an_answer_for_a_day(world: World) -> None:
    world.listings.want({(REPO, A): True, (REPO, B): True})
    world.hub.answers[B] = FILES
    assert sorted(world.ask_all()) == sorted([A, B])
    world.now += DAY_S - 1
    assert world.ask_all() == []
    world.now += 2
    assert world.ask_all() == [A]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_has_no_time_is_left_alone(world: World, status: int) -> None:
    world.hub.answers |= {A: HubNo(status, "", "later", 5), B: HubNo(status, "", "later", 5)}
    world.listings.want({(REPO, A): True, (REPO, B): True})
    assert len(world.ask_all()) == 1
    world.now += 31
    world.hub.answers |= {A: FILES, B: FILES}
    assert len(world.ask_all()) == 2


def test_of_a_repo_that_the_operator_named_the_hub_is_asked_once_a_day(world: World) -> None:
    world.listings.want({(REPO, A): False, (REPO, B): False})
    assert len(world.ask_all()) == 1
    world.restart()
    world.listings.want({(REPO, A): False, (REPO, B): False})
    assert world.ask_all() == []
    world.hub.up = False
    world.now += DAY_S + 1
    assert len(world.ask_all()) == 1
    world.hub.up = True
    world.now += DAY_S - 2
    assert world.ask_all() == []


def test_public_repos_are_asked_for_first(world: World) -> None:
    world.hub.up = False
    world.listings.want({(OTHER, B): False, (REPO, A): True})
    assert world.ask_all() == [A]


def test_what_is_not_wanted_is_not_asked_for(world: World) -> None:
    world.listings.want({(REPO, A): True})
    world.listings.want({})
    assert world.ask_all() == []


def test_it_asks_by_itself_as_soon_as_something_is_wanted(world: World) -> None:
    world.hub.answers[A] = FILES
    thread = start("listings", world.listings.step, stop=world.stop, health=Health(), wait=world.listings.wait)
    try:
        world.listings.want({(REPO, A): True})
        eventually(lambda: world.news == 1, what="the listing")
    finally:
        world.stop.set()
        world.listings.hurry()
        thread.join(5)
    assert not thread.is_alive()
