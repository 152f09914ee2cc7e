"""Every version of huggingface_hub × every way to download: the bytes come from a real seeder through a real agent.

`make test` tries the oldest and the newest version, `make matrix` all of them. A version is one machine that runs one
program (tests/support/ways_to_download.py); each test looks at what it did in one way.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import HUB_VERSIONS
from tests.support import ways_to_download
from tests.support.environments import environment
from tests.support.hub import Request
from tests.support.lan import BIG, Lan

PROGRAM = Path(ways_to_download.__file__)


def content(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def weights(way: str, *names: str) -> dict[str, bytes]:
    """Big files that no other way has: a blob that a machine has once, it would copy."""
    return {name: content(f"{way} {name}", BIG + 4321 * number) for number, name in enumerate(names, start=1)}


SMALL = {"config.json": b"{}", "empty.txt": b""}
REPOS: dict[str, dict[str, bytes]] = {
    "cache": weights("cache", "model.safetensors"),
    "local_dir": weights("local_dir", "deep/model.safetensors"),
    "patterns": weights("patterns", "a.safetensors", "b.safetensors", "c.gguf", "deep/d.safetensors") | SMALL,
    "force_download": weights("force_download", "model.safetensors"),
    "cli": weights("cli", "model.safetensors") | SMALL,
    "bars": weights("bars", "a.safetensors", "b.safetensors") | SMALL,
}
PLAN = {
    way: (f"matrix/{way}", next(name for name in reversed(files) if name.endswith(".safetensors")))
    for way, files in REPOS.items()
}
WANTED = {"patterns": {"a.safetensors", "deep/d.safetensors", "config.json"}, "cli": {"model.safetensors"}}
WAYS = [way for way in REPOS if way != "bars"]


@dataclass(frozen=True)
class Outcome:
    """What a version's program did."""

    version: str
    root: Path  # the folder in which it ran
    said: dict[str, Any]
    hub_gets: list[Request]
    downloads: list[dict[str, Any]]  # as its agent remembers them
    leftovers: list[str]

    def big_gets(self, repo: str) -> list[str]:
        """The files of at least 1 MiB whose bytes the Hub was asked for."""
        big = {name for name, data in REPOS[repo].items() if len(data) >= BIG}
        return [get.path for get in self.hub_gets if get.repo_id == f"matrix/{repo}" and get.path in big]


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("matrix") / "lan") as running:
        for repo, files in REPOS.items():
            running.hub.add(f"matrix/{repo}", files)
            running.mirror(f"matrix/{repo}")
        for repo in REPOS:
            running.seeded(f"matrix/{repo}")
        yield running


@pytest.fixture(scope="module", params=HUB_VERSIONS)
def outcome(request: pytest.FixtureRequest, lan: Lan) -> Iterator[Outcome]:
    lan.hub.forget()
    with lan.machine("matrix", python=environment(request.param)) as machine:
        said = json.loads(machine.run(str(PROGRAM), json.dumps(PLAN)).stdout.splitlines()[-1])
        gets = [asked for asked in lan.hub.requests if asked.method == "GET" and asked.revision]
        leftovers = [str(path) for path in machine.root.rglob("*.incomplete")]
        yield Outcome(request.param, machine.root, said, gets, machine.status()["downloads"], leftovers)


@pytest.mark.parametrize("way", WAYS)
def test_the_bytes_come_from_the_swarm_and_are_right(outcome: Outcome, way: str) -> None:
    wanted = {name: REPOS[way][name] for name in WANTED.get(way, REPOS[way])}
    lies_at = {name: outcome.root / path for name, path in outcome.said[way].items()}
    assert lies_at.keys() == wanted.keys()
    assert {name: path.read_bytes() for name, path in lies_at.items()} == wanted
    assert outcome.big_gets(way) == []
    rows = [row for row in outcome.downloads if row["repo_id"] == f"matrix/{way}"]
    assert {row["filename"] for row in rows} == {name for name, data in wanted.items() if len(data) >= BIG}
    assert {row["outcome"] for row in rows} == {"done"}
    assert sum(row["bytes_from_lan"] for row in rows) >= sum(len(data) for data in wanted.values() if len(data) >= BIG)


def test_the_bars_end_as_those_of_the_library_alone(outcome: Outcome) -> None:
    bars = outcome.said["bars"]
    assert bars["with us"] == bars["without us"]
    assert all(done == total for done, total in bars["with us"])
    size = len(REPOS["bars"]["b.safetensors"])
    assert bars["with us"][-1] == [size, size], "the bar of a single file"
    without_us = ["a.safetensors", "b.safetensors", "b.safetensors"]
    assert sorted(outcome.big_gets("bars")) == without_us


def test_nothing_is_left_over(outcome: Outcome) -> None:
    assert outcome.leftovers == []
