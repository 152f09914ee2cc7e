"""What the library downloads for all of the LAN is seen to grow, in every version, wherever it writes."""

from __future__ import annotations

import json
import random

import pytest

from tests.contract.conftest import HUB_VERSIONS
from tests.support.environments import environment
from tests.support.fake_agent import FakeAgent
from tests.support.hub import FakeHub, File
from tests.support.workstation import Workstation

CONTENT = random.Random(3).randbytes(2 << 20)
ETAG = File.of(CONTENT, lfs=True).etag
GET = "import json, os\nfrom huggingface_hub import hf_hub_download\n"
GET += "print(json.dumps(os.path.realpath(hf_hub_download('org/model', 'a.safetensors', **OPTIONS))))"


@pytest.mark.parametrize("version", HUB_VERSIONS)
@pytest.mark.parametrize("options", [{}, {"local_dir": "here"}], ids=["cache", "local_dir"])
def test_a_slow_download_is_seen_to_grow(version: str, hub: FakeHub, options: dict[str, str]) -> None:
    workstation = Workstation(environment(version), hub)
    hub.add("org/model", {"a.safetensors": CONTENT})
    hub.mode.throttle_bytes_s = 1 << 20
    with FakeAgent(workstation.runtime, {ETAG: CONTENT}, behaviour="wait_then_fetch") as agent:
        landed = workstation.run(GET.replace("OPTIONS", repr(options))).result
        assert [(one["path"], one["fetched"]) for one in agent.landed] == [(landed, True)]
        (request,) = agent.fetches
        assert (request["anonymous"], request["endpoint"]) == (True, hub.url)
        on_the_way = {seen for seen in agent.seen if 0 < seen < len(CONTENT)}
        assert len(on_the_way) >= 3, sorted(agent.seen)
    assert not workstation.leftovers()
    workstation.close()


@pytest.mark.parametrize("version", HUB_VERSIONS)
def test_a_token_that_is_shown_to_the_hub_is_noticed(version: str, hub: FakeHub) -> None:
    workstation = Workstation(environment(version), hub)
    hub.add("org/model", {"a.safetensors": CONTENT})
    with FakeAgent(workstation.runtime, {ETAG: CONTENT}) as agent:
        workstation.run(GET.replace("OPTIONS", "{'token': 'hf_secret'}"))
        assert [request["anonymous"] for request in agent.fetches] == [False]
        assert "hf_secret" not in json.dumps(agent.fetches)
    workstation.close()
