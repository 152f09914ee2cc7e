"""What the hook does in a download: whom it asks for what, where the bytes end up, and what is left behind."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_agent import FakeAgent
from tests.support.hub import FakeHub
from tests.support.waiting import eventually
from tests.support.workstation import TRACKER, Workstation

MIB = 1 << 20
WEIGHTS = random.Random(1).randbytes(3 * MIB)
NEWER = random.Random(2).randbytes(2 * MIB + 1)
LONG_TEXT = random.Random(3).randbytes(MIB)  # big, and no LFS file: its etag is a git SHA-1
FILES = {
    "config.json": b'{"a": 1}',
    "empty.txt": b"",
    "onnx/wéights 1.safetensors": WEIGHTS,
    "vocab.txt": LONG_TEXT,
}

Call = tuple[tuple[str, ...], dict[str, object]]  # the arguments of hf_hub_download

HF_HUB_DOWNLOAD = """
import json, sys
from huggingface_hub import hf_hub_download
print(json.dumps([hf_hub_download(*a, **k) for a, k in {calls!r}]))
"""
SNAPSHOT = """
import json
from huggingface_hub import snapshot_download
print(json.dumps(snapshot_download("org/model")))
"""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


CONTENTS = {sha256(WEIGHTS): WEIGHTS, sha256(NEWER): NEWER, git_sha1(LONG_TEXT): LONG_TEXT}


@pytest.fixture
def agent(workstation: Workstation) -> Iterator[FakeAgent]:
    with FakeAgent(workstation.runtime, CONTENTS) as agent:
        yield agent


def download(workstation: Workstation, *calls: Call, **environ: str) -> list[Path]:
    return [Path(path) for path in workstation.run(HF_HUB_DOWNLOAD.format(calls=list(calls)), **environ).result]


def test_the_agent_is_asked_for_exactly_the_file_of_this_call(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.add("org/model", FILES)
    (path,) = download(workstation, (("org/model", "onnx/wéights 1.safetensors"), {}))
    assert path.read_bytes() == WEIGHTS
    (asked,) = agent.fetches
    blobs = workstation.cache / "models--org--model" / "blobs"
    assert {
        key: asked[key] for key in ("tracker", "etag", "size", "repo_type", "repo_id", "revision", "filename", "replace")
    } == {
        "tracker": TRACKER,
        "etag": sha256(WEIGHTS),
        "size": len(WEIGHTS),
        "repo_type": "model",
        "repo_id": "org/model",
        "revision": "main",
        "filename": "onnx/wéights 1.safetensors",
        "replace": False,
    }
    assert asked["destination"] == str(blobs / sha256(WEIGHTS))
    assert Path(asked["path"]).parent == blobs
    assert hub.byte_gets == 0


def test_after_main_has_moved_the_new_content_is_asked_for(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    script = """
import json, os, time
from huggingface_hub import hf_hub_download
paths = [hf_hub_download("org/model", "model.safetensors")]
open("first", "w").close()
while not os.path.exists("moved"):
    time.sleep(0.01)
