"""The folder that crosses an air gap, and what must be true of it.

    llmpt-export.json                      {"format": 1, "revisions": [...]}, for people and programs that look into it
    manifests/<repo folder>@<commit>.json  the files of a commit, which of them are in this folder, and who signed that
    blobs/<etag>                           content; a file has this name only after it was verified and is on the disk
    torrents/<etag>.torrent                the metainfo of what has a swarm

The reader believes nothing: no link is followed, every name is checked, every signature, and every blob against its etag.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpt.archive.disk import directory, file_below, write_whole
from llmpt.archive.stream import JsonStream
from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, LlmptError
from llmpt.core.files import real_path
from llmpt.core.repo import Commit, RefName, RepoPath, RepoRef
from llmpt.identity.statement import Content, Signature, files_sha256
from llmpt.tracker.catalogue import File, Manifest

FORMAT = 1
INDEX = "llmpt-export.json"
FOLDERS = ("blobs", "manifests", "torrents")
MAX_MANIFEST_BYTES = 64 << 20  # a tracker's answer, from which it is made, has 32 MiB at most
MAX_FILES = 300_000
MAX_SIZE = 1 << 60
MAX_MANIFESTS = 10_000
MAX_SIGNATURES = 8
HEAD_BYTES = 4096
_FORMAT = re.compile(rb'\s*\{\s*"format"\s*:\s*(\d{1,9})\b')


@dataclass(frozen=True, slots=True)
class Signed:
    """A manifest, and the signatures that stand with it; none of them is verified yet."""

    manifest: Manifest
    signatures: tuple[Signature, ...] = ()

    @property
    def content(self) -> Content:
        """What they sign."""
        return content_of(self.manifest)


def content_of(manifest: Manifest) -> Content:
    """Return that of a manifest which is signed, but for its refs."""
    listed = files_sha256((file.path.value, file.size_bytes, file.etag.value) for file in manifest.files)
    return Content(manifest.ref, manifest.commit, manifest.complete, listed)


class ExportFolder:
    """The folder at `root`. `open` an existing one, `create` one or go on with it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: Path) -> ExportFolder:
        """Make the folder, or go on with what an earlier export left there."""
        folder = cls(root)
        if (root / INDEX).exists():
            folder._check_format()
        for name in FOLDERS:
            (root / name).mkdir(parents=True, exist_ok=True)
            with directory(root / name):
                pass
        return folder

    @classmethod
    def open(cls, root: Path) -> ExportFolder:
        """Raise `LlmptError` unless `llmpt export` has made it."""
        if not (root / INDEX).is_file():
            raise LlmptError(f"{root} is no export: it has no {INDEX}; `llmpt export REPO --to DIR` makes one")
        folder = cls(root)
        folder._check_format()
        for name in FOLDERS:
            with suppress(FileNotFoundError), directory(root / name):
                pass
        return folder

    def blob(self, etag: Etag) -> Path:
        return self.root / "blobs" / etag.value

    def torrent(self, etag: Etag) -> Path:
        return self.root / "torrents" / f"{etag}.torrent"

    def has(self, etag: Etag, size_bytes: int) -> bool:
        """Whether the blob lies here under its name, of the right size: then it was verified before."""
        try:
            found = self.blob(etag).lstat()
            return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes
        except OSError:
            return False

    def manifests(self) -> list[str]:
        """Return the names of the manifests. Raises `LlmptError` when there are more than any export has."""
        try:
            with directory(self.root / "manifests") as descriptor, os.scandir(descriptor) as entries:
                names = []
                for entry in entries:
                    if entry.name.endswith(".json") and "@" in entry.name and not entry.name.startswith("."):
                        names.append(entry.name)
                    if len(names) > MAX_MANIFESTS:
                        raise LlmptError(f"{self.root} has more than {MAX_MANIFESTS} manifests: it is no export")
        except OSError as error:
            raise LlmptError(f"{self.root / 'manifests'}: {error.strerror}") from None
        return sorted(names)

    def read(self, name: str) -> Signed:
        """Read a manifest that was brought here. Raises `InvalidInput` for anything in it that is invalid, `OSError`."""
        with file_below(self.root / "manifests", name) as descriptor:
            found = _read(descriptor)
        if name != _name(found.manifest.ref, found.manifest.commit):
            raise InvalidInput(f"it says that it is {_name(found.manifest.ref, found.manifest.commit)}")
        return found

    def write_manifest(self, signed: Signed) -> None:
        """Write a commit's files; `here` is what lies in this folder."""
        manifest = signed.manifest
        files = [
            {
                "path": file.path.value,
                "size": file.size_bytes,
                "etag": file.etag.value,
                "lfs": file.etag.is_sha256,
                "here": self.has(file.etag, file.size_bytes),
            }
            for file in manifest.files
        ]
        document = {
            "format": FORMAT,
            "repo_type": manifest.ref.type,
            "repo_id": manifest.ref.id,
            "commit": manifest.commit.value,
            "refs": list(map(str, manifest.refs)),
            "complete": manifest.complete,
            "signatures": [one.as_json() for one in signed.signatures],
            "files": files,
        }
        write_whole(self.root / "manifests" / _name(manifest.ref, manifest.commit), _encode(document))

    def write_index(self) -> None:
        """Write the table of contents anew, from the manifests that are there."""
        revisions = []
        for name in self.manifests():
            try:
                manifest = self.read(name).manifest
            except (InvalidInput, OSError):
                continue
            revisions.append(
                {
                    "repo_type": manifest.ref.type,
                    "repo_id": manifest.ref.id,
                    "commit": manifest.commit.value,
                    "refs": list(map(str, manifest.refs)),
                    "complete": manifest.complete,
                    "files": len(manifest.files),
                    "files_here": sum(file.here for file in manifest.files),
                    "bytes_here": bytes_here(manifest),
                }
            )
        write_whole(real_path(self.root) / INDEX, _encode({"format": FORMAT, "revisions": revisions}))

    def _check_format(self) -> None:
        """Only the head is read: the rest is for people."""
        try:
            with file_below(real_path(self.root), INDEX) as descriptor:
                head = _FORMAT.match(os.read(descriptor, HEAD_BYTES))
        except OSError as error:
            raise LlmptError(f"{self.root / INDEX} cannot be read: {error.strerror}") from None
        found = int(head[1]) if head else None
        if found != FORMAT:
            raise LlmptError(f"{self.root / INDEX} is of format {found!r:.40}, and this llmpt reads {FORMAT}: update it")


