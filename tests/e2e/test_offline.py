"""No Hub anywhere: every kind of client finds at the server what it would have found at the Hub, with our hook and without it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.worlds import MINILM, Offline
from tests.support import hub_calls, javascript, libraries, minilm
from tests.support.cache_builder import CacheBuilder
from tests.support.containers import Client
from tests.support.hub import FakeHub
from tests.support.machine import quiet_environment

REPO, BIG = "acme/dummy-model", "dummy_model.bin"
FILES = {BIG: os.urandom(5_000_000), "config.json": b'{"architectures": ["Dummy"]}\n', "nested/folder/README.md": b"# Dummy\n"}
TABLE = "data/train-00000-of-00001.parquet"
HUB_VERSIONS = [kind for kind in Offline.KINDS if kind != "libraries"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> CacheBuilder:
    made = CacheBuilder(tmp_path_factory.mktemp("offline") / "hub")
    minilm.lay_out(made.root)
    return made


@pytest.fixture(scope="module")
def commit(cache: CacheBuilder) -> str:
    return cache.repo(REPO).commit(FILES, lfs={BIG}, listing=True)


@pytest.fixture(scope="module")
def offline(docker_engine: Any, images: None, cache: CacheBuilder, commit: str) -> Iterator[Offline]:
    made = Offline(docker_engine, cache.root)
    with made.compose:
        made.start()
        made.wait_for(REPO, 1)
        made.wait_for(MINILM.repo_id, len(MINILM.big))
        yield made


@pytest.fixture(scope="module")
def from_a_hub(commit: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the same calls find at a Hub that has this repo."""
    home = tmp_path_factory.mktemp("calls")
    with FakeHub() as hub:
        hub.add(REPO, FILES, commit=commit)
        told = quiet_environment() | {"HOME": str(home), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": hub.url, "HF_USE_P2P": "0"}
        command = [sys.executable, hub_calls.__file__, REPO, BIG]
        done = subprocess.run(command, env=told, cwd=home, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("version", HUB_VERSIONS)
def test_without_our_hook_every_call_finds_what_it_would_find_at_the_hub(
    offline: Offline, from_a_hub: dict[str, Any], version: str
) -> None:
    client = offline.clients[version]
    assert client.program("hub_calls.py", REPO, BIG, hook=False) == from_a_hub
    assert client.downloads(REPO) == {}


@pytest.mark.parametrize("version", HUB_VERSIONS)
def test_with_our_hook_they_find_the_same_and_the_bytes_come_from_the_swarm(
    offline: Offline, from_a_hub: dict[str, Any], version: str
) -> None:
    client = offline.clients[version]
    assert client.program("hub_calls.py", REPO, BIG) == from_a_hub
    rows = [row for row in client.status()["downloads"] if row["repo_id"] == REPO]
    assert {row["outcome"] for row in rows} == {"done"}
    assert sum(row["bytes_from_lan"] for row in rows) >= len(FILES[BIG])


@pytest.mark.parametrize("hook", [False, True], ids=["without", "with our hook"])
def test_a_real_model_loads(offline: Offline, hook: bool) -> None:
    client = offline.clients["libraries"]
    loaded = client.program("libraries.py", "transformers", "safetensors", hook=hook)
    assert loaded["transformers"] == {"model_type": "bert", "tokens": [101, 1037, 4248, 4419, 102]}
    assert loaded["safetensors"] == {"tensors": 104, "parameters": 22_713_728}
    rows = client.downloads(MINILM.repo_id)
    assert {path: (row["outcome"], row["bytes_from_lan"]) for path, row in rows.items()} == (
        {path: ("done", size) for path, (size, _) in MINILM.big.items()} if hook else {}
    )


@pytest.fixture(scope="module")
def table(offline: Offline, cache: CacheBuilder) -> Any:
    """A dataset of one parquet file, made by the library that is to load it; what is in it."""
    client = offline.clients["libraries"]
    made = client.program("libraries.py", "table", "/tmp/table.parquet")
    content = client.read("/tmp/table.parquet")
    cache.repo(libraries.DATASET, "dataset").commit({TABLE: content, "README.md": b"# A table\n"}, lfs={TABLE}, listing=True)
    offline.wait_for(libraries.DATASET, 1, "dataset")
    return made


@pytest.mark.parametrize("hook", [False, True], ids=["without", "with our hook"])
def test_a_dataset_loads_whole_and_as_a_stream(offline: Offline, table: Any, hook: bool) -> None:
    client = offline.clients["libraries"]
    assert client.program("libraries.py", "datasets", "streaming", hook=hook) == {"datasets": table, "streaming": table}
    assert len(client.downloads(libraries.DATASET)) == int(hook)


def test_curl_follows_and_resumes(offline: Offline) -> None:
    client = offline.clients["2.4.0"]
    url = f"http://tracker:8000/{REPO}/resolve/main/{BIG}"
    curl = "curl --silent --show-error --fail --location --output /tmp/by-curl"
    client.run("sh", "-c", f"{curl} --range 0-1999999 {url} && {curl} --continue-at - {url}")
    assert client.read("/tmp/by-curl") == FILES[BIG]


def test_a_client_in_javascript_needs_the_address_and_nothing_else(offline: Offline, commit: str) -> None:
    modules = javascript.modules()
    client = offline.clients["libraries"]
    offline.compose("cp", "--index", str(Offline.KINDS.index("libraries") + 1), f"{modules}/.", "client:/tmp/javascript")
    found = client.program("hub_calls.mjs", "/tmp/javascript", "http://tracker:8000", REPO, BIG, "/tmp/by-javascript")
    etag = hashlib.sha256(FILES[BIG]).hexdigest()
    assert found["file_exists"] == [True, False]
    assert found["file_download_info"] == [len(FILES[BIG]), etag, None, None]
    assert found["download_file"] == [len(FILES[BIG]), etag]
    assert found["model_info"] == [REPO, commit, False]
    assert found["list_models"] == [REPO]
    assert found["snapshot_download"] == {path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()}


def test_what_a_client_says_of_itself_is_in_no_log(offline: Offline) -> None:
    client: Client = offline.clients["2.4.0"]
    client.program("hub_calls.py", REPO, BIG, HF_TOKEN="hf_a_token_of_somebody", HF_HUB_DISABLE_IMPLICIT_TOKEN="0")
    assert "hf_a_token" not in offline.compose("logs", "tracker", "seeder")
