"""A listing: the Hub's own list of a commit's files. A commit is immutable, and so is its listing.

Here it is read from `trees/<commit>.json`, where huggingface_hub (1.22 and later) keeps it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.documents import read_json
from llmpt.core.errors import InvalidName
from llmpt.core.metainfo import MAX_BLOB_BYTES
from llmpt.core.repo import check_path
from llmpt.disk.opening import open_file

FORMAT_VERSION = 1
MAX_LISTING_BYTES = 256 << 20
MAX_PATH_BYTES = 2048  # what a tracker takes


@dataclass(frozen=True, slots=True)
class ListedFile:
    """What the Hub says of one file: its etag and its `size` in bytes."""

    etag: Etag
    size: int


Listing = Mapping[str, ListedFile]


def read_listing(path: Path) -> Listing | None:
    """Read the list; None when there is none, it cannot be read (it has mode 0600), or it has a form we don't know."""
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_LISTING_BYTES:
            return None
        return _read(path, facts.st_mtime_ns, facts.st_size, facts.st_ino)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, InvalidName):
        return None


@lru_cache(maxsize=4096)  # looked at every few seconds, and nearly never another
def _read(path: Path, *_stamp: int) -> Listing | None:
    with os.fdopen(open_file(path, follow=False), "rb") as file:
        document = read_json(file.read(MAX_LISTING_BYTES + 1), most_bytes=MAX_LISTING_BYTES)
    if document["format_version"] != FORMAT_VERSION:
        return None
    return checked({name: _listed(entry) for name, entry in document["files"].items()})


def checked(files: Listing) -> Listing:
    """Return `files` when they can be a commit's; raise `InvalidName` for a name or a size that cannot be, and when a file is a
    folder as well."""
    for path, listed in files.items():
        if not 0 <= listed.size <= MAX_BLOB_BYTES:
            raise InvalidName(f"{path!r:.200} has {listed.size} bytes")
        if len(check_path(path).encode()) > MAX_PATH_BYTES:
            raise InvalidName(f"a path of more than {MAX_PATH_BYTES} bytes: {path!r:.200}")
        slash = path.find("/")
        while slash > 0:
            if path[:slash] in files:
                raise InvalidName(f"{path[:slash]!r} is both a file and a folder")
            slash = path.find("/", slash + 1)
    return files


def _listed(entry: dict[str, Any]) -> ListedFile:
    if (sha256 := entry.get("lfs_sha256")) is not None:
        return ListedFile(Etag(sha256), int(entry.get("lfs_size", entry["size"])))
    return ListedFile(Etag(entry["blob_id"]), int(entry["size"]))
