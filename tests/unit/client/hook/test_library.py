"""What the hook knows of huggingface_hub's modules, in the shapes that its versions have."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from llmpt.hook.library import CHUNK, CHUNK_BYTES, Chunks, asked_without_token, constant, writes_as_it_comes

BEFORE = 10 * 1024 * 1024
XET = object()


def old(**names: Any) -> types.ModuleType:
    """Up to 0.24: the constants are names of the module itself."""
    module = types.ModuleType("file_download")
    vars(module).update({CHUNK: BEFORE, **names})
    return module


def new(**names: Any) -> types.ModuleType:
    module = types.ModuleType("file_download")
    module.constants = old(**names)  # type: ignore[attr-defined]
    return module


def step(module: types.ModuleType) -> Any:
    return constant(module, CHUNK, None)


@pytest.mark.parametrize("make", [old, new])
def test_the_step_of_a_download_is_small_for_a_while_and_then_the_same_object_again(make: Any) -> None:
    module = make()
    original = step(module)
    chunks = Chunks(module)
    for _ in range(2):
        chunks.put()
        assert step(module) == CHUNK_BYTES
    chunks.take_back()
    assert step(module) is original


@pytest.mark.parametrize("make", [old, new])
def test_it_stays_where_it_says_how_files_are_cut_into_parts(make: Any) -> None:
    module = make(HF_HUB_ENABLE_HF_TRANSFER=True)
    Chunks(module).put()
    assert step(module) == BEFORE
    assert not writes_as_it_comes(module)
    assert writes_as_it_comes(make(HF_HUB_ENABLE_HF_TRANSFER=False))


def test_what_somebody_else_has_set_stays() -> None:
    module = new()
    chunks = Chunks(module)
    chunks.put()
    module.constants.DOWNLOAD_CHUNK_SIZE = 5
    chunks.take_back()
    assert step(module) == 5
    small = old(**{CHUNK: 1000})
    Chunks(small).put()
    assert step(small) == 1000


def test_a_library_without_it_is_left_as_it_is() -> None:
    module = types.ModuleType("file_download")
    chunks = Chunks(module)
    chunks.put()
    chunks.take_back()
    assert not hasattr(module, CHUNK)


@pytest.mark.parametrize(
    ("asked", "answer", "without"),
    [
        ({"headers": {}}, ("u", "e", "c", 5, None, None), True),
        ({"headers": {"user-agent": "x"}}, ("u", "e", "c", 5, XET, None), True),
        ({"headers": {}}, ("u", "e", "c", 5, None), True),  # before 0.30
        ({"headers": {"Authorization": "Bearer hf_x"}}, ("u", "e", "c", 5, None, None), False),
        ({}, ("u", "e", "c", 5, None, None), False),
        ({"headers": {}, "tree_cache_folder": "/trees"}, ("u", "e", "c", 5, None, None), True),
        ({"headers": {}, "tree_cache_folder": "/trees"}, ("u", "e", "c", 5, XET, None), False),
    ],
)
def test_whether_the_hub_was_shown_a_token(asked: dict[str, Any], answer: tuple[Any, ...], without: bool, tmp_path: Path) -> None:
    assert asked_without_token(asked, answer, {"HOME": str(tmp_path)}) is without


def test_a_netrc_may_hold_a_token_that_the_library_sends_unseen(tmp_path: Path) -> None:
    answer = ("u", "e", "c", 5, None, None)
    (tmp_path / "elsewhere").touch()
    assert not asked_without_token({"headers": {}}, answer, {"HOME": "/nowhere", "NETRC": str(tmp_path / "elsewhere")})
    (tmp_path / ".netrc").touch()
    assert not asked_without_token({"headers": {}}, answer, {"HOME": str(tmp_path)})


def test_a_home_that_cannot_be_looked_into_has_no_netrc() -> None:
    answer = ("http://hub/f", "a" * 64, "c" * 40, 1, None, None)
    unreadable = "/" + "x" * 5000  # stat raises for it, as it does below a folder of another user
    assert asked_without_token({"headers": {}}, answer, {"HOME": unreadable})
