"""Hub caches made by hand: repos, commits, refs, LFS and git blobs, the shared store, leftovers and junk.

cache = CacheBuilder(tmp_path / "hub")
repo = cache.repo("org/model")
commit = repo.commit({"model.safetensors": b"…", "config.json": b"{}"}, lfs={"model.safetensors"}, refs=["main"])
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from llmpt.core.repo import RepoRef


def git_sha1(data: bytes) -> str:
    """Return the etag of a file that is not in LFS."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def lfs_sha256(data: bytes) -> str:
    """Return the etag of a file in LFS or Xet."""
    return hashlib.sha256(data).hexdigest()


def commit_id(seed: object) -> str:
    """Make 40 hex digits out of anything."""
    return hashlib.sha1(repr(seed).encode(), usedforsecurity=False).hexdigest()


class CacheBuilder:
    """A Hub cache (`…/hub`) at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")

    def repo(self, repo_id: str, repo_type: str = "model") -> RepoBuilder:
        return RepoBuilder(self.root, RepoRef(repo_type, repo_id))


class RepoBuilder:
    """One repo folder."""

    def __init__(self, root: Path, ref: RepoRef) -> None:
        self.root, self.ref = root, ref
        self.folder = root / ref.folder

    def commit(
        self,
        files: Mapping[str, bytes],
        *,
        lfs: Collection[str] = (),
        refs: Collection[str] = ("main",),
        commit: str | None = None,
        listing: bool = False,
        unlisted: Mapping[str, bytes] | None = None,
        shared_store: bool = False,
    ) -> str:
        """Lay out a snapshot; return its commit.

        `lfs`: the paths whose etag is a SHA-256; `listing`: write trees/<commit>.json, which also names `unlisted` (files
        of the repo that were not downloaded); `shared_store`: LFS blobs lie in <cache>/blobs, two links away.
        """
        commit = commit or commit_id((self.ref, sorted(files.items()), tuple(refs)))
        for path, data in files.items():
            etag = self.blob(data, lfs=path in lfs, shared_store=shared_store and path in lfs)
            self.link(commit, path, etag)
        for name in refs:
            self.point(name, commit)
        if listing:
            self.list_files(commit, {**files, **(unlisted or {})}, lfs=lfs)
        return commit

    def blob(self, data: bytes, *, lfs: bool, shared_store: bool = False) -> str:
        """Put a blob there; return its etag."""
        etag = lfs_sha256(data) if lfs else git_sha1(data)
        target = self.folder / "blobs" / etag
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(target):
            return etag
        if shared_store:
            xet = lfs_sha256(b"xet" + data)
            (self.root / "blobs" / xet[:2]).mkdir(parents=True, exist_ok=True)
            (self.root / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
            stored = self.root / "blobs" / xet[:2] / xet
            stored.write_bytes(data)
            stored.chmod(0o444)
            target.symlink_to(f"../../blobs/{xet[:2]}/{xet}")
        else:
            target.write_bytes(data)
        return etag

    def link(self, commit: str, path: str, etag: str) -> Path:
        """Link a path of a snapshot to a blob, which need not exist."""
        entry = self.folder / "snapshots" / commit / path
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.symlink_to("../" * (2 + path.count("/")) + f"blobs/{etag}")
        return entry

    def point(self, ref: str, commit: str) -> None:
        """Let a ref name a commit, which need not have a snapshot."""
        file = self.folder / "refs" / ref
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(commit)

    def list_files(self, commit: str, files: Mapping[str, bytes], *, lfs: Collection[str] = ()) -> Path:
        """Write trees/<commit>.json as huggingface_hub does."""
        entries: dict[str, dict[str, object]] = {}
        for path, data in files.items():
            entries[path] = {"size": len(data), "blob_id": git_sha1(data)}
            if path in lfs:
                pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
                    lfs_sha256(data).encode(),
                    len(data),
                )
                entries[path] |= {"blob_id": git_sha1(pointer), "lfs_sha256": lfs_sha256(data), "lfs_size": len(data)}
        target = self.folder / "trees" / f"{commit}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps({"format_version": 1, "files": entries}, indent=1, sort_keys=True))
        return target

    def unlinked(self, commit: str, path: str, data: bytes) -> Path:
        """Put a real file into a snapshot: a cache without links, or somebody's dropping."""
        entry = self.folder / "snapshots" / commit / path
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_bytes(data)
        return entry

    def blob_path(self, etag: str) -> Path:
        return self.folder / "blobs" / etag

    def litter(self) -> None:
        """Leave what downloads, locks and other tools leave."""
        sha = "ab" * 32
        blobs = self.folder / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        for name in (
            f"{sha}.incomplete",
            f"{sha}.0a1b2c3d.incomplete",
            f"{sha}.downloadInProgress",
            f"{sha}.etag",
            f"{sha}.part",
            f"{sha}.sync.part",
            f"{sha}.lock",
            f".{sha}.0a1b2c3d.shared",
            f".{sha}.0a1b2c3d.new",
            "README",
        ):
            (blobs / name).write_bytes(b"junk")
        locks = self.root / ".locks" / self.ref.folder
        locks.mkdir(parents=True, exist_ok=True)
        (locks / f"{sha}.lock").touch()
        (self.folder / ".no_exist" / commit_id(0)).mkdir(parents=True)
        (self.folder / ".no_exist" / commit_id(0) / "adapter_config.json").touch()
        (self.root / "version.txt").write_text("1")
        (self.root / "tmpabc--def").mkdir(exist_ok=True)
