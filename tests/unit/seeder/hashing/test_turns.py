"""Whose files are read next, and how many at once."""

from __future__ import annotations

import os
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.cache.contents import BlobFile
from llmpt_seeder.hashing.turns import BatchLimits, Turns
from tests.support.cache_builder import git_sha1

LIMITS = BatchLimits(files=4, size=1000)


def blob(name: str, size: int) -> BlobFile:
    stamp = FileStamp.of(os.stat_result((0o100644, 1, 1, 1, 0, 0, size, 0, 0, 0)))
    return BlobFile(Etag(git_sha1(name.encode())), Path(f"/{name}"), stamp)


def batches(turns: Turns) -> list[list[str]]:
    found = []
    while batch := turns.next_batch():
        found.append([file.path.name for file in batch])
    return found


def test_an_unrelated_model_waits_for_one_batch_of_a_repo_of_many_small_files() -> None:
    turns = Turns(LIMITS)
    for number in range(10):
        turns.add(blob(f"s{number}", 10), "many")
    turns.add(blob("model", 5_000_000), "model")
    assert batches(turns) == [["s0", "s1", "s2", "s3"], ["model"], ["s4", "s5", "s6", "s7"], ["s8", "s9"]]


def test_a_batch_is_counted_in_bytes_and_in_files() -> None:
    turns = Turns(LIMITS)
    for name, size in (("a", 600), ("b", 400), ("c", 1), ("big", 5000), ("d", 1)):
        turns.add(blob(name, size), "repo")
    assert batches(turns) == [["a", "b"], ["c"], ["big"], ["d"]]


def test_what_waits_is_counted() -> None:
    turns = Turns(LIMITS)
    for name in ("a", "b", "c"):
        turns.add(blob(name, 100), "repo")
    turns.add(blob("b", 50), "repo")  # it is another by now
    turns.drop(blob("c", 100))
    turns.drop(blob("never", 1))
    assert (turns.files, turns.size) == (2, 150)
    assert batches(turns) == [["a", "b"]]
    assert (turns.files, turns.size) == (0, 0)


def test_a_suspect_is_read_alone() -> None:
    turns = Turns(LIMITS)
    turns.add(blob("a", 1), "repo")
    turns.add(blob("suspect", 1), "repo", alone=True)
    turns.add(blob("b", 1), "repo")
    assert batches(turns) == [["a"], ["suspect"], ["b"]]
