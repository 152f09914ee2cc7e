"""The Hub's client for JavaScript, which knows our endpoint by its address alone, finds there what it finds at the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from tests.support import javascript
from tests.support.lan import Lan

REPO, BIG = "acme/dummy-model", "dummy_model.bin"
FILES = {BIG: os.urandom(3_000_000), "config.json": b'{"architectures": []}\n', "nested/folder/README.md": b"# Dummy\n"}


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    javascript.modules()
    with Lan(tmp_path_factory.mktemp("javascript") / "lan") as running:
        running.hub.add(REPO, FILES)
        running.mirror(REPO)
        running.seeded(REPO)
        yield running


@pytest.fixture(scope="module")
def from_the_hub(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return javascript.calls(lan.hub.url, REPO, BIG, tmp_path_factory.mktemp("from-the-hub"))


@pytest.fixture(scope="module")
def from_the_lan(lan: Lan, from_the_hub: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    lan.hub.forget()
    return javascript.calls(lan.tracker.url, REPO, BIG, tmp_path_factory.mktemp("from-the-lan"))


def test_every_call_has_the_same_result_as_at_the_hub(from_the_hub: dict[str, Any], from_the_lan: dict[str, Any]) -> None:
    assert from_the_lan == from_the_hub


def test_a_snapshot_holds_the_files_and_the_hub_gave_no_byte_of_them(lan: Lan, from_the_lan: dict[str, Any]) -> None:
    assert from_the_lan["snapshot_download"] == {path: sha256(content).hexdigest() for path, content in FILES.items()}
    assert lan.hub.byte_gets == 0


def test_a_part_of_a_file_is_that_part(from_the_lan: dict[str, Any]) -> None:
    assert from_the_lan["download_a_part"] == sha256(FILES[BIG][1_000_000:1_100_000]).hexdigest()
