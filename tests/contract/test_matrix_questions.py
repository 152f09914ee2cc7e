"""Every version of huggingface_hub: what it asks about a repo is answered by the LAN, where that is exact or the Hub fails.

The parts are real: a tracker and a seeder, an unmodified program (tests/support/questions.py) with the hook in its environment.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import HUB_VERSIONS
from tests.support import questions
from tests.support.environments import environment
from tests.support.hub import FakeHub, Mode
from tests.support.lan import BIG, Lan
from tests.support.waiting import eventually

PROGRAM = Path(questions.__file__)
REPO, GATED = "matrix/questions", "matrix/gated"
_RANDOM = random.Random(12)
FILES = {f"d{number % 3}/f{number}.json": _RANDOM.randbytes(500 + number) for number in range(30)} | {
    "a.safetensors": _RANDOM.randbytes(BIG + 1000),
    "b.bin": _RANDOM.randbytes(BIG),
    "config.json": b"{}",
    "empty.txt": b"",
}
SIZES = {path: len(content) for path, content in FILES.items()}
STREAMED = {"part": sha256(FILES["b.bin"][1000:6000]).hexdigest(), "whole": sha256(FILES["b.bin"]).hexdigest()}
WAYS = ("closed", "unresolved")  # of which the Hub itself knows nothing
TROUBLES = {"": ("504", "closed", "silent"), "others": ("429", "unresolved", "silent")}  # all of them: `make matrix`
ALL_TROUBLES = ("504", "429", "silent", *WAYS)


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("questions") / "lan") as running:
        running.hub.add(REPO, FILES)
        running.hub.add(GATED, {"config.json": b"{}", "model.bin": b"x" * 100}, gated=True)
        running.hub.repos["model", GATED].readers = frozenset()
        for repo in (REPO, GATED):
            running.mirror(repo)
        running.seeded(REPO)
        eventually(lambda: running.answers_for(REPO), timeout_s=30, what="the LAN to answer for the repo")
        yield running


@dataclass(frozen=True)
class Outcome:
    """What a version's program saw, what the hook said, and what `llmpt status` says of its questions afterwards."""

    said: dict[str, Any]
    lines: list[str]
    counted: dict[str, int]

    def asked(self, name: str) -> list[str]:
        found: list[str] = self.said[name]["asked"]
        return found


def outcome_of(lan: Lan, version: str, *, gated: str = "", way: str = "", hub: str = "auto", streams: str = "") -> Outcome:
    lan.hub.forget()
    commit, size = lan.hub.repos["model", REPO].commit_of("main"), SIZES["b.bin"] if streams else 0
    plan = {"hub": lan.hub.url, "repo": REPO, "commit": commit, "gated": gated, "size": size, "way": way}
    settings = {"LLMPT_HUB": hub, "LLMPT_STREAMS": streams or "0", "HF_HUB_ETAG_TIMEOUT": "2"}
    with lan.machine("asker", python=environment(version), **settings) as machine:
        ran = machine.run(str(PROGRAM), json.dumps(plan))
        counted = json.loads(machine.llmpt("status", "--json", check=False))["today"]["questions"] if streams == "1" else {}
    return Outcome(
        json.loads(ran.stdout.splitlines()[-1]), re.findall(r"llmpt: [^\r\n\x1b]*", ran.stderr), counted
    )  # between bars


@pytest.mark.parametrize("version", HUB_VERSIONS)
def test_a_snapshot_asks_the_hub_at_most_once(lan: Lan, version: str) -> None:
    outcome = outcome_of(lan, version, gated=GATED, streams="1")
    said = outcome.said
    assert (said["branch"]["answer"], said["commit"]["answer"]) == (SIZES, SIZES)
    assert said["local"]["answer"] == {path: size for path, size in SIZES.items() if path.startswith(("d1/", "a."))}
    assert len(outcome.asked("branch")) <= 1
    assert [outcome.asked(name) for name in ("commit", "local", "absent", "tree", "paths")] == [[]] * 5
    assert said["absent"]["answer"] in ("EntryNotFoundError", "RemoteEntryNotFoundError")
    assert said["no_exist"] == ["no.such"]
    assert [path for path in said["tree"]["answer"] if path in FILES] == sorted(FILES)
    assert said["paths"]["answer"] == ["config.json"]
    assert said["stream"] == {"answer": STREAMED, "asked": [], "authorized": False}
    assert said["gated"] == {"answer": "GatedRepoError", "asked": [f"HEAD /{GATED}/resolve/main/config.json"], "authorized": True}
    assert (said["disabled"]["answer"], said["left"]) == (True, [])
    assert said["disabled"]["asked"][0] == f"HEAD /{REPO}/resolve/main/config.json"
    assert any("to the Hub instead of" in line for line in outcome.lines), outcome.lines
    assert any("read from the LAN in streams" in line for line in outcome.lines), outcome.lines
    assert outcome.counted["by_lan"] > len(SIZES)
    assert 1 <= outcome.counted["by_hub"] < len(SIZES)
    assert outcome.counted["streamed_bytes"] > 0


