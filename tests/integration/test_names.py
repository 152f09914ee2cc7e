"""A tracker's name that never resolves: a name server that swallows questions costs 40 s here, in every process."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tests.support.hub import FakeHub
from tests.support.lan import BIG
from tests.support.machine import Machine
from tests.support.shims import NAME_SERVER_THAT_SWALLOWS, shim
from tests.support.waiting import eventually

NEVER = "http://tracker.swallowed.example:8000"
SECONDS = """
import json, sys, time
from huggingface_hub import snapshot_download
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
started = time.monotonic()
snapshot_download("org/model", cache_dir=sys.argv[1])
print(json.dumps(time.monotonic() - started))
"""

OVER_HTTP = f"""
import time
from llmpt.core.blob import Etag
from llmpt.tracker.blobs import BlobHttp
started = time.monotonic()
try:
    BlobHttp({NEVER!r}, stall_timeout_s=5).locate(Etag("e" * 64))
except Exception as error:
    print(time.monotonic() - started)
"""


def test_a_name_that_never_resolves_costs_little_with_an_agent_and_without(tmp_path: Path) -> None:
    files = {f"{number}.bin": os.urandom(BIG + number) for number in range(4)}
    preload = shim(NAME_SERVER_THAT_SWALLOWS, tmp_path)
    with FakeHub() as hub, Machine("ann", tracker=NEVER, hub=hub.url, LD_PRELOAD=preload, PYTHONPATH="") as ann:
        hub.add("org/model", files)

        def seconds(cache: str, environ: dict[str, str] | None = None) -> float:
            return float(json.loads(ann.run("-c", SECONDS, cache, check=True, **(environ or {})).stdout))

        without, over_http = seconds("without", {"HF_USE_P2P": "0"}), float(ann.script(OVER_HTTP))
        began = time.monotonic()
        agent = ann.start("-m", "llmpt", "agent", "run")
        try:
            eventually(lambda: (ann.root / "run" / "llmpt").is_dir() and "pid" in ann.status(), timeout_s=20, what="the agent")
            started_s, with_agent = time.monotonic() - began, seconds("agent")
        finally:
            agent.terminate()
            agent.communicate(timeout=20)
        print(f"without llmpt {without:.2f} s, over HTTP {over_http:.2f} s, with an agent {with_agent:.2f} s")
        assert over_http < 5
        assert started_s < 8
        assert with_agent - without < 5
        assert hub.byte_gets == 2 * len(files)
