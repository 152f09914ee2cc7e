"""What the catalogue knows of a revision of which the server's cache holds a part: real tracker, seeder and Hub API."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from dataclasses import replace

import pytest

from llmpt.core.errors import TrackerRefused
from llmpt.core.repo import RepoRef
from llmpt.tracker.catalogue import Catalogue, Manifest
from tests.support.cache_builder import CacheBuilder
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually

README = b"---\nlicense: mit\nlanguage: no\n---\n# A model\n"


@pytest.fixture(scope="module")
def shared_lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """Its seeder shares everything, as on a site without Internet; what the Hub lists it asks for all the same, once."""
    with Lan(tmp_path_factory.mktemp("lan") / "lan", LLMPT_REPOS="*") as running:
        yield running


def known(lan: Lan, repo: str) -> Manifest | None:
    try:
        return Catalogue(lan.catalogue).manifest(RepoRef("model", repo), "main")
    except TrackerRefused:
        return None


def test_a_part_in_the_cache_and_the_list_of_the_hub_are_a_whole_listing(lan: Lan, repo: str) -> None:
    files = {"model.bin": os.urandom(2 * BIG), "other.bin": os.urandom(3 * BIG), "README.md": README, "sub/x.json": b"{}"}
    commit = lan.hub.add(repo, files)
    here = ("model.bin", "README.md")
    CacheBuilder(lan.cache).repo(repo).commit({path: files[path] for path in here}, lfs={"model.bin"}, commit=commit)

    def whole() -> Manifest | None:
        found = known(lan, repo)
        return found if found and found.complete and len([file for file in found.files if file.here]) == 2 else None

    manifest = eventually(whole, timeout_s=30, what="the whole listing")
    assert manifest is not None
    assert {file.path.value: file.here for file in manifest.files} == {path: path in here for path in files}
    assert {file.path.value: file.etag.value for file in manifest.files} == {
        path: lan.hub.file(repo, path).etag for path in files
    }
    assert manifest.commit.value == commit
    asked = [request for request in lan.hub.requests if "/tree/" in request.raw_path]
    assert [request.authorized for request in asked] == [False]
    with lan.machine("ann") as ann:
        shown = ann.llmpt("ls", "--repo", repo)
        assert "whole listing, 2 of 4 files here" in shown
        assert shown.count("not here") == 2
        assert "2 of 4" in ann.llmpt("ls", repo.removeprefix("org/"))


def test_what_huggingface_hub_leaves_of_a_part_is_enough_for_the_whole_listing(lan: Lan, ann: Machine, repo: str) -> None:
    files = {"model.bin": os.urandom(2 * BIG), "config.json": b"{}", "sub/README.md": b"# no card\n"}
    lan.hub.add(repo, files)
    code = f"""
        from huggingface_hub import hf_hub_download, snapshot_download
        snapshot_download({repo!r}, allow_patterns="*.json")
        try:
            hf_hub_download({repo!r}, "adapter_config.json")
        except OSError as error:
            print(type(error).__name__)
    """
    said = ann.script(textwrap.dedent(code), HF_HUB_CACHE=str(lan.cache), HF_USE_P2P="0")
    assert "EntryNotFoundError" in said
    manifest = eventually(lambda: known(lan, repo), timeout_s=30, what="what is known of it")
    assert manifest is not None
    assert manifest.complete
    assert {file.path.value: file.here for file in manifest.files} == {path: path == "config.json" for path in files}
    trees = [request for request in lan.hub.requests if "/tree/" in request.raw_path]
    assert len(trees) == 1  # the library's own question


def test_without_the_hub_a_part_is_known_in_part_and_nobody_waits(lan: Lan, repo: str) -> None:
    files = {"model.bin": os.urandom(2 * BIG), "other.bin": os.urandom(2 * BIG)}
    lan.hub.mode.fail_status = 503
    commit = lan.hub.add(repo, files)
    CacheBuilder(lan.cache).repo(repo).commit({"model.bin": files["model.bin"]}, lfs={"model.bin"}, commit=commit)
    manifest = eventually(lambda: known(lan, repo), timeout_s=30, what="what is known of it")
    assert manifest is not None
    assert (manifest.complete, [(file.path.value, file.here) for file in manifest.files]) == (False, [("model.bin", True)])
    eventually(lambda: any("/tree/" in request.raw_path for request in lan.hub.requests), what="the one question")
    again = known(lan, repo)
    assert again is not None
    assert replace(again, ref_age_s=None) == replace(manifest, ref_age_s=None)
