"""Every way to download, against the real Hub: `LLMPT_LIVE=1 make live` on a machine with Internet.

A small public model is downloaded once without llmpt; a tracker and a seeder of this machine share it; then every way takes
its bytes from them, with only the Hub's answers about repos and files coming from outside. HF_ENDPOINT names another Hub.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmpt.tracker.client import TrackerClient
from tests.support import ways_to_download
from tests.support.machine import Machine, quiet_environment
from tests.support.seeder import SeederProcess
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(
    os.environ.get("LLMPT_LIVE") != "1", reason="downloads from the real Hub, so only when asked to: LLMPT_LIVE=1 make live"
)

HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
REPO, FILE = "prajjwal1/bert-tiny", "pytorch_model.bin"  # 18 MB
DOWNLOAD = f"from huggingface_hub import snapshot_download\nprint(snapshot_download({REPO!r}))"
PROGRAM = str(Path(ways_to_download.__file__))


@dataclass(frozen=True)
class LiveLan:
    """A LAN of this machine's own beside the real Hub. `snapshot` is where the server has the model."""

    tracker: str
    snapshot: Path


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveLan]:
    root = tmp_path_factory.mktemp("live")
    cache = root / "server-cache"
    environ = quiet_environment() | {"HF_HUB_CACHE": str(cache), "HF_ENDPOINT": HUB, "HF_USE_P2P": "0", "HOME": str(root)}
    said = subprocess.run([sys.executable, "-c", DOWNLOAD], env=environ, capture_output=True, text=True, timeout=280, check=True)
    with ExitStack() as stack:
        tracker = stack.enter_context(TrackerProcess(root / "data"))
        seeder = stack.enter_context(SeederProcess(root / "data", cache, tracker=tracker.url, hub=HUB))
        client = TrackerClient(tracker.url)

        def seeded() -> bool:
            return any(torrent.seeders for torrent in client.get_torrents(repo_id=REPO, filename=FILE) or [])

        try:
            eventually(seeded, timeout_s=60, what=f"{REPO} to be seeded")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{seeder.log.read_text()[-4000:]}") from None
        yield LiveLan(tracker.url, Path(said.stdout.splitlines()[-1]))


@pytest.mark.parametrize("way", ["cache", "local_dir", "patterns", "force_download", "cli", "bars"])
def test_the_bytes_come_from_the_swarm_and_are_what_the_hub_has(lan: LiveLan, way: str) -> None:
    with Machine("live", tracker=lan.tracker, hub=HUB) as machine:
        said = json.loads(machine.run(PROGRAM, json.dumps({way: (REPO, FILE)})).stdout.splitlines()[-1])[way]
        rows = [row for row in machine.status()["downloads"] if row["filename"] == FILE]
        if way == "bars":
            assert said["with us"] == said["without us"]
        else:
            assert (machine.root / said[FILE]).read_bytes() == (lan.snapshot / FILE).read_bytes()
    assert rows
    assert {row["outcome"] for row in rows} == {"done"}
    assert rows[0]["bytes_from_lan"] == (lan.snapshot / FILE).stat().st_size
