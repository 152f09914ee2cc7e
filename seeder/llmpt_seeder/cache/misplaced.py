"""A folder that was named as the Hub cache, and is another one: what it is, and what to name instead.

HF_HUB_CACHE is the folder that holds models--org--name and the like: the folder `hub` of HF_HOME.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from llmpt.core.errors import InvalidName
from llmpt.core.repo import RepoRef

MOST_ENTRIES = 1000  # of a folder are looked at
OF_THE_LIBRARY = ("CACHEDIR.TAG", "version.txt")  # what huggingface_hub puts into a cache without a repo
_PARTS = {"blobs", "snapshots"}
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def what_it_is(folder: Path) -> str | None:
    """Say what a folder without a repo in it is, and what HF_HUB_CACHE is to be; None for a cache that is empty still."""
    names = set(_names(folder))
    if names >= _PARTS or ("refs" in names and names & _PARTS):
        return _wrong(folder, "the folder of one repo", f"the folder above it ({folder.parent})")
    if folder.name in _PARTS and names and all(_HEX.fullmatch(name) for name in names):
        return _wrong(folder, f"the folder {folder.name} of one repo", f"the folder two above it ({folder.parents[1]})")
    for below in _below(folder):
        if any(_is_repo(name) for name in _names(below)):
            return _wrong(folder, "a folder above a Hub cache (HF_HOME?)", str(below))
    if all(name.startswith(".") or name in OF_THE_LIBRARY for name in names):
        return None
    return _wrong(folder, "a folder without any repo", "the folder that holds models--… or datasets--…")


def _wrong(folder: Path, what: str, right: str) -> str:
    return f"HF_HUB_CACHE={str(folder)!r} is {what}: set HF_HUB_CACHE to {right}, or mount that in its place"


def _below(folder: Path) -> Iterator[Path]:
    """Yield the folders in a folder, and those in them, the likely ones first."""
    near = [folder / name for name in sorted(_names(folder), key=lambda name: (name != "hub", name))]
    yield from near
    for one in islice(near, 20):
        yield from (one / name for name in sorted(_names(one), key=lambda name: (name != "hub", name))[:20])


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in islice(folder.iterdir(), MOST_ENTRIES)]
    except OSError:
        return []


def _is_repo(name: str) -> bool:
    try:
        RepoRef.from_folder(name)
    except InvalidName:
        return False
    return "--" in name
