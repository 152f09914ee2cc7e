"""A cache on a file system that gives out other inode numbers at each look: a real seeder, behind a shim of stat(2)."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.lan import BIG, Lan
from tests.support.seeder import SeederProcess
from tests.support.shims import shim
from tests.support.waiting import eventually

SHIM = Path(__file__).parents[1] / "support" / "inodes.c"


def test_what_gets_other_inode_numbers_goes_on_being_seeded_and_is_hardly_read_again(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    shims = {"LD_PRELOAD": shim(SHIM.read_text(), tmp_path), "INODES_BELOW": str(tmp_path), "INODES_OPENED": str(opened)}
    content = os.urandom(BIG + 1)
    with Lan(tmp_path / "lan") as lan:
        lan.seeder.stop()
        lan.hub.add("org/model", {"model.bin": content, "config.json": b"{}"})
        lan.mirror("org/model")
        settings = {"LLMPT_SCAN_INTERVAL": "0.1", "PYTHONMALLOC": "default", **shims}
        seeder = SeederProcess(tmp_path / "lan" / "data", lan.cache, tracker=lan.tracker.url, hub=lan.hub.url, **settings)
        with seeder:
            lan.seeded("org/model")
            eventually(lambda: "its inode number changed" in page(lan), timeout_s=30, what="the problem on the page")
            assert fetched(lan, content) == content
            looks = opened.read_text().count("\n")
            seeder.stop()
            seeder.start()
            lan.seeded("org/model")
            eventually(lambda: fetched(lan, content) == content, timeout_s=30, what="the blob over HTTP")
        log = seeder.log.read_text()
        assert "withdrawn" not in log
        assert log.count("its inode number changed") == 2  # once in each life
        served = 4  # libtorrent's and the blob server's openings
        assert looks <= 2 * 2 + served  # read, and read again once


def page(lan: Lan) -> str:
    with urllib.request.urlopen(f"{lan.tracker.url}/servers", timeout=5) as answer:
        return str(answer.read().decode())


def fetched(lan: Lan, content: bytes) -> bytes | None:
    """Return the blob over HTTP; None as long as the tracker knows no seeder that gives it, or the one before."""
    try:
        with urllib.request.urlopen(f"{lan.tracker.url}/blobs/{hashlib.sha256(content).hexdigest()}", timeout=5) as answer:
            return bytes(answer.read())
    except urllib.error.URLError:
        return None
