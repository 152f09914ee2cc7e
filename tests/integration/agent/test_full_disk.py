"""An agent whose state lies on a full disk takes, gives, and lives on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.lan import BIG, Lan
from tests.support.small_disk import small_disk


def test_on_a_full_disk_it_takes_and_gives_and_outlives_what_is_deleted(tmp_path: Path) -> None:
    with Lan(tmp_path / "lan", LLMPT_REPOS="*") as lan, small_disk(tmp_path / "disk", kib=512) as disk:
        lan.hub.add("org/name", {"model.bin": os.urandom(BIG)})
        lan.mirror("org/name")
        lan.seeded("org/name")
        with lan.machine("ann", XDG_STATE_HOME=str(disk.root)) as ann, lan.machine("bob") as bob:
            ann.download("org/name")
            ann.stop_agent()
            disk.fill()
            ann.llmpt("agent", "start")
            agent = ann.status()
            assert [trouble["name"] for trouble in agent["troubles"]] == ["state"]
            lan.seeder.stop()
            bob.download("org/name")
            shutil.rmtree(ann.cache / "models--org--name")
            ann.download("org/name")
            assert ann.status()["pid"] == agent["pid"]
            assert "Traceback" not in ann.agent_log()
        assert lan.hub.gets("model.bin") == 0
