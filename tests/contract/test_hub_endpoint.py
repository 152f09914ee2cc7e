"""Real clients against the tracker as their Hub: what they see there is what they see at the Hub itself.

The tracker and a seeder (which gives the bytes over HTTP) are the real ones. `make test` tries the version of huggingface_hub
that is installed here, `make matrix` all of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from llmpt.core.errors import TrackerRefused
from llmpt.core.repo import RepoRef
from llmpt.tracker.catalogue import Catalogue, Manifest
from llmpt_tracker.database.models import File, Ref, Repo, Revision
from llmpt_tracker.database.sessions import Database
from tests.contract.conftest import ALL_HUB_VERSIONS, HUB_VERSIONS, IS_MATRIX
from tests.support.cache_builder import CacheBuilder
from tests.support.environments import environment
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually

SUPPORT = Path(__file__).parents[1] / "support"
BIG = random.Random("big").randbytes((2 << 20) + 12345)
REPOS: dict[tuple[str, str], dict[str, bytes]] = {
    ("model", "acme/tiny"): {
        "README.md": b"---\nlicense: mit\n---\n# tiny\n",
        "config.json": b'{"tiny": true}',
        "empty.txt": b"",
        "model.safetensors": BIG,
        "nested/deep/weights.bin": b"small, but in LFS",
        "nested/a b+c%.json": b"[1]",
    },
    ("model", "acme/odd"): {
        "config.json": b'{"odd": true}',
        "empty.txt": b"",
        "model.safetensors": bytes(range(256)) * 6000,
        "small.bin": b"a small file in LFS",
        "nested/a b+c%&#.json": b"1",
        "nested/ünï/cödé.txt": b"22",
        "plus+plus.txt": b"333",
    },
    ("model", "lonely"): {"config.json": b"{}", "deep/er/file.txt": b"1"},
    ("dataset", "acme/rows"): {
        "README.md": b"# rows\n",
        "data/train-00000.parquet": b"PAR1" * 1000,
        "data/more.csv": b"a,b\n1,2\n",
    },
    ("kernel", "acme/kernel"): {"build.toml": b"[general]\n"},
    ("space", "acme/room"): {"app.py": b"print()\n", "README.md": b"# room\n"},
}
ODD_REFS = ("main", "feature/x", "refs/pr/1")
PART = {"config.json": b'{"a": 1}', "model.safetensors": BIG[:1_500_000], "tokens/a.json": b"[1]"}
FULL = {**PART, "README.md": b"# part\n", ".gitattributes": b"*.bin", "onnx/model.onnx": b"onnx" * 100}
SECRET = "hf_" + "s" * 34

VERSIONS = ALL_HUB_VERSIONS if IS_MATRIX else HUB_VERSIONS if "LLMPT_TEST_HUB_VERSIONS" in os.environ else ("",)
# Both sides of what huggingface_hub does with a listing that it is told not to keep.
PART_VERSIONS = ("1.25.0", "1.26.0", *ALL_HUB_VERSIONS) if IS_MATRIX else VERSIONS
REFUSED = ("1.25.0",)


def python(version: str) -> Path:
    """The Python of an environment; "" is this one."""
    return environment(version) if version else Path(sys.executable)


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("endpoint") / "lan", LLMPT_REPOS="*") as running:
        for (kind, name), files in REPOS.items():
            refs = ODD_REFS if name == "acme/odd" else ("main",)
            commit = running.hub.add(name, files, repo_type=kind, refs=refs)
            folder = running.mirror(name, repo_type=kind)
            for ref in refs:
                (folder / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
                (folder / "refs" / ref).write_text(commit)
        for kind, name in REPOS:
            eventually(partial(is_whole, running, name, kind), timeout_s=60, what=f"{name} is published")
        running.seeded("acme/tiny")
        yield running


def manifest(lan: Lan, name: str, kind: str = "model") -> Manifest | None:
    """What the catalogue knows of a repo's `main`; None: nothing."""
    try:
        return Catalogue(lan.catalogue).manifest(RepoRef(kind, name), "main")
    except TrackerRefused:
        return None


def is_whole(lan: Lan, name: str, kind: str) -> bool:
    found = manifest(lan, name, kind)
    return found is not None and found.complete


def run(lan: Lan, version: str, program: str, *arguments: str, url: str, **environ: str) -> Any:
    """Run a program of tests/support on a machine of its own, whose Hub is at `url`; what it printed."""
    with Machine("client", tracker=None, hub=url, python=python(version), **environ) as machine:
        return json.loads(machine.run(str(SUPPORT / program), *arguments).stdout.splitlines()[-1])


