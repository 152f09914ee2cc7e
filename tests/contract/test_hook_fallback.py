"""The LAN breaks off in the middle of a file: the Hub gives only what is missing, or all of it where it must be so."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import HUB_VERSIONS
from tests.contract.test_hook_bars import RECORDING
from tests.support.environments import environment
from tests.support.fake_agent import FakeAgent
from tests.support.hub import FakeHub
from tests.support.waiting import eventually
from tests.support.workstation import Workstation

WEIGHTS = random.Random(1).randbytes(10_000_000)
ETAG = hashlib.sha256(WEIGHTS).hexdigest()
MISSING = [(5_000_000, 8_000_000), (9_000_000, 10_000_000)]  # what FakeAgent leaves out when it gives up

DOWNLOAD = """
import json
from huggingface_hub import hf_hub_download
print(json.dumps(hf_hub_download("org/model", "model.safetensors"{more})))
"""


@pytest.fixture
def agent(workstation: Workstation, hub: FakeHub) -> Iterator[FakeAgent]:
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    with FakeAgent(workstation.runtime, {ETAG: WEIGHTS}, behaviour="give_up") as agent:
        yield agent


def ranges(hub: FakeHub) -> list[str]:
    return [request.range for request in hub.requests if request.method == "GET" and request.path == "model.safetensors"]


def asked_for(hub: FakeHub) -> list[tuple[int, int]]:
    found = [re.fullmatch(r"bytes=(\d+)-(\d+)", text) for text in ranges(hub)]
    return [(int(match[1]), int(match[2]) + 1) for match in found if match]


@pytest.mark.parametrize("more", ["", ", local_dir='here'", ", force_download=True", ", token='hf_secret'"])
def test_the_hub_gives_only_what_is_missing(workstation: Workstation, hub: FakeHub, agent: FakeAgent, more: str) -> None:
    run = workstation.run(DOWNLOAD.format(more=more))
    path = workstation.home / run.result
    assert path.read_bytes() == WEIGHTS
    assert asked_for(hub) == MISSING
    assert hub.bytes_sent == 4_000_000
    assert all(request.authorized == ("token" in more) for request in hub.requests)
    assert [told["path"] for told in agent.landed] == [str(path.resolve())]
    assert not workstation.leftovers()
    warning, summary = run.summary
    words, _, request = warning.rpartition(" [")
    assert words == "llmpt: model.safetensors: the LAN broke off (every peer has gone); the rest comes from the Hub"
    assert re.fullmatch(r"[0-9a-f]{16}\]", request)
    assert summary.startswith("llmpt: 6.0 MB from the LAN (")
    assert summary.endswith("/s), 4.0 MB from the Hub, the LAN broke off in the middle of a file")


def test_the_rest_that_is_fetched_for_all_is_seen_to_grow_and_told_of(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent
) -> None:
    agent.behaviour = "give_up_for_all"
    hub.mode.throttle_bytes_s = 8_000_000
    path = Path(workstation.run(DOWNLOAD.format(more="")).result)
    assert path.read_bytes() == WEIGHTS
    assert asked_for(hub) == MISSING
    assert [(told["path"], told["fetched"]) for told in agent.landed] == [(str(path.resolve()), True)]
    assert agent.watched_at_landing == [1], "the lease is held until the agent knows where the file lies"
    assert [seen for seen in agent.seen if 6_000_000 < seen < len(WEIGHTS)], sorted(agent.seen)
    assert not workstation.leftovers()


def test_a_file_that_a_silent_agent_may_still_give_to_others_is_left_as_it_is(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent
) -> None:
    agent.behaviour = "hang"
    impatient = """
import functools
from huggingface_hub import file_download
from llmpt.hook import patch
from llmpt.hook.lan import Lan
from llmpt.link.timings import LinkTimings
patch.disable()
patch.install(file_download, connect=functools.partial(Lan.of, timings=LinkTimings(silence_margin_s=0.1)))
"""
    path = Path(workstation.run(impatient + DOWNLOAD.format(more=""), LLMPT_STALL_TIMEOUT="0.3").result)
    assert path.read_bytes() == WEIGHTS
    (left,) = workstation.leftovers()
    half = len(WEIGHTS) // 2
    assert Path(left).read_bytes()[:half] == WEIGHTS[:half], "zeros in the place of verified pieces would be given to others"


def test_a_connection_to_the_hub_that_breaks_is_taken_up_where_it_broke(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent
) -> None:
    hub.mode.cut_after_bytes = 1_700_000
    # The library drops what is not a whole chunk when a connection breaks, and its chunks are 10 MiB.
    small_chunks = """
