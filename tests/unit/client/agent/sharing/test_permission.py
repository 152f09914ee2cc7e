"""What may be fetched for everybody: what the Hub shows to anybody, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmpt.agent.sharing.permission import QUIET, Permission, Publicity, PublicityTimings
from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker
from llmpt.core.files import FileId
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.disk.inventory import Inventory
from llmpt.hub.asking import HubUnreachable
from llmpt.hub.visibility import ASK_AGAIN_S
from llmpt.link.requests import FetchRequest
from tests.support.waiting import eventually

HUB = "https://hub.example"
REPO = RepoRef("model", "org/name")
REQUEST = FetchRequest(
    "http://t:8000",
    Etag("a" * 64),
    5 << 20,
    REPO,
    "c" * 40,
    RepoPath("f"),
    Path("/p"),
    FileId(1, 2),
    Path("/d"),
    False,
    endpoint=HUB,
    stem=Path("/s"),
)


class Hub:
    def __init__(self) -> None:
        self.answer: tuple[bool, str] | None = (True, "public on the Hub")
        self.asked: list[tuple[str, RepoRef]] = []
        self.now = 1_000_000.0
        self.go_on = threading.Event()
        self.go_on.set()

    def publicity(self, inventory: Inventory, timings: PublicityTimings = PublicityTimings(patience_s=10)) -> Publicity:
        def breaker() -> Breaker:
            return Breaker(QUIET, clock=lambda: self.now, chance=lambda: 0.0)

        return Publicity(inventory, ask=self.ask, timings=timings, clock=lambda: self.now, breaker=breaker)

    def ask(self, endpoint: str, repo: RepoRef) -> tuple[bool, str]:
        self.asked.append((endpoint, repo))
        self.go_on.wait(10)
        if self.answer is None:
            raise HubUnreachable("no route")
        return self.answer


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    with Inventory(tmp_path / "agent.db") as inventory:
        yield inventory


@pytest.fixture
def publicity(hub: Hub, inventory: Inventory) -> Publicity:
    return hub.publicity(inventory)


class Mounts:
    def network_kind(self, path: Path) -> str | None:
        return "nfs4" if path.is_relative_to("/net") else None


def permission(publicity: Publicity, *, why_not: str = "") -> Permission:
    sharing: Any = SimpleNamespace(why_not=why_not)
    mounts: Any = Mounts()
    return Permission(sharing, publicity, tracker="http://t:8000", min_blob_bytes=lambda: 1 << 20, mounts=lambda: mounts)


def test_the_hub_is_asked_once_per_repo_and_day(publicity: Publicity, hub: Hub) -> None:
    assert [publicity.why_not(HUB, REPO) for _ in range(3)] == ["", "", ""]
    assert hub.asked == [(HUB, REPO)]
    hub.now += ASK_AGAIN_S + 1
    hub.answer = (False, "gated on the Hub")
    assert publicity.why_not(HUB, REPO) == "gated on the Hub"
    assert len(hub.asked) == 2
    assert publicity.why_not("https://other.example", REPO) == "gated on the Hub"
    assert len(hub.asked) == 3, "another Hub may have another repo of that name"


def test_a_hub_that_cannot_be_asked_makes_nothing_public_and_is_left_alone_for_a_while(publicity: Publicity, hub: Hub) -> None:
    hub.answer = None
    assert [publicity.why_not(HUB, REPO) for _ in range(3)] == ["the Hub has not said whether it is public"] * 3
    assert len(hub.asked) == 1
    hub.now += 31
    hub.answer = (True, "public on the Hub")
    assert publicity.why_not(HUB, REPO) == ""


def test_a_slow_hub_is_not_waited_for_and_asked_only_once_meanwhile(inventory: Inventory, hub: Hub) -> None:
    publicity = hub.publicity(inventory, PublicityTimings(patience_s=0.05))
    hub.go_on.clear()
    assert publicity.why_not(HUB, REPO)
    assert publicity.why_not(HUB, REPO)
    assert len(hub.asked) == 1
    hub.go_on.set()
    eventually(lambda: publicity.why_not(HUB, REPO) == "", what="the answer")
    assert len(hub.asked) == 1


def test_a_hub_whose_answer_never_ends_is_left_alone_and_then_asked_anew(inventory: Inventory, hub: Hub) -> None:
    publicity = hub.publicity(inventory, PublicityTimings(patience_s=0, limit_s=0))
    hub.go_on.clear()
    assert publicity.why_not(HUB, REPO)
    assert publicity.why_not(HUB, REPO)
    eventually(lambda: len(hub.asked) == 1, what="the question")
    hub.now += 5
    assert publicity.why_not(HUB, REPO)
    eventually(lambda: len(hub.asked) == 2, what="another question")


def test_an_answer_that_cannot_be_kept_makes_nothing_public_and_holds_nobody_up(inventory: Inventory, hub: Hub) -> None:
    publicity = hub.publicity(inventory)
    with inventory.transaction() as sql:
        sql.execute("CREATE TRIGGER full BEFORE INSERT ON hub_answers BEGIN SELECT raise(ABORT, 'disk is full'); END")
    assert publicity.why_not(HUB, REPO) == "the Hub has not said whether it is public"
    with inventory.transaction() as sql:
        sql.execute("DROP TRIGGER full")
    assert publicity.why_not(HUB, REPO) == ""


def test_what_was_shown_without_a_token_may_be_shared_without_another_question(publicity: Publicity, hub: Hub) -> None:
    assert permission(publicity).why_not(replace(REQUEST, anonymous=True)) == ""
    assert hub.asked == []


def test_what_was_shown_to_a_token_is_asked_for_without(publicity: Publicity, hub: Hub) -> None:
    hub.answer = (False, "private on the Hub")
    assert permission(publicity).why_not(REQUEST) == "private on the Hub"
    assert hub.asked == [(HUB, REPO)]


@pytest.mark.parametrize("endpoint", ["http://t:8000", "http://t:8000/", "http://T:8000"])
def test_what_the_trackers_own_endpoint_shows_is_on_the_lan_already(publicity: Publicity, hub: Hub, endpoint: str) -> None:
    assert permission(publicity).why_not(replace(REQUEST, endpoint=endpoint)) == ""
    assert hub.asked == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stem": None}, "cannot be watched"),
        ({"size": 1000}, "too small"),
        ({"destination": Path("/net/home/blob")}, "nfs4"),
        ({"repo": None}, "no name that the Hub could have given"),
        ({"endpoint": "", "anonymous": False}, "its Hub is not known"),
        ({"endpoint": "file:///etc/passwd", "anonymous": False}, "its Hub is not known"),
    ],
)
def test_the_rest_is_not(publicity: Publicity, hub: Hub, change: dict[str, Any], reason: str) -> None:
    assert reason in permission(publicity).why_not(replace(REQUEST, **{"anonymous": True, **change}))
    assert hub.asked == []


def test_where_nothing_may_be_shared_nobody_is_asked(publicity: Publicity, hub: Hub) -> None:
    assert permission(publicity, why_not="sharing is off").why_not(REQUEST) == "sharing is off"
    assert hub.asked == []