def failures(said: dict[str, Any]) -> dict[str, str]:
    return {name: text for name, text in said.items() if isinstance(text, str) and "Error" in text.partition(":")[0]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "program", [("hub_calls.py", "acme/tiny", "model.safetensors"), ("hub_odd_calls.py",)], ids=lambda one: one[0]
)
def test_every_call_finds_here_what_it_finds_on_the_hub(lan: Lan, version: str, program: tuple[str, ...]) -> None:
    with ThreadPoolExecutor() as both:
        at_the_hub = both.submit(run, lan, version, *program, url=lan.hub.url)
        here = run(lan, version, *program, url=lan.tracker.url, HF_TOKEN=SECRET)
        on_the_hub = at_the_hub.result()
    assert failures(on_the_hub) == {}
    assert here == on_the_hub
    assert not [asked for asked in lan.hub.requests if asked.authorized and asked.path != "/api/whoami-v2"]
    assert SECRET not in lan.tracker.log.read_text() + lan.seeder.log.read_text()


PARTIAL = """
import json, sys
from pathlib import Path
from huggingface_hub import hf_hub_download, snapshot_download

tracker, hub, revision = sys.argv[1:]

def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())

def attempt(call, *arguments, **options):
    try:
        return files(call(*arguments, cache_dir="cache", revision=revision, **options))
    except Exception as error:
        return [type(error).__name__, str(error)]

said = {"part": attempt(snapshot_download, "acme/part", endpoint=tracker)}
for probe in ("adapter_config.json", "onnx/model.onnx"):
    said[probe] = attempt(hf_hub_download, "acme/part", probe, endpoint=tracker)[0]
said["kept"] = [str(path) for what in (".no_exist/*/*", "trees/*") for path in Path("cache").rglob(what)]
said["xet"] = [name for name in sys.modules if name.split(".")[0] == "hf_xet"]
said["full"] = attempt(snapshot_download, "acme/part", endpoint=hub)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def part(lan: Lan) -> str:
    """A commit of which the server's cache holds a part, and whose Hub nobody has reached so far; its id."""
    commit = CacheBuilder(lan.cache).repo("acme/part").commit(PART, lfs={"model.safetensors"})
    found = eventually(lambda: manifest(lan, "acme/part"), timeout_s=60, what="the part is published")
    assert not found.complete
    assert lan.hub.add("acme/part", FULL, commit=commit) == commit
    return commit


@pytest.mark.parametrize("version", PART_VERSIONS)
@pytest.mark.parametrize("by", ["main", "commit"])
def test_who_took_a_part_from_us_gets_the_whole_from_the_hub(lan: Lan, part: str, version: str, by: str) -> None:
    revision = part if by == "commit" else by
    with Machine("client", tracker=None, hub=lan.hub.url, python=python(version)) as machine:
        said = json.loads(machine.run("-c", PARTIAL, lan.tracker.url, lan.hub.url, revision).stdout.splitlines()[-1])
    if version in REFUSED:
        assert said["part"][0] == "RevisionNotFoundError"
        assert "1.26" in said["part"][1]
    else:
        assert said["part"] == sorted(PART)
    assert {"EntryNotFoundError", "RemoteEntryNotFoundError"} >= {said["adapter_config.json"], said["onnx/model.onnx"]}
    assert said["kept"] == []
    assert said["xet"] == []
    assert said["full"] == sorted(FULL)


