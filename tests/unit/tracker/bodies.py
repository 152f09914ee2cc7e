"""Builders of what a publisher sends. Contents are deterministic; their Merkle trees are made up, which nobody can tell."""

from __future__ import annotations

import base64
from hashlib import sha1, sha256
from typing import Any

from llmpt.core import merkle
from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo

COMMIT = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
OTHER_COMMIT = "1cb88a4f764b7a12671c53f0838cd831a0843b95"
MIB = 1 << 20


def torrent(name: str, size: int = 3 * MIB) -> Metainfo:
    """Return the metainfo of a blob that `name` stands for."""
    leaf = sha256(f"leaf of {name}".encode()).digest()
    return Metainfo.from_leaves(Etag(sha256(name.encode()).hexdigest()), size, leaf * merkle.leaf_count(size))


def packed(*torrents: Metainfo) -> list[str]:
    """Return torrents as they are sent."""
    return [base64.b64encode(one.encode()).decode() for one in torrents]


def big(path: str, meta: Metainfo) -> dict[str, Any]:
    """Return the manifest's line of a file that has a swarm."""
    return {"path": path, "size": meta.size, "etag": meta.etag.value, "lfs": True}


def small(path: str, size: int = 612) -> dict[str, Any]:
    """Return the manifest's line of a file without one."""
    return {"path": path, "size": size, "etag": sha1(path.encode()).hexdigest(), "lfs": False}


def elsewhere(line: dict[str, Any]) -> dict[str, Any]:
    """Return the line of a file that the publisher knows of and does not have."""
    return {**line, "here": False}


def manifest(*files: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the body of a publish that names `files`."""
    body = {"repo_type": "model", "repo_id": "org/name", "commit": COMMIT, "refs": ["main"], "complete": True}
    return {**body, "files": list(files), **changes}


def report(**changes: Any) -> dict[str, Any]:
    """Return the body of a heartbeat."""
    figures = {"port": 6881, "version": "0.1.0", "blobs": 3, "bytes": 5000, "uploaded_bytes": 0, "upload_rate_bytes_s": 0}
    return {**figures, **changes}
