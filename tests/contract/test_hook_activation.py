"""How the hook gets in, and out again: by installation alone, by a call, not at all."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.contract.conftest import NEWEST_HUB_VERSION
from tests.support.environments import environment, wheel
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
    workstation = Workstation(environment(NEWEST_HUB_VERSION, editable=True), hub)
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
        "import json, sys\nimport llmpt.hook.download\nllmpt.hook.download.LibraryDownload.run = lambda self, **_: 1 / 0",
    )
    run = workstation.run(script)
    assert hub.byte_gets == 1
    assert run.err.count("ZeroDivisionError") == 1


def site_packages(workstation: Workstation) -> Path:
    (found,) = workstation.python.parents[1].glob("lib/python*/site-packages")
    return found


def test_a_python_without_site_is_not_covered_until_it_calls_us(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    """-S reads no .pth and no .start file: `llmpt run`, or a call, is for that."""
    path = f"import sys; sys.path.append({str(site_packages(workstation))!r})\n"
    workstation.run(path + "import llmpt; assert not llmpt.is_enabled()" + ASK, "-S")
    assert not agent.fetches
    assert hub.byte_gets == 1
    shutil.rmtree(workstation.cache)
    workstation.run(path + "import llmpt; assert llmpt.enable_p2p()" + ASK, "-S")
    assert len(agent.fetches) == 1


def test_what_python_3_15_calls_at_its_start_is_enough(workstation: Workstation, agent: FakeAgent) -> None:
    """Read as PEP 829 says, since no Python here does; -S keeps llmpt.pth out, as 3.15 does beside an llmpt.start."""
    folder = str(site_packages(workstation))
    start = f"""
import pkgutil, sys
sys.path.append({folder!r})
with open({folder!r} + "/llmpt.start", encoding="utf-8-sig") as lines:
    for line in lines:
        if line.strip() and not line.startswith("#"):
            pkgutil.resolve_name(line.strip())()
"""
    workstation.run(start + ASK, "-S")
    assert len(agent.fetches) == 1


@pytest.mark.parametrize("how", ["uvx", "uv tool install"])
def test_a_tool_of_its_own_environment_is_covered_when_llmpt_is_put_beside_it(hub: FakeHub, how: str) -> None:
    workstation = Workstation(environment(NEWEST_HUB_VERSION), hub)
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    uv = [find_uv_bin(), "--quiet", "tool"]
    what = [f"huggingface_hub=={NEWEST_HUB_VERSION}", "--with", str(wheel()), "--python", str(workstation.python)]
    cache = subprocess.run([*uv[:1], "cache", "dir"], capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("HF_", "LLMPT_"))}
    environ |= {"UV_CACHE_DIR": cache, "UV_TOOL_DIR": "tools", "UV_TOOL_BIN_DIR": "bin"}
    environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | workstation.environ
    with FakeAgent(workstation.runtime, CONTENTS) as agent:
        if how == "uvx":
            workstation.command(*uv, "run", "--from", *what, "hf", "download", "org/model", **environ)
        else:
            workstation.command(*uv, "install", *what, **environ)
            workstation.command(str(workstation.home / "bin" / "hf"), "download", "org/model", **environ)
    assert len(agent.fetches) == 1
    assert hub.byte_gets == 0
    workstation.close()
