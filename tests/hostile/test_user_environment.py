"""Another program of the same user looks into the environment of each process for a token."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lan import Lan

TOKENS = {"HF_TOKEN": "hf_secret", "HUGGING_FACE_HUB_TOKEN": "hf_secret"}


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan") / "lan", upstream=True, **TOKENS) as running:
        yield running


def below(pid: int) -> dict[int, str]:
    """Return the environment of every process that a process has started, and of those that they have."""
    parents, found = {}, dict[int, str]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    for child in parents:
        above = child
        while above in parents and above != pid:
            above = parents[above]
        if above == pid and child != pid:
            with contextlib.suppress(OSError):
                found[child] = Path(f"/proc/{child}/environ").read_text(errors="replace")
    return found


def test_no_process_has_a_token_that_it_does_not_need(lan: Lan) -> None:
    files = {f"model-{number}.safetensors": os.urandom(8 << 20) for number in range(3)}
    lan.hub.add("org/name", files)
    lan.mirror("org/name")
    seen = dict[int, str]()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and len(lan.torrents("org/name")) < 3:
        seen |= below(lan.seeder.pid)
    assert seen, "hashing has processes of its own"
    seen |= below(lan.tracker.pid)
    assert len(seen) >= 3
    assert not [environ for environ in seen.values() if "hf_secret" in environ]
