"""The bars of the library end as they do without us: every bar at n == total, the same bars with the same totals."""

from __future__ import annotations

import random

import pytest

from tests.contract.conftest import HUB_VERSIONS
from tests.support.environments import environment
from tests.support.fake_agent import FakeAgent
from tests.support.hub import FakeHub, File
from tests.support.workstation import Workstation

WEIGHTS = random.Random(1).randbytes(3 << 20)
SHARD = random.Random(2).randbytes((2 << 20) + 17)
FILES = {"config.json": b'{"a": 1}', "empty.txt": b"", "a.safetensors": WEIGHTS, "b.safetensors": SHARD}
CONTENTS = {File.of(content, lfs=True).etag: content for content in (WEIGHTS, SHARD)}

# Bars are switched on though there is no terminal, and remembered.
RECORDING = """
import io, json, logging, sys
import huggingface_hub.file_download as fd
import huggingface_hub.utils.tqdm
module = sys.modules["huggingface_hub.utils.tqdm"]
bars = []

class Recording(module.tqdm):
    def __init__(self, *args, **kwargs):
        kwargs.update(disable=False, file=io.StringIO())
        self.updates = []
        super().__init__(*args, **kwargs)
        bars.append(self)

    def update(self, n=1):
        self.updates.append(n)
        return super().update(n)

module.tqdm = fd.tqdm = Recording
from huggingface_hub import hf_hub_download, snapshot_download
"""
ONE = (
    RECORDING
    + """
hf_hub_download("org/model", "a.safetensors")
print(json.dumps([[bar.n, bar.total, len(bar.updates) > 1] for bar in bars]))
"""
)
ALL = (
    RECORDING
    + """
snapshot_download("org/model", tqdm_class=Recording)
print(json.dumps(sorted([bar.n, bar.total] for bar in bars)))
"""
)


@pytest.mark.parametrize("behaviour", ["serve", "refuse", "wait_then_serve"])
def test_the_bars_end_as_without_us(workstation: Workstation, hub: FakeHub, behaviour: str) -> None:
    hub.add("org/model", FILES)
    with FakeAgent(workstation.runtime, CONTENTS, behaviour=behaviour) as agent:
        ours = workstation.run(ALL).result
        assert len(agent.fetches) == 2
    workstation.cache.rename(workstation.home / "ours")
    assert ours == workstation.run(ALL, HF_USE_P2P="0").result
    assert all(done == total for done, total in ours)


def test_the_bar_of_one_file_moves_while_bytes_come_from_the_lan(workstation: Workstation, hub: FakeHub) -> None:
    hub.add("org/model", FILES)
    with FakeAgent(workstation.runtime, CONTENTS):
        assert workstation.run(ONE).result == [[len(WEIGHTS), len(WEIGHTS), True]]
    assert hub.byte_gets == 0


def test_the_bar_of_a_file_that_another_machine_fetches_only_goes_forward(workstation: Workstation, hub: FakeHub) -> None:
    hub.add("org/model", FILES)
    with FakeAgent(workstation.runtime, CONTENTS, behaviour="wait_then_serve"):
        code = ONE.replace("len(bar.updates) > 1", "bar.updates")
        ((done, total, updates),) = workstation.run(code).result
    assert done == total == len(WEIGHTS)
    assert updates[0] == len(WEIGHTS) // 8
    assert min(updates) > 0


@pytest.mark.parametrize("version", HUB_VERSIONS)
@pytest.mark.parametrize("behaviour", ["fail_midway", "wait_then_fetch"])
def test_no_byte_is_counted_twice_when_the_library_has_to_go_on(version: str, hub: FakeHub, behaviour: str) -> None:
    workstation = Workstation(environment(version), hub)
    hub.add("org/model", FILES)
    with FakeAgent(workstation.runtime, CONTENTS, behaviour=behaviour) as agent:
        ours = workstation.run(ALL).result
        assert len(agent.fetching) == len(agent.landed) == (2 if behaviour == "wait_then_fetch" else 0)
        assert all(agent.watched_at_landing), "its own watch is open still"
    workstation.cache.rename(workstation.home / "ours")
    vanilla = workstation.run(ALL, HF_USE_P2P="0").result
    if version.startswith(("0.", "1.0.")):  # these versions take no bar of ours: it goes back to zero, and they make their own
        vanilla = sorted([*vanilla, [0, len(WEIGHTS)], [0, len(SHARD)]])
    assert ours == vanilla
    workstation.close()
