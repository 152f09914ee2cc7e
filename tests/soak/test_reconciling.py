"""A tracker whose database is an older copy, under a seeder that runs: what the copy lacks comes back. Half a minute."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.tracker.catalogue import Catalogue
from tests.support.lan import BIG, Lan
from tests.support.waiting import eventually


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Lan]:
    with Lan(tmp_path / "lan") as running:
        yield running


def listed(lan: Lan) -> set[str]:
    return {str(repo.ref.id) for repo in Catalogue(lan.catalogue).repos("")}


def test_an_older_copy_of_the_trackers_database_is_filled_again_by_a_seeder_that_runs(lan: Lan) -> None:
    """The copy keeps the identity of the database; in the meantime a repo was published, and a row lost from another."""
    lan.hub.add("org/before", {"model.bin": os.urandom(BIG), "config.json": b"{}"})
    lan.mirror("org/before")
    lan.seeded("org/before")
    lan.tracker.stop()
    for rest in lan.tracker.data.glob("tracker.db*"):
        shutil.copy(rest, rest.with_name(f"older-{rest.name}"))
    lan.tracker.start()
    lan.hub.add("org/after", {"model.bin": os.urandom(BIG), "config.json": b"[]"})
    lan.mirror("org/after")
    lan.seeded("org/after")
    lan.tracker.stop()
    for rest in lan.tracker.data.glob("tracker.db*"):
        rest.unlink()
    for rest in lan.tracker.data.glob("older-tracker.db*"):
        rest.rename(rest.with_name(rest.name.removeprefix("older-")))
    lan.tracker.start()
    assert "org/after" not in listed(lan)
    lan.seeded("org/after", timeout_s=40)
    eventually(lambda: "org/after" in listed(lan), what="the repo that the copy lacked")
    assert "the tracker does not have" in lan.seeder.log.read_text()