import huggingface_hub.constants
import huggingface_hub.file_download as fd
fd.DOWNLOAD_CHUNK_SIZE = huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 100_000
"""
    path = Path(workstation.run(small_chunks + DOWNLOAD.format(more="")).result)
    assert path.read_bytes() == WEIGHTS
    asked = asked_for(hub)
    assert [asked[0], asked[-1]] == MISSING
    assert asked[1][0] > 5_000_000
    assert hub.bytes_sent <= 4_000_000 + (1 << 20)


def test_a_hub_that_gives_no_parts_gives_the_whole(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.mode.ignore_ranges = True
    path = Path(workstation.run(DOWNLOAD.format(more="")).result)
    assert path.read_bytes() == WEIGHTS
    assert ranges(hub)[-1] == ""
    assert not workstation.leftovers()


def test_what_is_not_right_after_all_is_dropped_and_the_whole_is_fetched(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent
) -> None:
    agent.behaviour = "lie_about_have"
    path = Path(workstation.run(DOWNLOAD.format(more="")).result)
    assert path.read_bytes() == WEIGHTS
    assert ranges(hub)[-1] == ""
    assert not workstation.leftovers()
    assert not agent.landed


def test_the_hubs_refusal_is_the_librarys_own_error(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.mode.refuse_bytes_over = 1
    script = """
import json
from huggingface_hub import hf_hub_download
try:
    hf_hub_download("org/model", "model.safetensors")
except Exception as error:
    print(json.dumps([type(error).__name__, error.response.status_code]))
"""
    name, status = workstation.run(script).result
    assert (name, status) == ("HfHubHTTPError", 403)
    (kept,) = (Path(path) for path in workstation.leftovers() if Path(path).stat().st_blocks)
    assert kept.read_bytes()[:5_000_000] == WEIGHTS[:5_000_000], "the next try goes on with it"


def test_a_file_beyond_what_plain_http_gives_is_left_to_the_library(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent
) -> None:
    """51 GB cannot be had here: the limit is lowered instead. (Before 0.31 there is none.)"""
    limited = "from huggingface_hub import constants\nconstants.MAX_HTTP_DOWNLOAD_SIZE = 9_000_000\n"
    script = limited + DOWNLOAD.format(more="")
    if workstation.run(limited + "print(hasattr(constants, 'HF_HUB_DISABLE_XET') and 1 or 0)").result:
        script = script.replace("print(", "try:\n  print(", 1) + "except ValueError as error:\n  print(json.dumps(str(error)))\n"
        assert "too large" in workstation.run(script).result
        assert hub.byte_gets == 0
    agent.behaviour = "serve"
    assert Path(workstation.run(limited + DOWNLOAD.format(more="")).result).read_bytes() == WEIGHTS
    assert hub.byte_gets == 0, "the LAN has no such limit"


@pytest.mark.parametrize("version", HUB_VERSIONS)
def test_no_byte_is_counted_twice_when_the_hub_gives_the_rest(version: str, hub: FakeHub) -> None:
    workstation = Workstation(environment(version), hub)
    hub.add("org/model", {"model.safetensors": WEIGHTS, "config.json": b"{}"})
    script = RECORDING + (
        'snapshot_download("org/model", tqdm_class=Recording)\nprint(json.dumps(sorted([bar.n, bar.total] for bar in bars)))'
    )
    with FakeAgent(workstation.runtime, {ETAG: WEIGHTS}, behaviour="give_up"):
        ours = workstation.run(script).result
    workstation.cache.rename(workstation.home / "ours")
    assert ours == workstation.run(script, HF_USE_P2P="0").result
    workstation.close()


def test_after_ctrl_c_in_the_rest_the_next_call_goes_on(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.mode.throttle_bytes_s = 1_000_000
    with workstation.start(str(workstation.python), "-c", DOWNLOAD.format(more="")) as process:
        eventually(lambda: hub.bytes_sent > 200_000, what="some of the rest")
        process.terminate()
        process.communicate(timeout=20)
    hub.mode.throttle_bytes_s = None
    (partial,) = (Path(path) for path in workstation.leftovers() if Path(path).stat().st_blocks)
    agent.behaviour = "serve"
    path = Path(json.loads(workstation.run(DOWNLOAD.format(more="")).out.splitlines()[-1]))
    assert path.read_bytes() == WEIGHTS
    assert agent.fetches[0]["path"] == agent.fetches[1]["path"] == str(partial)