paths.append(hf_hub_download("org/model", "model.safetensors", revision=None))
print(json.dumps(paths))
"""
    with workstation.start(str(workstation.python), "-c", script) as process:
        eventually((workstation.home / "first").exists, what="the first download")
        hub.add("org/model", {"model.safetensors": NEWER})
        (workstation.home / "moved").touch()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    old, new = json.loads(out.splitlines()[-1])
    assert (Path(old).read_bytes(), Path(new).read_bytes()) == (WEIGHTS, NEWER)
    assert [asked["etag"] for asked in agent.fetches] == [sha256(WEIGHTS), sha256(NEWER)]
    assert hub.byte_gets == 0


def test_a_dataset_at_a_tag_is_asked_for_as_such(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.add("org/data", {"train.parquet": WEIGHTS}, repo_type="dataset", refs=("main", "v/1"))
    (path,) = download(workstation, (("org/data", "train.parquet"), {"repo_type": "dataset", "revision": "v/1"}))
    assert path.read_bytes() == WEIGHTS
    assert [(asked["repo_type"], asked["repo_id"], asked["revision"]) for asked in agent.fetches] == [
        ("dataset", "org/data", "v/1")
    ]
    assert hub.byte_gets == 0


def test_a_snapshot_lies_in_the_cache_as_the_library_would_have_laid_it(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent
) -> None:
    hub.add("org/model", FILES)

    def layout() -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for path in sorted((workstation.cache / "models--org--model").rglob("*")):
            if path.is_file() and "trees" not in path.parts:
                content = path.readlink() if path.is_symlink() else path.read_bytes()
                found[str(path.relative_to(workstation.cache))] = (content, oct(path.lstat().st_mode), path.stat().st_nlink)
        return found

    snapshot = Path(workstation.run(SNAPSHOT).result)
    assert {path: (snapshot / path).read_bytes() for path in FILES} == FILES
    assert sorted(asked["etag"] for asked in agent.fetches) == sorted([sha256(WEIGHTS), git_sha1(LONG_TEXT)])
    assert (hub.gets("config.json"), hub.gets("onnx/wéights 1.safetensors"), hub.gets("vocab.txt")) == (1, 0, 0)
    assert not workstation.leftovers()
    ours = layout()
    (workstation.cache / "models--org--model").rename(workstation.home / "ours")
    workstation.run(SNAPSHOT, HF_USE_P2P="0")
    assert hub.gets("vocab.txt") == 1
    assert layout() == ours


def test_a_local_dir_is_filled_and_nothing_else_lies_there(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.add("org/model", FILES)
    target = workstation.home / "here"
    (path,) = download(workstation, (("org/model", "onnx/wéights 1.safetensors"), {"local_dir": "here"}))
    path = workstation.home / path  # the script ran there
    assert path == target / "onnx" / "wéights 1.safetensors"
    assert path.read_bytes() == WEIGHTS
    assert [asked["destination"] for asked in agent.fetches] == [str(path)]
    download(workstation, (("org/model", "onnx/wéights 1.safetensors"), {"local_dir": "here"}))
    assert len(agent.fetches) == 1, "the library knows the file again"
    assert hub.byte_gets == 0
    assert not workstation.leftovers()


def test_force_download_replaces_the_file_and_tells_the_agent_where_it_lies(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent
) -> None:
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    call = ("org/model", "model.safetensors")
    (path,) = download(workstation, (call, {}))
    before = path.stat().st_ino
    (again,) = download(workstation, (call, {"force_download": True}))
    assert again.read_bytes() == WEIGHTS
    assert again.stat().st_ino != before
    assert [asked["replace"] for asked in agent.fetches] == [False, True]
    assert [(told["etag"], told["path"]) for told in agent.landed] == [(sha256(WEIGHTS), str(again.resolve()))]
    assert hub.byte_gets == 0
    assert not workstation.leftovers()


def test_bytes_that_the_agent_did_not_move_are_moved_by_the_hook(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent
) -> None:
    agent.behaviour = "serve_unmoved"
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    (path,) = download(workstation, (("org/model", "model.safetensors"), {}))
    assert path.read_bytes() == WEIGHTS
    assert [told["path"] for told in agent.landed] == [str(path.resolve())]
    assert hub.byte_gets == 0
    assert not workstation.leftovers()


@pytest.mark.parametrize("behaviour", ["refuse", "nonsense", "fail_midway", "hang_up", "lie_about_moved", "lie_about_content"])
def test_whatever_the_agent_does_the_library_fetches_the_file_once(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent, behaviour: str
) -> None:
    agent.behaviour = behaviour
    hub.add("org/model", FILES)
    snapshot = Path(workstation.run(SNAPSHOT).result)
    assert {path: (snapshot / path).read_bytes() for path in FILES} == FILES
    assert {path: hub.gets(path) for path in FILES if FILES[path]} == dict.fromkeys([p for p in FILES if FILES[p]], 1)
    assert not workstation.leftovers()
    assert not agent.landed


def test_a_killed_download_goes_on_in_the_same_file(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    agent.behaviour = "hang"
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    calls: list[Call] = [(("org/model", "model.safetensors"), {})]
    with workstation.start(str(workstation.python), "-c", HF_HUB_DOWNLOAD.format(calls=calls)) as process:
        partial = eventually(lambda: [p for p in map(Path, workstation.leftovers()) if p.stat().st_size], what="some bytes")
        process.kill()
        process.communicate(timeout=10)
    inode = partial[0].stat().st_ino
    agent.behaviour = "serve"
    (path,) = download(workstation, *calls)
    assert path.read_bytes() == WEIGHTS
    assert path.stat().st_ino == inode
    assert len({asked["path"] for asked in agent.fetches}) == 1
    assert hub.byte_gets == 0


def test_nobody_is_asked_when_nothing_may_be_asked(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    script = """
from huggingface_hub import hf_hub_download
try:
    hf_hub_download("org/model", "model.safetensors", local_files_only={local_only})
except OSError as error:
    print('"refused"')
"""
    assert workstation.run(script.format(local_only=True)).result == "refused"
    assert workstation.run(script.format(local_only=False), HF_HUB_OFFLINE="1").result == "refused"
    assert not agent.fetches
    assert not hub.requests


def test_what_lies_in_the_cache_is_not_asked_for_again(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    call: Call = (("org/model", "model.safetensors"), {})
    first, second = download(workstation, call, call)
    assert first == second
    assert len(agent.fetches) == 1


def test_the_command_line_of_the_library_takes_its_bytes_from_the_lan(
    workstation: Workstation, hub: FakeHub, agent: FakeAgent
) -> None:
    hub.add("org/model", FILES)
    command = workstation.python.with_name("hf")
    if not command.exists():
        command = workstation.python.with_name("huggingface-cli")
    workstation.command(str(command), "download", "org/model")
    assert len(agent.fetches) == 2
    assert hub.gets("vocab.txt") == hub.gets("onnx/wéights 1.safetensors") == 0
    assert hub.gets("config.json") == 1


def test_a_quiet_line_says_what_came_from_where(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.add("org/model", FILES)
    (line,) = workstation.run(SNAPSHOT).summary
    assert line.startswith("llmpt: 4.2 MB from the LAN (2 machines, ")
    assert line.endswith("/s), 8 B from the Hub")
    assert not workstation.run(SNAPSHOT).summary, "nothing was downloaded"
    assert not workstation.run(SNAPSHOT.replace('"org/model"', '"org/model", force_download=True'), LLMPT_QUIET="1").summary


def test_a_token_of_the_call_is_never_shown_to_the_agent(workstation: Workstation, hub: FakeHub, agent: FakeAgent) -> None:
    hub.add("org/model", {"model.safetensors": WEIGHTS}, private=True)
    download(workstation, (("org/model", "model.safetensors"), {"token": "hf_secret"}))
    assert len(agent.fetches) == 1
    assert "hf_secret" not in str(agent.fetches)