@pytest.mark.parametrize("version", HUB_VERSIONS)
@pytest.mark.parametrize("trouble", TROUBLES.get(os.environ.get("LLMPT_TEST_HUB_VERSIONS", ""), ALL_TROUBLES))
def test_a_hub_that_fails_from_the_start_is_asked_once(lan: Lan, version: str, trouble: str) -> None:
    lan.hub.mode = Mode(fail_status=int(trouble) if trouble.isdigit() else None, is_silent=trouble == "silent")
    try:
        outcome = outcome_of(lan, version, way=trouble if trouble in WAYS else "")
    finally:
        lan.hub.mode = Mode()
    said = outcome.said
    assert [said[name]["answer"] for name in ("branch", "commit")] == [SIZES, SIZES]
    assert len(outcome.asked("branch")) <= 1
    assert [outcome.asked(name) for name in ("commit", "local", "absent", "tree", "paths")] == [[]] * 5
    reason = {"silent": "time-out", **dict.fromkeys(WAYS, "no connection")}.get(trouble, trouble)
    told = [line for line in outcome.lines if "does not answer" in line]
    assert len(told) == 1
    assert told[0].startswith(f"llmpt: the Hub does not answer ({reason}); {REPO} as of ")
    assert told[0].endswith(" ago, from the LAN")


@pytest.mark.parametrize("version", HUB_VERSIONS)
def test_the_lan_alone_is_asked_where_the_setting_says_so(lan: Lan, version: str) -> None:
    outcome = outcome_of(lan, version, hub="never")
    assert [outcome.said[name]["answer"] for name in ("branch", "commit")] == [SIZES, SIZES]
    assert [outcome.asked(name) for name in ("branch", "commit", "local", "absent", "tree", "paths")] == [[]] * 6
    assert not [line for line in outcome.lines if "does not answer" in line]


TWO_HUBS = """
import json, sys
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

repo, other, commit = sys.argv[1:]
said = {}
for name, ask in {
    "branch": lambda: Path(snapshot_download(repo, cache_dir="a"), "config.json").read_text(),
    "other": lambda: Path(hf_hub_download(repo, "config.json", endpoint=other, cache_dir="b")).read_text(),
    "commit": lambda: Path(hf_hub_download(repo, "config.json", revision=commit, cache_dir="c")).read_text(),
    "info": lambda: HfApi().repo_info(repo).sha,
}.items():
    try:
        said[name] = ask()
    except Exception as error:
        said[name] = type(error).__name__
print(json.dumps(said))
"""


def test_a_repo_of_the_same_name_on_another_hub_is_another_repo(lan: Lan) -> None:
    commit, theirs = lan.hub.repos["model", REPO].commit_of("main") or "", '{"private": 1}'
    with FakeHub() as private, lan.machine("asker", HF_ENDPOINT=private.url) as asker, lan.machine("other") as other:
        its = private.add(REPO, {"config.json": theirs.encode(), "c.bin": b"c" * BIG})
        said = json.loads(asker.run("-c", TWO_HUBS, REPO, lan.hub.url, commit).stdout)
        assert said == {"branch": theirs, "other": "{}", "commit": "RevisionNotFoundError", "info": its}
        assert private.gets("c.bin") == 1
        said = json.loads(other.run("-c", TWO_HUBS, REPO, private.url, its).stdout)
        assert said == {"branch": "{}", "other": theirs, "commit": "RevisionNotFoundError", "info": commit}
        private.mode = Mode(fail_status=504)
        failed = asker.run("-c", f"from huggingface_hub import HfApi\nHfApi().repo_info({REPO!r})", check=False)
        assert "HfHubHTTPError" in failed.stderr


def test_what_is_read_and_not_downloaded_comes_from_the_hub_unless_the_setting_says_so(lan: Lan) -> None:
    outcome = outcome_of(lan, HUB_VERSIONS[-1], streams="0")
    assert outcome.said["stream"]["answer"] == STREAMED
    assert {line.partition(" ")[0] for line in outcome.asked("stream")} == {"GET"}
    assert {line.rpartition("/")[2] for line in outcome.asked("stream")} == {"b.bin"}
