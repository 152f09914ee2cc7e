"""The hook in place for a small library, and a program that downloads with it."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmpt.hook import patch
from tests.unit.client.hook.patch.world import ETAG, LIBRARY, SIZE, Agent, install


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def library() -> Iterator[Any]:
    module = types.ModuleType("file_download")
    vars(module).update(ETAG=ETAG, SIZE=SIZE)
    exec(compile(LIBRARY, "file_download", "exec"), vars(module))
    patch.disable()
    yield module
    patch.disable()


@pytest.fixture
def download(library: Any, agent: Agent, tmp_path: Path) -> Callable[..., Path]:
    install(library, agent, LLMPT_TRACKER="http://server:8000", XDG_CONFIG_HOME=str(tmp_path), LLMPT_QUIET="1")
    (tmp_path / "blobs").mkdir()

    def download(**more: Any) -> Path:
        return Path(
            library._hf_hub_download_to_cache_dir(
                cache_dir=tmp_path / "blobs", repo_id="org/m", repo_type="model", revision="main", filename="w.bin", **more
            )
        )

    return download