LISTED = """
import json, sys
from pathlib import Path
from huggingface_hub import hf_hub_download, snapshot_download

tracker, hub = sys.argv[1:]

def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())

def attempt(**options):
    try:
        return files(snapshot_download("acme/listed", cache_dir="cache", **options))
    except Exception as error:
        return type(error).__name__

said = {"patterns": attempt(endpoint=tracker, allow_patterns=["*.json"]), "all": attempt(endpoint=tracker)}
said["believed absent"] = [path.name for path in Path("cache").rglob(".no_exist/*/*")]
said["later"] = attempt(endpoint=hub)
print(json.dumps(said))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_of_a_whole_listing_what_is_here_is_served_and_the_rest_is_not_denied(lan: Lan, version: str) -> None:
    if ("model", "acme/listed") not in lan.hub.repos:
        commit = lan.hub.add("acme/listed", FULL)
        CacheBuilder(lan.cache).repo("acme/listed").commit(PART, lfs={"model.safetensors"}, commit=commit)
        eventually(partial(is_whole, lan, "acme/listed", "model"), timeout_s=60, what="the listing is published")
    with Machine("client", tracker=None, hub=lan.hub.url, python=python(version)) as machine:
        said = json.loads(machine.run("-c", LISTED, lan.tracker.url, lan.hub.url).stdout.splitlines()[-1])
    assert said["patterns"] == ["config.json", "tokens/a.json"]
    assert said["all"] in ("EntryNotFoundError", "RemoteEntryNotFoundError")
    assert said["believed absent"] == []
    assert said["later"] == sorted(FULL)


@pytest.mark.parametrize(
    "target", ["/acme/odd/resolve/main/" + "a" * 10_000, "/acme/odd/resolve/%00/%ff", "/acme/odd/resolve/main/%2e%2e%2f%2e%2e"]
)
def test_a_name_that_cannot_be_is_no_error_of_the_servers(lan: Lan, target: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", lan.tracker.http_port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", target)
        assert 400 <= connection.getresponse().status < 500


@pytest.mark.parametrize("version", VERSIONS)
def test_with_the_hook_the_big_file_comes_from_the_swarm_and_the_rest_over_http(lan: Lan, version: str) -> None:
    with Machine("hooked", tracker=lan.tracker.url, hub=lan.tracker.url, python=python(version)) as machine:
        folder = machine.download("acme/tiny")
        assert {name: (folder / name).read_bytes() for name in REPOS["model", "acme/tiny"]} == REPOS["model", "acme/tiny"]
        (row,) = machine.status()["downloads"]
    assert (row["filename"], row["outcome"], row["bytes_from_lan"]) == ("model.safetensors", "done", len(BIG))


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    """Make one request and follow nothing, as the plainest of programs do; status, headers, body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()


def test_a_program_that_asks_for_one_byte_first_learns_all_from_it(lan: Lan) -> None:
    """As hf-hub in Rust does: commit and etag from the redirect, the size from the first byte."""
    status, told, _ = ask(f"{lan.tracker.url}/acme/tiny/resolve/main/model.safetensors", Range="bytes=0-0")
    file = lan.hub.file("acme/tiny", "model.safetensors")
    assert (status, told["etag"], told["x-linked-etag"]) == (302, f'"{file.etag}"', f'"{file.etag}"')
    assert told["x-repo-commit"] == lan.hub.repos["model", "acme/tiny"].refs["main"]
    status, told, first = ask(told["location"], Range="bytes=0-0")
    assert (status, told["content-range"], first) == (206, f"bytes 0-0/{len(BIG)}", BIG[:1])


def test_a_program_that_lists_by_commit_and_goes_on_in_the_middle_gets_the_file(lan: Lan) -> None:
    """As llama.cpp does: refs, the tree of the commit in one page, HEAD, and GET of what is missing."""
    url = lan.tracker.url
    (main,) = json.loads(ask(f"{url}/api/models/acme/tiny/refs")[2])["branches"]
    listed = json.loads(ask(f"{url}/api/models/acme/tiny/tree/{main['targetCommit']}?recursive=true")[2])
    (found,) = [one for one in listed if one["path"] == "model.safetensors"]
    at = f"{url}/acme/tiny/resolve/{main['targetCommit']}/model.safetensors"
    status, told, body = ask(at, "HEAD")
    assert (status, told["accept-ranges"], told["content-length"], body) == (200, "bytes", str(found["lfs"]["size"]), b"")
    there = ask(at, Range="bytes=1000000-")[1]["location"]
    status, _, rest = ask(there, Range="bytes=1000000-")
    assert (status, hashlib.sha256(BIG[:1_000_000] + rest).hexdigest()) == (206, found["lfs"]["oid"])


def test_a_file_over_50_gb_is_downloaded_although_the_library_takes_no_such_file_over_http(lan: Lan) -> None:
    """The size is a lie of this test's: nobody has room for the real thing."""
    etag = lan.hub.file("acme/odd", "small.bin").etag
    with Database(f"sqlite:///{lan.tracker.data / 'tracker.db'}") as database, database.writing() as session:
        repo = Repo(type="model", name="acme/huge")
        session.add(repo)
        session.flush()
        revision = Revision(repo_id=repo.id, commit="ab" * 20, complete=True, published_at=datetime.now(timezone.utc))
        session.add(revision)
        session.flush()
        session.add(Ref(repo_id=repo.id, name="main", revision_id=revision.id))
        session.add(File(revision_id=revision.id, path="huge.gguf", size=60_000_000_000, etag=etag, lfs=True))
    program = "from huggingface_hub import hf_hub_download\nprint(open(hf_hub_download('acme/huge', 'huge.gguf')).read())"
    with Machine("client", tracker=None, hub=lan.tracker.url) as machine:
        assert machine.script(program).endswith(REPOS["model", "acme/odd"]["small.bin"].decode())
