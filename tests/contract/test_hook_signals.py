"""A job's time limit and a cancelled bar end a download at once, in real programs, and what had arrived is kept."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.contract.conftest import HUB_VERSIONS
from tests.support.environments import environment
from tests.support.fake_agent import FakeAgent
from tests.support.hub import FakeHub, File
from tests.support.workstation import Workstation

CONTENT = random.Random(7).randbytes(8 << 20)
ETAG = File.of(CONTENT, lfs=True).etag
LIMITED = """
import glob, json, os, signal, sys, time
from huggingface_hub import hf_hub_download

class Limit(Exception):
    pass

def handler(number, frame):
    raise {"Limit": Limit, "TimeoutError": TimeoutError}[sys.argv[1]]("the job's time is up")

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
started, raised = time.monotonic(), ""
try:
    hf_hub_download("org/model", "a.safetensors")
    signal.setitimer(signal.ITIMER_REAL, 0)
except (Limit, TimeoutError) as error:
    raised = f"{type(error).__name__}: {error}"
left = [os.path.getsize(path) for path in glob.glob(os.environ["HF_HOME"] + "/hub/**/*.incomplete", recursive=True)]
print(json.dumps([raised, time.monotonic() - started, left]))
"""
CANCELLED = """
import glob, json, os
from huggingface_hub import snapshot_download
from huggingface_hub.utils import tqdm

class Cancelled(Exception):
    pass

class Bar(tqdm):
    def update(self, n=1):
        if n > 1 << 20:
            raise Cancelled("by the user")

raised = ""
try:
    snapshot_download("org/model", tqdm_class=Bar)
except Cancelled as error:
    raised = str(error)
left = [os.path.getsize(path) for path in glob.glob(os.environ["HF_HOME"] + "/hub/**/*.incomplete", recursive=True)]
print(json.dumps([raised, left]))
"""


@pytest.mark.parametrize(("behaviour", "kind"), [("hang", "TimeoutError"), ("give_up", "Limit")])
def test_a_time_limit_ends_a_download_and_what_had_arrived_is_kept(
    workstation: Workstation, hub: FakeHub, behaviour: str, kind: str, tmp_path: Path
) -> None:
    hub.add("org/model", {"a.safetensors": CONTENT})
    hub.mode.throttle_bytes_s = 1 << 20  # of what the LAN does not give (give_up)
    script = tmp_path / "limited.py"
    script.write_text(LIMITED)
    with FakeAgent(workstation.runtime, {ETAG: CONTENT}, behaviour=behaviour) as agent:
        ended = workstation.command(str(workstation.python), str(script), kind, "1.5")
        raised, seconds, left = ended.result
        assert raised == f"{kind}: the job's time is up"
        assert seconds < 4
        assert len(left) == 1
        assert left[0] >= len(CONTENT) // 2
        assert "a bug of llmpt" not in ended.err
        agent.behaviour = "serve"
        workstation.command(str(workstation.python), str(script), kind, "60")
        assert len({fetch["path"] for fetch in agent.fetches}) == 1  # the next try goes on with that file
    assert not workstation.leftovers()


def test_a_cancel_in_a_progress_bar_is_a_cancel(hub: FakeHub) -> None:
    workstation = Workstation(environment(HUB_VERSIONS[-1]), hub)
    hub.add("org/model", {"a.safetensors": CONTENT})
    with FakeAgent(workstation.runtime, {ETAG: CONTENT}, behaviour="hang") as agent:
        raised, left = workstation.run(CANCELLED).result
        assert raised == "by the user"
        assert len(left) == len(agent.fetches) == 1
    assert hub.gets("a.safetensors") == 0
    workstation.close()
