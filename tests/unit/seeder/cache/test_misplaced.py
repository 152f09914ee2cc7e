"""A folder that is named as the Hub cache, and is another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmpt_seeder.cache.misplaced import what_it_is
from tests.support.cache_builder import CacheBuilder
from tests.unit.seeder.fakes import Bench


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An HF_HOME with a repo in its cache."""
    cache = CacheBuilder(tmp_path / ".cache" / "huggingface" / "hub")
    cache.repo("org/name").commit({"config.json": b"{}", "model.bin": b"1" * 100}, lfs={"model.bin"}, refs=["main"])
    (tmp_path / ".cache" / "huggingface" / "token").touch()
    return tmp_path / ".cache" / "huggingface"


@pytest.mark.parametrize(
    ("named", "right"),
    [
        (".", "hub"),
        ("..", "hub"),
        ("hub/models--org--name", "hub"),
        ("hub/models--org--name/snapshots", "hub"),
        ("hub/models--org--name/blobs", "hub/models--org--name"),
    ],
)
def test_another_folder_of_the_library_is_named_with_the_one_to_take(home: Path, named: str, right: str) -> None:
    folder = (home / named).resolve()
    words = what_it_is(folder)
    assert words is not None
    assert words.startswith(f"HF_HUB_CACHE={str(folder)!r} is ")
    assert str(home / "hub") in words


def test_a_repo_that_is_mounted_as_the_cache_is_known_by_what_is_in_it(home: Path, tmp_path: Path) -> None:
    (home / "hub" / "models--org--name").rename(tmp_path / "cache")
    assert "the folder of one repo" in (what_it_is(tmp_path / "cache") or "")


@pytest.mark.parametrize("content", [lambda folder: None, lambda folder: (folder / ".locks").mkdir(), CacheBuilder])
def test_a_cache_that_is_empty_still_is_no_mistake(tmp_path: Path, content: Callable[[Path], object]) -> None:
    content(tmp_path)
    assert what_it_is(tmp_path) is None


def test_models_that_lie_there_as_plain_files_are_no_cache(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert "a folder without any repo" in (what_it_is(tmp_path) or "")


def test_the_page_shows_it_until_a_repo_is_there(cache: CacheBuilder, bench: Bench) -> None:
    below = CacheBuilder(cache.root / "hub")
    below.repo("org/name").commit({"config.json": b"{}"})
    bench.work()
    assert "HF_HUB_CACHE" in bench.problems()
    cache.repo("org/name").commit({"config.json": b"{}"})
    bench.work()
    assert bench.problems() == "[]"
