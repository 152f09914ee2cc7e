"""Files, folders and repos in the JSON of the Hub's API.

The listing of a commit is kept by huggingface_hub from 1.22 on, forever. So of a revision that is known in part:
1.22 to 1.25 get none (they could not be told), and from 1.26 on one file of it carries `"xetHash": "partial"`, which is no
hash of Xet's: that file comes over HTTP as ever, and the listing is used, but not kept. It is put only into the listing that
`snapshot_download` asks for (recursive, by commit).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha1
from typing import Any

Json = dict[str, Any]

PARTIAL = "partial"
_FOLDER_OID = "0" * 40
_VERSION = re.compile(r"\bhf_hub/(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a revision.

    `lfs`: it is kept outside git, and its etag is a SHA-256.
    `swarm`: the truncated info-hash in hex, or None.
    """

    path: str
    size: int
    etag: str
    lfs: bool
    swarm: str | None

    @property
    def pointer(self) -> bytes:
        """What git has in place of an LFS file."""
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.etag}\nsize {self.size}\n".encode()

    @property
    def oid(self) -> str:
        """Git's SHA-1: of the content, or of an LFS file's pointer."""
        if not self.lfs:
            return self.etag
        pointer = self.pointer
        return sha1(b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False).hexdigest()


def hub_version(user_agent: str) -> tuple[int, int] | None:
    """Return the version of huggingface_hub that asks; None: it is another client."""
    match = _VERSION.search(user_agent[:1000])
    return (int(match[1][:6]), int(match[2][:6])) if match else None


def entry(file: HubFile, commit: Json | None = None) -> Json:
    """Return a file as `tree` and `paths-info` show it; `commit`: the last commit, for requests that ask for it."""
    shown: Json = {"type": "file", "path": file.path, "size": file.size, "oid": file.oid}
    if file.lfs:
        shown["lfs"] = {"oid": file.etag, "size": file.size, "pointerSize": len(file.pointer)}
    return shown | ({"lastCommit": commit} if commit else {})


def folder(path: str, commit: Json | None = None) -> Json:
    """Return a folder as `tree` and `paths-info` show it."""
    return {"type": "directory", "path": path, "oid": _FOLDER_OID, "size": 0} | ({"lastCommit": commit} if commit else {})


def sibling(file: HubFile, *, blobs: bool) -> Json:
    """Return a file as `info` lists it; `blobs`: with sizes and hashes."""
    shown: Json = {"rfilename": file.path}
    if blobs:
        shown |= {"size": file.size, "blobId": file.oid}
        if file.lfs:
            shown["lfs"] = {"sha256": file.etag, "size": file.size, "pointerSize": len(file.pointer)}
    return shown


def tree(files: Sequence[HubFile], *, below: str, recursive: bool, commit: Json | None) -> list[Json]:
    """Return the entries of the folder `below` ("" for the root) by path, of all folders in it when `recursive`."""
    start = len(below) + 1 if below else 0
    entries: dict[str, Json] = {}
    for file in files:
        slash = file.path.find("/", start)
        if slash < 0 or recursive:
            entries[file.path] = entry(file, commit)
        while slash > 0:
            if file.path[:slash] not in entries:
                entries[file.path[:slash]] = folder(file.path[:slash], commit)
            slash = file.path.find("/", slash + 1) if recursive else -1
    return [entries[path] for path in sorted(entries)]


def mark_partial(entries: Iterable[Json]) -> None:
    """Keep huggingface_hub from keeping a listing: mark one file of it, rather one that is small and outside LFS."""
    found = [one for one in entries if one["type"] == "file"]
    if found:
        min(found, key=lambda one: ("lfs" in one, one["size"]))["xetHash"] = PARTIAL


def moment(when: datetime) -> str:
    """Write a moment as the Hub does."""
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
