"""One download's id in the logs of all four roles, each of them lines of JSON."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

from tests.support.lan import Lan
from tests.support.waiting import eventually

REPO = "org/model"
SAID_AT_THE_CONSOLE = ("llmpt-tracker: ", "llmpt-seeder: ")
PROGRAM = """
import logging
from huggingface_hub import hf_hub_download
logging.getLogger("llmpt").setLevel(logging.INFO)
hf_hub_download({repo!r}, "model.bin")
"""


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if not line.startswith(SAID_AT_THE_CONSOLE)]


def test_the_id_of_a_download_stands_in_the_logs_of_hook_agent_tracker_and_seeder(tmp_path: Path) -> None:
    with Lan(tmp_path / "lan", LLMPT_LOG="json") as lan:
        lan.hub.add(REPO, {"model.bin": random.Random(1).randbytes(17 << 20)})  # a lone peer is asked over HTTP, too
        lan.mirror(REPO)
        lan.seeded(REPO)
        with lan.machine("ann", LLMPT_LOG="json", LLMPT_QUIET="1", HF_HUB_DISABLE_PROGRESS_BARS="1") as ann:
            said = ann.run("-c", PROGRAM.format(repo=REPO)).stderr
            hook = [line for line in lines_of(said) if "bytes from the LAN" in line["message"]]
            (request,) = {line["request_id"] for line in hook}

            def found() -> bool:
                logs = ann.agent_log(), lan.tracker.log.read_text(), lan.seeder.log.read_text()
                return all(request in {line.get("request_id") for line in lines_of(text)} for text in logs)

            eventually(found, what=f"{request} in every log")
            everything = said + ann.agent_log() + lan.tracker.log.read_text() + lan.seeder.log.read_text()
            assert re.findall(r"llmpt_[a-z]+_\w+", everything) == [], "no token"
            assert re.match(r"llmpt_[a-z]+_\w+", lan.tracker.token)
