"""The libraries on top of huggingface_hub load from the swarm. Part of `make matrix`; those that need torch: `make torch-check`.

Every file of a repo gets a swarm here (LLMPT_MIN_BLOB_BYTES=1): a tokenizer is made of small ones.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import IS_MATRIX, NEWEST_HUB_VERSION
from tests.support import libraries, minilm
from tests.support.environments import environment
from tests.support.hub import Mode
from tests.support.lan import Lan
from tests.support.waiting import eventually

PROGRAM = Path(libraries.__file__)
PLAIN = ("transformers==5.23.0", "datasets==5.2.0")
WITH_TORCH = ("torch==2.13.0", "transformers==5.23.0", "sentence-transformers==6.2.0", "diffusers==0.42.1")
WAYS = ("closed", "unresolved")
TROUBLES = {"504": Mode(fail_status=504), "429": Mode(fail_status=429, retry_after_s=60), "silent": Mode(is_silent=True)}
TRIED = ("504", "silent") if os.environ.get("LLMPT_TEST_HUB_VERSIONS") == "others" else (*TROUBLES, *WAYS)  # all: `make matrix`
TABLE = "data/train-00000-of-00001.parquet"

matrix = pytest.mark.skipif(not IS_MATRIX, reason="installs 400 MB of libraries: `make matrix`")
torch = pytest.mark.skipif(os.environ.get("LLMPT_TEST_TORCH") != "1", reason="installs torch: `make torch-check`")


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("libraries") / "lan", LLMPT_MIN_BLOB_BYTES="1") as running:
        minilm.lay_out(running.root / "hub-cache")
        running.hub.add_cache(running.root / "hub-cache")
        running.mirror(minilm.REPO_ID)
        yield running


def seed(lan: Lan, repo_id: str, *, repo_type: str = "model") -> None:
    """Wait until every file of the repo that has a byte is published and seeded."""
    repo = lan.hub.repos[repo_type, repo_id]
    files = repo.commits[repo.refs["main"]].values()
    wanted = {file.etag for file in files if file.size}

    def all_seeded() -> bool:
        return {t.etag for t in lan.torrents(repo_id, repo_type=repo_type) if t.seeders} == wanted

    eventually(all_seeded, timeout_s=60, what=f"{repo_id} to be seeded")


def make(python: Path, what: str, target: Path) -> Any:
    """Have the library itself write what it is to load; return what it says of it."""
    made = subprocess.run([str(python), str(PROGRAM), what, str(target)], capture_output=True, text=True, timeout=300, check=True)
    return json.loads(made.stdout.splitlines()[-1])


def load(lan: Lan, python: Path, name: str, *, trouble: str = "") -> Any:
    """Load with a library on a machine of its own; what it loaded. No byte of a file comes from the Hub.

    `trouble` is how the Hub fails from the start, or the way to it: then it is asked once at most.
    """
    lan.hub.forget()
    way = trouble if trouble in WAYS else ""
    with lan.machine(name[:8], python=python, LLMPT_MIN_BLOB_BYTES="1", LLMPT_TEST_WAY=way) as machine, failing(lan, trouble):
        said = machine.run(str(PROGRAM), name).stdout
        rows = machine.status()["downloads"]
    assert rows
    assert {row["outcome"] for row in rows} == {"done"}
    assert lan.hub.byte_gets == 0
    assert not trouble or len(of_library(lan)) <= 1
    return json.loads(said.splitlines()[-1])[name]


@matrix
def test_transformers_loads_a_configuration_and_a_tokenizer(lan: Lan) -> None:
    seed(lan, minilm.REPO_ID)
    loaded = load(lan, environment(NEWEST_HUB_VERSION, beside=PLAIN), "transformers")
    assert loaded == {"model_type": "bert", "tokens": [101, 1037, 4248, 4419, 102]}


@matrix
def test_datasets_loads_a_table(lan: Lan, tmp_path: Path) -> None:
    python = environment(NEWEST_HUB_VERSION, beside=PLAIN)
    expected = table(lan, python, tmp_path)
    assert load(lan, python, "datasets") == expected


@contextmanager
def failing(lan: Lan, trouble: str) -> Iterator[None]:
    lan.hub.mode = TROUBLES.get(trouble, Mode())
    try:
        yield
    finally:
        lan.hub.mode = Mode()


@matrix
@pytest.mark.parametrize("trouble", TRIED)
def test_libraries_load_all_the_same_from_a_hub_that_fails_from_the_start(lan: Lan, tmp_path: Path, trouble: str) -> None:
    python = environment(NEWEST_HUB_VERSION, beside=PLAIN)
    expected = table(lan, python, tmp_path)
    answered_for(lan, (minilm.REPO_ID, "model"), ("org/table", "dataset"))
    assert load(lan, python, "transformers", trouble=trouble) == {"model_type": "bert", "tokens": [101, 1037, 4248, 4419, 102]}
    assert load(lan, python, "datasets", trouble=trouble) == expected


def answered_for(lan: Lan, *repos: tuple[str, str]) -> None:
    """Wait until the LAN answers for repos."""
    for repo, kind in repos:
        eventually(partial(lan.answers_for, repo, kind), timeout_s=60, what=f"the LAN to answer for {repo}")


def of_library(lan: Lan) -> list[str]:
    """What a library asked of the Hub about the repos: not about itself, and not the agent's sample of the day."""
    asked = [one.raw_path for one in lan.hub.requests if not one.program.startswith("llmpt")]
    return [path for path in asked if minilm.REPO_ID in path or "org/table" in path]


def table(lan: Lan, python: Path, folder: Path) -> Any:
    """Have a dataset on the Hub and seeded; return what it holds."""
    expected = make(python, "table", folder / "table.parquet")
    files = {TABLE: (folder / "table.parquet").read_bytes(), "README.md": b"# A table\n"}
    lan.hub.add("org/table", files, repo_type="dataset")
    lan.mirror("org/table", repo_type="dataset")
    seed(lan, "org/table", repo_type="dataset")
    return expected


@torch
@pytest.mark.parametrize("trouble", ["", *TROUBLES, *WAYS])
def test_models_load_and_work_whether_or_not_the_hub_answers(lan: Lan, trouble: str) -> None:
    seed(lan, minilm.REPO_ID)
    answered_for(lan, (minilm.REPO_ID, "model"))
    python = environment(NEWEST_HUB_VERSION, beside=WITH_TORCH)
    assert load(lan, python, "auto_model", trouble=trouble) == {"model_type": "bert", "shape": [1, 5, 384]}
    loaded = load(lan, python, "sentence_transformers", trouble=trouble)
    assert loaded["dimensions"] == 384
    assert loaded["near"] > 0.5 > loaded["far"]


@torch
def test_diffusers_loads_a_model(lan: Lan, tmp_path: Path) -> None:
    python = environment(NEWEST_HUB_VERSION, beside=WITH_TORCH)
    expected = make(python, "unet", tmp_path / "unet")
    lan.hub.add("org/unet", {path.name: path.read_bytes() for path in (tmp_path / "unet").iterdir()})
    lan.mirror("org/unet")
    seed(lan, "org/unet")
    assert load(lan, python, "diffusers") == expected