def bytes_here(manifest: Manifest) -> int:
    """Return the size of the files that are here, of each content once."""
    return sum({file.etag: file.size_bytes for file in manifest.files if file.here}.values())


def _read(descriptor: int) -> Signed:
    files: dict[RepoPath, File] = {}

    def on_row(row: Any) -> None:
        file = _file(row)
        if file.path in files:
            raise InvalidInput(f"{file.path} stands there twice")
        if len(files) >= MAX_FILES:
            raise InvalidInput(f"more than {MAX_FILES} files")
        files[file.path] = file

    try:
        document = JsonStream(descriptor, max_bytes=MAX_MANIFEST_BYTES).members("files", on_row)
        if document["format"] != FORMAT:
            raise InvalidInput(f"of format {document['format']!r:.40}; this llmpt reads {FORMAT}")
        if "files" not in document:
            raise KeyError("files")
        ref = RepoRef(document["repo_type"], document["repo_id"])
        refs = tuple(map(RefName, document["refs"]))
        signatures = document.get("signatures", [])
        if not isinstance(signatures, list) or len(signatures) > MAX_SIGNATURES:
            raise InvalidInput(f"more than {MAX_SIGNATURES} signatures, or none that is one")
        manifest = Manifest(ref, Commit(document["commit"]), refs, document["complete"] is True, tuple(files.values()))
        return Signed(manifest, tuple(map(Signature.parse, signatures)))
    except InvalidInput:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f"not a manifest ({type(error).__name__}: {error})") from None


def _file(row: Mapping[str, Any]) -> File:
    path, size, etag = RepoPath(row["path"]), row["size"], Etag(row["etag"])
    if type(size) is not int or not 0 <= size < MAX_SIZE:
        raise InvalidInput(f"{path} has a size of {size!r:.40}")
    return File(path, size, etag, row["here"] is True)


def _name(ref: RepoRef, commit: Commit) -> str:
    return f"{ref.folder}@{commit}.json"


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"
