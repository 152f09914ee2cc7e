"""One repo of a Hub cache, written as huggingface_hub writes it: blobs, snapshots of relative links, refs, listings.

Whatever is there and right stays as it is. All names were checked where they came in.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from llmpt.archive.disk import write_whole
from llmpt.core.blob import Etag
from llmpt.core.documents import read_json
from llmpt.core.errors import ContentMismatch, LlmptError
from llmpt.core.repo import Commit, RefName, RepoPath, RepoRef
from llmpt.disk.copying import copy_blob
from llmpt.disk.verification import verify_file
from llmpt.identity.statement import Signature
from llmpt.tracker.catalogue import Manifest

TREE_FORMAT = 1
MAX_REF_BYTES = 4096
MAX_SIGNATURES_BYTES = 1 << 20
MAX_SIGNATURES = 7  # and the one of the server that exports


class Occupied(LlmptError):
    """Something else lies where a file of the revision should: it stays."""


class CachedRepo:
    """The folder of `ref` in the Hub cache at `cache`."""

    def __init__(self, cache: Path, ref: RepoRef) -> None:
        self.folder = cache / ref.folder

    def blob(self, etag: Etag) -> Path:
        return self.folder / "blobs" / etag.value

    def holds(self, etag: Etag, size_bytes: int) -> bool:
        """Read the blob that is there; whether its content is right."""
        try:
            if self.blob(etag).stat().st_size != size_bytes:
                return False
            verify_file(self.blob(etag), etag, size_bytes)
        except (ContentMismatch, OSError):
            return False
        return True

    def seems_to_hold(self, etag: Etag, size_bytes: int) -> bool:
        """Whether a blob of that name and size is there; its content is not looked at."""
        try:
            return self.blob(etag).stat().st_size == size_bytes
        except OSError:
            return False

    def put(self, etag: Etag, size_bytes: int, source: int, on_copied: Callable[[int], None]) -> None:
        """Copy a blob in from an open file, verified as it passes; raise `ContentMismatch` (nothing changes) or `OSError`."""
        temporary = self.blob(etag).with_name(f"{etag}.{secrets.token_hex(4)}.incomplete")  # two may import at once
        temporary.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            copy_blob(source, target, etag, size_bytes, on_copied=on_copied)
            temporary.replace(self.blob(etag))
        finally:
            os.close(target)
            temporary.unlink(missing_ok=True)

    def link(self, commit: Commit, path: RepoPath, etag: Etag) -> None:
        """Let a path of a snapshot lead to its blob; raise `Occupied` when something else is there."""
        entry = self.folder / "snapshots" / commit.value / path.value
        target = "../" * (path.value.count("/") + 2) + f"blobs/{etag}"
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            entry.symlink_to(target)
        except (FileExistsError, NotADirectoryError):
            if not self._leads_to(entry, etag):
                raise Occupied(f"{entry} is there already, and something else; it was left as it is") from None

    def _leads_to(self, entry: Path, etag: Etag) -> bool:
        """Whether an entry of a snapshot is that blob: by a link that leads there, or by its content."""
        try:
            if entry.is_symlink() and entry.samefile(self.blob(etag)):
                return True
            verify_file(entry, etag, entry.stat().st_size)
        except (ContentMismatch, OSError):
            return False
        return True

    def pointed(self, ref: RefName) -> str | None:
        """Return what a ref names now; None: it is not there."""
        try:
            with (self.folder / "refs" / ref.value).open("rb") as file:
                return file.read(MAX_REF_BYTES).decode().strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def point(self, ref: RefName, commit: Commit) -> str | None:
        """Let a ref name the commit; return the other commit that it named before, if any."""
        before = self.pointed(ref)
        if before == commit.value:
            return None
        write_whole(self.folder / "refs" / ref.value, commit.value.encode())
        return before

    def keep_signatures(self, commit: Commit, signatures: Iterable[Signature]) -> None:
        """Keep who vouched for a commit: an export from here carries that along."""
        rows = [one.as_json() for one in signatures]
        write_whole(self._signatures_file(commit), json.dumps({"signatures": rows}, indent=1).encode())

    def signatures(self, commit: Commit) -> list[Signature]:
        """Return what was kept; it is not verified."""
        try:
            with self._signatures_file(commit).open("rb") as file:
                rows = read_json(file.read(MAX_SIGNATURES_BYTES + 1), most_bytes=MAX_SIGNATURES_BYTES)["signatures"]
            return [Signature.parse(row) for row in rows[:MAX_SIGNATURES]]
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def _signatures_file(self, commit: Commit) -> Path:
        return self.folder / "signatures" / f"{commit}.json"

    def list_files(self, manifest: Manifest) -> None:
        """Write the whole listing of a commit, unless there is one; other users, such as a seeder, may read it."""
        target = self.folder / "trees" / f"{manifest.commit}.json"
        if target.exists():
            return
        entries: dict[str, dict[str, object]] = {}
        for file in manifest.files:
            entry: dict[str, object] = {"size": file.size_bytes, "blob_id": file.etag.value}
            if file.etag.is_sha256:
                entry |= {
                    "blob_id": _pointer_id(file.etag, file.size_bytes),
                    "lfs_sha256": file.etag.value,
                    "lfs_size": file.size_bytes,
                }
            entries[file.path.value] = entry
        document = {"format_version": TREE_FORMAT, "files": entries}
        write_whole(target, json.dumps(document, indent=1, sort_keys=True).encode(), mode=0o644)


def _pointer_id(sha256: Etag, size_bytes: int) -> str:
    """Return git's id of the pointer that stands for a file in LFS."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size_bytes}\n".encode()
    return hashlib.sha1(b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False).hexdigest()
