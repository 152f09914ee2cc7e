"""From which size on files have a swarm is the tracker's to say; no workstation needs a setting for it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.lan import BIG, Lan
from tests.support.waiting import eventually

GET = """
from huggingface_hub import hf_hub_download
hf_hub_download({repo!r}, {name!r})
"""


def test_a_small_file_comes_from_the_lan_where_the_tracker_says_so(tmp_path: Path) -> None:
    with Lan(tmp_path / "lan", LLMPT_MIN_BLOB_BYTES="4096") as lan:
        lan.hub.add("org/small", {"big.bin": os.urandom(BIG), "small.bin": os.urandom(8192), "tiny.bin": os.urandom(100)})
        lan.mirror("org/small")
        eventually(lambda: sum(one.seeders > 0 for one in lan.torrents("org/small")) == 2, timeout_s=60, what="two to be seeded")
        with lan.machine("ann") as ann:
            ann.script(GET.format(repo="org/small", name="big.bin"))  # starts the agent
            for name in ("small.bin", "tiny.bin"):
                ann.script(GET.format(repo="org/small", name=name))
            done = {row["filename"] for row in ann.status()["downloads"] if row["outcome"] == "done"}
    assert done == {"big.bin", "small.bin"}
