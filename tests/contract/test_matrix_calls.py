"""Every version of huggingface_hub × most of its calls: what a program sees, and what lies in its caches afterwards, is what it
would be with the Hub alone, whether the LAN answers, or the LAN while the Hub fails.

A version is one machine that runs one program (tests/support/many_calls.py) without the hook, and then with it.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import HUB_VERSIONS
from tests.support import many_calls
from tests.support.environments import environment
from tests.support.hub import Mode, Repo
from tests.support.lan import BIG, Lan
from tests.support.many_calls import DATASET, GATED, MODEL, REFS, RENAMED, SPACE
from tests.support.waiting import eventually

PROGRAM = Path(many_calls.__file__)
_RANDOM = random.Random(3)
FILES = {
    "config.json": b'{"a": 1}',
    "empty.txt": b"",
    "deep/one.json": b'{"one": 1}',
    "deep/down/two.json": b'{"two": 2}',
    "odd name é+%41.txt": b"odd",
    "model.safetensors": _RANDOM.randbytes(BIG + 77),
    "small.bin": _RANDOM.randbytes(5000),
}
# What only a Hub can say: of a repo that is gated, unknown or known here by another name, of a ref that is none, of last commits.
OF_THE_HUB = ("missing", "renamed", "gated", "exists", "short commit", "no revision", "expand")
TROUBLES = {
    "504-late": Mode(fail_status=504, healthy_first=5),
    "silent-late": Mode(is_silent=True, healthy_first=5),
    "429": Mode(fail_status=429, retry_after_s=2),
    "listings-500": Mode(fail_api_status=500),
    "bytes-503": Mode(fail_gets_status=503),
}
TRIED = ("silent-late",) if os.environ.get("LLMPT_TEST_HUB_VERSIONS", "") in ("", "others") else TROUBLES  # `make matrix`: all


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("calls") / "lan") as running:
        hub = running.hub
        hub.add(MODEL, FILES, tags=("v1.0",))
        hub.add(MODEL, {**FILES, "config.json": b'{"a": 2}'}, refs=("feature/one",))
        hub.add(MODEL, {**FILES, "config.json": b'{"a": 3}', "pr.txt": b"pr"}, refs=("refs/pr/1",))
        data = {"README.md": b"# d", "data/train.parquet": _RANDOM.randbytes(BIG + 5)}
        hub.add(DATASET, data, repo_type="dataset")
        hub.add(SPACE, {"app.py": b"print(1)", "README.md": b"# s"}, repo_type="space")
        hub.add(GATED, {"config.json": b"{}", "x.bin": b"x" * 100}, gated=True)
        hub.repos["model", GATED].readers = frozenset({"hf_of_a_reader"})
        hub.repos["model", RENAMED] = Repo("model", RENAMED, moved_to=MODEL)
        for ref in REFS:
            running.mirror(MODEL, revision=ref)
        for repo, kind in ((DATASET, "dataset"), (SPACE, "space"), (GATED, "model")):
            running.mirror(repo, repo_type=kind)
        for repo, kind in ((MODEL, "model"), (DATASET, "dataset"), (SPACE, "space")):
            eventually(partial(running.answers_for, repo, kind), timeout_s=30, what=f"an answer for {repo}")
        for repo, kind in ((MODEL, "model"), (DATASET, "dataset")):
            running.seeded(repo, repo_type=kind)
        yield running


@dataclass(frozen=True)
class Outcome:
    """What came of each call, what lies in the caches, and what the Hub was asked by the program."""

    said: dict[str, Any]
    left: dict[str, str]
    asked: list[str]


def outcome_of(lan: Lan, version: str, *, mode: Mode = Mode(), p2p: bool = True) -> Outcome:
    commit = lan.hub.repos["model", MODEL].commit_of("main")
    names = [name for name in many_calls.calls("", Path()) if mode == Mode() or not any(word in name for word in OF_THE_HUB)]
    lan.hub.forget()
    with lan.machine("many", python=environment(version), HF_USE_P2P="01"[p2p], HF_HUB_ETAG_TIMEOUT="2") as machine:
        lan.hub.mode = replace(mode)
        try:
            ran = machine.run(str(PROGRAM), json.dumps({"commit": commit, "names": names}))
        finally:
            lan.hub.mode = Mode()
        asked = [one.raw_path for one in lan.hub.requests if not one.program.startswith("llmpt")]
    found = json.loads(ran.stdout.splitlines()[-1])
    return Outcome(found["said"], found["left"], [path for path in asked if "agent-harnesses" not in path])


@pytest.fixture(scope="module", params=HUB_VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def without_us(lan: Lan, version: str) -> Outcome:
    return outcome_of(lan, version, p2p=False)


def test_each_call_ends_as_with_the_hub_alone(lan: Lan, version: str, without_us: Outcome) -> None:
    ours = outcome_of(lan, version)
    assert ours.said == without_us.said
    assert ours.left == without_us.left
    assert len(ours.asked) < len(without_us.asked) / 3


@pytest.mark.parametrize("trouble", TRIED)
def test_each_call_ends_so_while_the_hub_fails(lan: Lan, version: str, without_us: Outcome, trouble: str) -> None:
    """Also where it has begun to fail in the middle, and where it fails in part: what is to be waited for is waited for once."""
    ours = outcome_of(lan, version, mode=TROUBLES[trouble])
    assert ours.said == {name: answer for name, answer in without_us.said.items() if name in ours.said}
    kept = {path: what for path, what in without_us.left.items() if "many--before" not in path and "many--gated" not in path}
    assert ours.left == kept
    if trouble != "bytes-503":
        assert len(ours.asked) <= 12, ours.asked
