"""Another user may write into the cache: what the seeder reads of it is a file with an end, or it is not read."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from llmpt_seeder.cache.listing import read_listing
from llmpt_seeder.cache.scanner import scan
from tests.support.cache_builder import CacheBuilder

NO_NUMBER = b'{"format_version": 1, "files": {"a": {"blob_id": "%s", "size": Infinity}}}' % (b"a" * 40)
PLANTS: dict[str, Callable[[Path], object]] = {
    "a pipe": lambda path: os.mkfifo(path),
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
    "deep JSON": lambda path: path.write_bytes(b'{"format_version": 1, "files": ' + b"[" * 100_000),
    "a number that is none": lambda path: path.write_bytes(
        b'{"format_version": 1, "files": {"a": {"blob_id": "%s", "size": Infinity}}}' % (b"a" * 40)
    ),
    "many values": lambda path: path.write_bytes(b'{"format_version": 1, "files": [' + b"[]," * 2_100_000 + b"[]]}"),
}


def ends(work: Callable[[], object]) -> object:
    """Return what the work returns, which it does soon."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "it is still being read"
    return found[0]


@pytest.mark.parametrize("plant", PLANTS)
def test_a_prepared_index_in_a_shared_cache_holds_nothing_up(plant: str, tmp_path: Path) -> None:
    cache = CacheBuilder(tmp_path / "hub")
    repo = cache.repo("org/model")
    commit = repo.commit({"model.bin": b"weights" * 100}, lfs={"model.bin"}, listing=True)
    folder = cache.root / "models--org--model"
    for path in (folder / "trees" / f"{commit}.json", folder / "refs" / "main"):
        path.unlink(missing_ok=True)
        PLANTS[plant](path)
    assert ends(lambda: read_listing(folder / "trees" / f"{commit}.json")) is None
    assert ends(lambda: [snapshot.refs for repo in scan(cache.root) for snapshot in repo.snapshots]) == [()]
