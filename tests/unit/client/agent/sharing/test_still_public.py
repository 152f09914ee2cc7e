"""What was public once and is no longer is withdrawn within a day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from llmpt.agent.sharing.still_public import HubAsking, StillPublic
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerRefused, TrackerUnavailable
from llmpt.core.repo import RepoRef
from llmpt.disk.inventory import BlobOrigin, Inventory
from llmpt.hub.visibility import ASK_AGAIN_S, ask_hub
from llmpt.tracker.catalogue import Standing
from tests.support.hub import FakeHub
from tests.unit.client.agent.seeding.test_seeds import World

TRACKER = "http://tracker.lan:8000"
REPO = RepoRef("model", "org/name")
HOUR_S = 3600.0


class Machine(World):
    """An agent that seeds, a Hub, and a clock that a test sets."""

    def __init__(self, root: Path, hub: FakeHub) -> None:
        super().__init__(root)
        self.hub, self.now = hub, 1_000_000.0
        self.standing: dict[Etag, Standing] = {}
        self.tracker_says: Exception | None = None
        self.check = StillPublic(
            self.seeds,
            self.inventory,
            where=self.where,
            tracker=TRACKER,
            hub=hub.url,
            asking=HubAsking(self.ask, clock=lambda: self.now, chance=lambda: 0.0),
        ).check
        self.asked: list[str] = []

    def where(self, etags: Sequence[Etag]) -> Mapping[Etag, Standing]:
        if self.tracker_says is not None:
            raise self.tracker_says
        return {etag: self.standing[etag] for etag in etags if etag in self.standing}

    def ask(self, endpoint: str, repo: RepoRef) -> tuple[bool, str]:
        self.asked.append(str(repo))
        return ask_hub(endpoint, repo)

    def seeds_a_file_of(self, repo: RepoRef | None, content: bytes, *, endpoint: str | None = None) -> Etag:
        metainfo, path = self.blob("cache", content)
        if repo is not None:
            self.seeds.comes_from(metainfo.etag, BlobOrigin(repo, self.hub.url if endpoint is None else endpoint))
        self.seeds.add(metainfo, path)
        return metainfo.etag

    @property
    def seeded(self) -> set[Etag]:
        return {blob.etag for blob in self.seeds.all()}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with FakeHub() as hub:
        hub.add(REPO.id, {"a.bin": b"a"})
        machine = Machine(tmp_path, hub)
        with machine.inventory:
            yield machine


@pytest.mark.parametrize("change", ["private", "gated"])
def test_a_repo_that_turns_private_or_gated_is_withdrawn_within_a_day(machine: Machine, change: str) -> None:
    files = {machine.seeds_a_file_of(REPO, content) for content in (b"one", b"two", b"three")}
    machine.check()
    assert machine.asked == [str(REPO)], "once for each repo"
    setattr(machine.hub.repos[REPO.type, REPO.id], change, True)
    for _ in range(23):
        machine.now += HOUR_S
        machine.check()
    assert machine.seeded == files
    assert machine.asked == [str(REPO)], "once a day"
    machine.now += HOUR_S
    machine.check()
    assert machine.seeded == set()
    assert machine.engine.serving == {}
    machine.seeds = machine.restarted()
    machine.seeds.restore()
    assert machine.seeded == set(), "also after a restart"


def test_what_a_publisher_of_the_lan_shares_stays_and_the_hub_is_not_asked(machine: Machine) -> None:
    etag = machine.seeds_a_file_of(RepoRef("model", "acme/internal"), b"ours")
    machine.standing[etag] = Standing(published=True, repos=(RepoRef("model", "acme/internal"),))
    machine.check()
    assert (machine.seeded, machine.asked) == ({etag}, [])
    machine.standing[etag] = Standing(published=False)
    machine.check()
    assert machine.seeded == set(), "the Hub does not show it, and no publisher shares it any more"


def test_what_is_also_in_a_repo_that_is_public_stays(machine: Machine) -> None:
    etag = machine.seeds_a_file_of(RepoRef("model", "org/gone"), b"twice")
    machine.seeds.comes_from(etag, BlobOrigin(REPO, machine.hub.url))
    machine.check()
    assert machine.seeded == {etag}


def test_where_it_came_from_is_the_trackers_to_say_for_what_an_earlier_version_took(machine: Machine) -> None:
    etag = machine.seeds_a_file_of(None, b"old")
    machine.check()
    assert (machine.seeded, machine.asked) == ({etag}, []), "nothing is known of it"
    machine.standing[etag] = Standing(repos=(RepoRef("model", "org/gone"),))
    machine.check()
    assert machine.seeded == set()


def test_the_tracker_as_a_hub_is_not_asked_what_the_hub_shows(machine: Machine) -> None:
    machine.hub.repos[REPO.type, REPO.id].private = True
    machine.seeds_a_file_of(REPO, b"mirrored", endpoint=TRACKER)
    machine.check()
    assert machine.seeded == set()


def test_while_the_hub_is_silent_its_last_answer_counts(machine: Machine) -> None:
    etag = machine.seeds_a_file_of(REPO, b"content")
    machine.check()
    machine.hub.mode.fail_status = 503
    machine.now += 3 * ASK_AGAIN_S
    machine.check()
    assert machine.seeded == {etag}
    machine.check()
    assert len(machine.asked) == 2, "it is left alone for a while"


@pytest.mark.parametrize("no", [TrackerUnavailable("away"), TrackerRefused("an older one", status=404, code="not_found")])
def test_a_tracker_that_does_not_say_what_is_shared_withdraws_nothing(machine: Machine, no: Exception) -> None:
    etag = machine.seeds_a_file_of(RepoRef("model", "org/gone"), b"content")
    machine.tracker_says = no
    machine.check()
    assert (machine.seeded, machine.asked) == ({etag}, [])


def test_where_blobs_came_from_outlives_a_restart_and_goes_with_them(machine: Machine) -> None:
    etag = machine.seeds_a_file_of(REPO, b"content")
    with Inventory(machine.root / "agent.db") as again:
        assert again.origins() == {etag: [BlobOrigin(REPO, machine.hub.url)]}
        machine.seeds.withdraw(etag)
        assert again.origins() == {}
