"""How the hook gets in, and out again: by installation alone, by a call, not at all."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.environments import environment
from tests.support.fake_agent import FakeAgent
from tests.support.hub import FakeHub, File
from tests.support.workstation import Workstation

WEIGHTS = random.Random(1).randbytes(1 << 20)
CONTENTS = {File.of(WEIGHTS, lfs=True).etag: WEIGHTS}
ASK = """
import json, sys
from huggingface_hub import hf_hub_download
hf_hub_download("org/model", "model.safetensors")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
NAMES = """
import json
import huggingface_hub.file_download as fd
NAMES = ["_download_to_tmp_and_move", "_hf_hub_download_to_cache_dir", "_hf_hub_download_to_local_dir",
         "_get_metadata_or_catch_error"]
def functions():
    return [getattr(fd, name) for name in NAMES]
"""


@pytest.fixture
def agent(workstation: Workstation, hub: FakeHub) -> Iterator[FakeAgent]:
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    with FakeAgent(workstation.runtime, CONTENTS) as agent:
        yield agent


@pytest.mark.parametrize("flags", [(), ("-I",), ("-E", "-s")])
def test_installing_is_enough(workstation: Workstation, agent: FakeAgent, flags: tuple[str, ...]) -> None:
    modules = workstation.run(ASK, *flags).result
    assert len(agent.fetches) == 1
    assert "libtorrent" not in modules, "the session belongs to the agent"


def test_an_editable_installation_is_enough(hub: FakeHub) -> None:
    workstation = Workstation(environment("2.4.0", editable=True), hub)
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    with FakeAgent(workstation.runtime, CONTENTS) as agent:
        workstation.run(ASK, "-I")
    assert len(agent.fetches) == 1
    workstation.close()


def test_hf_use_p2p_switches_a_process_off(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    enable = "import llmpt; assert llmpt.enable_p2p() is False; assert not llmpt.is_enabled()"
    run = workstation.run(enable + ASK, HF_USE_P2P="0")
    assert not agent.fetches
    assert hub.byte_gets == 1
    assert "llmpt" not in run.err


def test_without_a_tracker_nobody_is_asked(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    run = workstation.run(ASK, LLMPT_TRACKER="")
    assert not agent.fetches
    assert hub.byte_gets == 1
    assert not run.err.count("llmpt")


def test_a_setting_that_cannot_be_used_is_named_and_harms_nobody(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent
) -> None:
    run = workstation.run(ASK, LLMPT_TRACKER="server:8000")
    assert hub.byte_gets == 1
    assert run.err.count("LLMPT_TRACKER='server:8000' cannot be used: write it as http://server:8000") == 1


def test_a_call_can_name_the_tracker(workstation: Workstation, agent: FakeAgent) -> None:
    script = ASK.replace("import json", "import llmpt; assert llmpt.enable_p2p(tracker='http://other:9000/')\nimport json")
    workstation.run(script, LLMPT_TRACKER="")
    assert [asked["tracker"] for asked in agent.fetches] == ["http://other:9000"]


def test_a_tracker_that_is_none_is_refused_at_once(workstation: Workstation) -> None:
    script = """
import json, llmpt
from llmpt.core.errors import SettingError
try:
    llmpt.enable_p2p(tracker="ftp://server")
except SettingError as error:
    print(json.dumps(str(error)))
"""
    assert workstation.run(script).result.startswith("LLMPT_TRACKER='ftp://server' cannot be used")


def test_enabling_and_disabling_restores_the_same_objects(workstation: Workstation) -> None:
    script = f"""
import llmpt
llmpt.disable_p2p()
{NAMES}
vanilla = functions()
assert not llmpt.is_enabled()
for _ in range(2):
    assert llmpt.enable_p2p() and llmpt.enable_p2p() and llmpt.is_enabled()
    patched = functions()
    assert not any(a is b for a, b in zip(vanilla, patched))
    assert [f.__name__ for f in patched] == NAMES
    llmpt.disable_p2p()
    llmpt.disable_p2p()
    assert not llmpt.is_enabled()
    assert all(a is b for a, b in zip(vanilla, functions()))
print(json.dumps("ok"))
"""
    assert workstation.run(script).result == "ok"


def test_functions_taken_while_enabled_go_on_working_after(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    script = f"""
import llmpt
{NAMES}
assert llmpt.is_enabled()
kept = functions()
llmpt.disable_p2p()
for name, function in zip(NAMES, kept):
    setattr(fd, name, function)  # as a program would that wraps them itself
from huggingface_hub import hf_hub_download
print(json.dumps(hf_hub_download("org/model", "model.safetensors")))
"""
    assert Path(workstation.run(script).result).read_bytes() == WEIGHTS
    assert not agent.fetches
    assert hub.byte_gets == 1


def test_a_hook_that_breaks_hurts_nobody(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    script = ASK.replace(
        "import json, sys",
        "import json, sys\nimport llmpt.download\nllmpt.download.Download.run = lambda self: 1 / 0",
    )
    run = workstation.run(script)
    assert hub.byte_gets == 1
    assert run.err.count("ZeroDivisionError") == 1
